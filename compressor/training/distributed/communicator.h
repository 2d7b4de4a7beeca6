// Data parallelism: processes that train one model together, each on its own share of every batch, on one machine or on
// several. They find each other as torchrun and launchers like it for Slurm arrange it, by environment variables:
//
//     WORLD_SIZE    how many processes there are; one that is alone needs none of these
//     RANK          which of them this one is, from 0
//     MASTER_ADDR   where rank 0 runs, a name or an IP address; MASTER_PORT is a free TCP port there (default 29500)
//     LOCAL_RANK    which of this machine's processes this one is: chooses its GPU (default 0)
//
//     auto communicator = Communicator::from_environment(torch::kCPU);
//     communicator->broadcast(parameters);       // all start equal
//     ...
//     loss.backward();
//     communicator->all_reduce_sum(gradients);   // each divides by the number of samples that all had together
//
// It is torch's c10d underneath: NCCL between GPUs where torch has it, else Gloo over TCP (tensors on a GPU then pass
// through memory). Gloo uses the network interface that leads to MASTER_ADDR, or that which GLOO_SOCKET_IFNAME names,
// and needs neither DNS nor a host name that resolves.
//
// All ranks must call the same functions in the same order with tensors of the same types and shapes. When one dies or
// cannot be reached, the call in progress throws on every other within Timeouts::exchange; a communicator that has
// thrown is of no more use. To be used by one thread at a time.
#pragma once

#include <torch/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

namespace quench::training {

struct Timeouts {
  std::chrono::seconds arrival{120};  // until all ranks have come
  // Until all ranks take part in an exchange: no rank may keep the others waiting longer, e.g. to write a checkpoint.
  std::chrono::seconds exchange{40};
};

struct CommunicatorBackend;

class Communicator {
 public:
  // One process alone where WORLD_SIZE is unset or 1: every function below then does nothing and cannot fail. `device`
  // is where the tensors to be exchanged lie. Throws quench::Error where a variable is missing or makes no sense, where
  // rank 0 cannot be reached, or where the others do not come in time (it says which).
  static std::unique_ptr<Communicator> from_environment(const torch::Device& device, const Timeouts& timeouts = {});

  // The device that this process should use: a CUDA device without an index becomes the one of LOCAL_RANK. Throws
  // quench::Error where LOCAL_RANK is no number.
  static torch::Device own_device(const torch::Device& device);

  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_alone() const { return size_ == 1; }

  // Each tensor becomes, in place, the sum of all ranks' tensors: to the bit the same on every rank, and the same again
  // with the same number of ranks. Few large messages are sent, whatever the number of tensors. Not seen by autograd.
  // Throws quench::Error where contact with another rank is lost.
  void all_reduce_sum(const std::vector<torch::Tensor>& tensors);

  // Each tensor of any type becomes, in place, that of rank `root`. Throws quench::Error as all_reduce_sum, and where
  // this rank's tensors are not of the root's number and size in bytes.
  void broadcast(const std::vector<torch::Tensor>& tensors, int root = 0);

  // Rank 0's value: what all are to do alike, though each may have computed a value of its own. Throws quench::Error as
  // all_reduce_sum.
  int64_t of_leader(int64_t value);

  // Returns once all ranks have called it. Throws quench::Error as all_reduce_sum.
  void barrier();

  // The sum of all ranks' tensors, for use in a loss: each rank's gradient is then that of the sum of all ranks'
  // losses, so backward() is an exchange too, and all ranks must call it. The communicator must outlive the graph.
  torch::Tensor all_reduce_sum_differentiable(const torch::Tensor& tensor);

 private:
  Communicator(int rank, int size, std::unique_ptr<CommunicatorBackend> backend);

  // Turns what torch throws into an Error that says what this rank was doing.
  void attempt(const char* what, const std::function<void()>& exchange) const;

  int rank_;
  int size_;
  std::unique_ptr<CommunicatorBackend> backend_;  // null: alone
};

}  // namespace quench::training
