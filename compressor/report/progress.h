// How far a long step is, on stderr: a bar with the time left on a terminal, otherwise a line every ten
// seconds, so that logs stay readable and short runs print nothing.
//
//     Progress progress;
//     compress(input, output, {.progress = [&](std::string_view stage, double share) { progress.update(stage, share);
//     }});
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

namespace quench::report {

class Progress {
 public:
  using Clock = std::function<double()>;  // seconds from any origin

  Progress();
  // For tests: `out` is borrowed.
  Progress(std::FILE* out, bool is_terminal, Clock clock);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  // `share` of the stage that is done, 0 to 1. Calls may be frequent; few of them print.
  void update(std::string_view stage, double share);
  // Removes the bar, so that other output can follow; the stage may go on after it.
  void finish();

 private:
  void print_bar(double now);
  void print_line(double now);
  double seconds_left(double now) const;

  std::FILE* out_;
  bool is_terminal_;
  Clock clock_;
  std::string stage_;
  double share_ = 0;
  double stage_start_ = 0;  // seconds
  double first_share_ = 0;  // of the stage: a run that goes on from a checkpoint does not begin at 0
  double last_print_ = 0;
  bool bar_visible_ = false;
};

// "0:07", "12:30", "1:02:03"; a negative or unknown duration is "-:--".
std::string human_duration(double seconds);

}  // namespace quench::report
