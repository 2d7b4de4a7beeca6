#include "compressor/training/loop/signals.h"

#include <csignal>

namespace quench::training {
namespace {

volatile std::sig_atomic_t signal_received = 0;

void on_signal(int number) { signal_received = number; }

}  // namespace

SignalCatcher::SignalCatcher()
    : interrupt_(std::signal(SIGINT, on_signal)), terminate_(std::signal(SIGTERM, on_signal)) {
  signal_received = 0;
}

SignalCatcher::~SignalCatcher() {
  std::signal(SIGINT, interrupt_);
  std::signal(SIGTERM, terminate_);
}

bool SignalCatcher::has_caught() const { return signal_received != 0; }

}  // namespace quench::training
