// This process as a part of a training: its device, its threads, its seed, and the others that train with it.
#pragma once

#include <c10/util/Exception.h>
#include <torch/types.h>

#include <memory>
#include <string>

#include "compressor/training/distributed/communicator.h"
#include "compressor/training/loop/options.h"
#include "formats/error.h"

namespace quench::training {

class Process {
 public:
  // Sets torch's threads and seed. Throws quench::Error for devices that are unknown or not there.
  explicit Process(const LoopOptions& options);

  const torch::Device& device() const { return device_; }
  Communicator& communicator() const { return *communicator_; }

 private:
  torch::Device device_;
  std::unique_ptr<Communicator> communicator_;
};

// Calls body(); what torch throws becomes a quench::Error of one line.
template <typename Body>
auto run_torch(const Body& body) {
  try {
    return body();
  } catch (const c10::Error& error) {
    const std::string_view message = error.what_without_backtrace();
    throw Error::make("torch: {}", message.substr(0, message.find('\n')));
  }
}

}  // namespace quench::training
