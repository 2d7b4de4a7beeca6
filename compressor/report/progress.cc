#include "compressor/report/progress.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "formats/error.h"

namespace quench::report {
namespace {

constexpr int kBarWidth = 24;
constexpr double kBarInterval = 0.1;  // seconds
constexpr double kLineInterval = 10.0;
constexpr double kLeastShare = 0.02;  // below it, time left is a guess

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Progress::Progress() : Progress(stderr, ::isatty(STDERR_FILENO) == 1, monotonic_seconds) {}

Progress::Progress(std::FILE* out, bool is_terminal, Clock clock)
    : out_(out), is_terminal_(is_terminal), clock_(std::move(clock)), last_print_(clock_()) {}

Progress::~Progress() { finish(); }

void Progress::update(std::string_view stage, double share) {
  const double now = clock_();
  share = std::clamp(share, 0.0, 1.0);
  const bool is_new = stage != stage_ || share < share_;
  if (is_new) {
    stage_ = stage;
    stage_start_ = now;
    first_share_ = share;
  }
  share_ = share;
  if (is_terminal_) {
    if (is_new || !bar_visible_ || now - last_print_ >= kBarInterval) print_bar(now);
  } else if (now - last_print_ >= kLineInterval) {
    print_line(now);
  }
}

double Progress::seconds_left(double now) const {
  const double done = share_ - first_share_;
  return done > kLeastShare ? (now - stage_start_) * (1 - share_) / done : -1;
}

void Progress::print_bar(double now) {
  const int filled = static_cast<int>(share_ * kBarWidth);
  fmt::print(out_, "\r\033[K{:<12} [{}{}] {:3.0f} %  {} left", stage_, std::string(static_cast<size_t>(filled), '#'),
             std::string(static_cast<size_t>(kBarWidth - filled), '.'), 100 * share_,
             human_duration(seconds_left(now)));
  std::fflush(out_);
  last_print_ = now;
  bar_visible_ = true;
}

void Progress::print_line(double now) {
  fmt::print(out_, "{} {:.0f} %, {} left\n", stage_, 100 * share_, human_duration(seconds_left(now)));
  std::fflush(out_);
  last_print_ = now;
}

void Progress::finish() {
  if (bar_visible_) {
    fmt::print(out_, "\r\033[K");
    std::fflush(out_);
  }
  bar_visible_ = false;
}

std::string human_duration(double seconds) {
  constexpr double kLongest = 100 * 3600.0;
  if (!(seconds >= 0) || seconds >= kLongest) return "-:--";
  const int whole = static_cast<int>(std::lround(seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace quench::report
