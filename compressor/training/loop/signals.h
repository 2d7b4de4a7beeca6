// SIGINT and SIGTERM as a question to be asked at the end of a step.
#pragma once

namespace quench::training {

// While one is there, these signals end nothing. One at a time.
class SignalCatcher {
 public:
  SignalCatcher();
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;
  ~SignalCatcher();

  // Whether one of them has come since.
  bool has_caught() const;

 private:
  void (*interrupt_)(int);
  void (*terminate_)(int);
};

}  // namespace quench::training
