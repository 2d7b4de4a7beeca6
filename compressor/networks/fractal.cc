#include <fmt/format.h>

#include <array>

#include "compressor/networks/integrator.h"

namespace quench::networks {
namespace {

// Writes the columns of one step.
class Columns {
 public:
  Columns(GraphBuilder& graph, const std::string& step, int columns, const RightHandSide& f)
      : graph_(graph), step_(step), columns_(columns), f_(f) {}

  // f_c(z)
  std::string fractal(int c, const std::string& z) {
    const std::vector<std::string> ends = ends_of(c, z);
    return ends.size() == 1 ? ends[0] : graph_.node("Mean", step_ + ".join", ends);
  }

 private:
  // What f_c(z) is the mean of, the shallowest column first: a join next to a join is one with it.
  std::vector<std::string> ends_of(int c, const std::string& z) {
    const int column = columns_ - c + 1;
    const int number = made_[static_cast<size_t>(column)]++;
    std::vector<std::string> ends{f_(fmt::format("{}.column{}.{}", step_, column, number), z)};
    if (c == 1) return ends;
    const std::vector<std::string> deeper = ends_of(c - 1, fractal(c - 1, z));
    ends.insert(ends.end(), deeper.begin(), deeper.end());
    return ends;
  }

  GraphBuilder& graph_;
  const std::string& step_;
  int columns_;
  const RightHandSide& f_;
  std::array<int, 5> made_{};  // convolutions so far, by column
};

class Fractal final : public Integrator {
 public:
  Fractal(std::string_view name, int columns) : name_(name), columns_(columns) {}

  std::string_view name() const override { return name_; }
  BlockForm form() const override { return BlockForm::kConvolution; }
  int columns() const override { return columns_; }

  std::string step(GraphBuilder& graph, const std::string& step, uint64_t /*seed*/, const History& history,
                   const RightHandSide& f) const override {
    return Columns(graph, step, columns_, f).fractal(columns_, history[0]);
  }

 private:
  std::string_view name_;
  int columns_;
};

}  // namespace

std::vector<const Integrator*> fractals() {
  static const std::array kAll = {Fractal("fractal-2", 2), Fractal("fractal-3", 3), Fractal("fractal-4", 4)};
  return {&kAll[0], &kAll[1], &kAll[2]};
}

}  // namespace quench::networks
