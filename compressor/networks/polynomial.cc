#include <fmt/format.h>

#include <array>

#include "compressor/networks/integrator.h"

namespace quench::networks {
namespace {

// Where the functions of a step come from, and what each is applied to.
enum class Terms {
  kPowers,        // F, F.F, ...: one function, applied again
  kCompositions,  // F, G.F, ...: another function each time
  kWays,          // F, G, ...: each of u itself
};

class Polynomial final : public Integrator {
 public:
  Polynomial(std::string_view name, Terms terms, int order) : name_(name), terms_(terms), order_(order) {}

  std::string_view name() const override { return name_; }
  BlockForm form() const override { return BlockForm::kPostActivation; }

  std::string step(GraphBuilder& graph, const std::string& step, uint64_t /*seed*/, const History& history,
                   const RightHandSide& f) const override {
    constexpr std::array kFunctions = {"", ".g", ".h"};
    const std::string add = step + ".add", result = step + ".sum";
    std::string sum = history[0], term = history[0];
    for (size_t i = 0; i < static_cast<size_t>(order_); ++i) {
      const std::string name = fmt::format("{}{}", step, terms_ == Terms::kPowers ? "" : kFunctions[i]);
      term = f(name, terms_ == Terms::kWays ? history[0] : term);
      sum = graph.node("Add", add, {term, sum}, {}, result);
    }
    return sum;
  }

 private:
  std::string_view name_;
  Terms terms_;
  int order_;  // 2 or 3
};

}  // namespace

std::vector<const Integrator*> polynomials() {
  static const std::array kAll = {
      Polynomial("poly-2", Terms::kPowers, 2),        Polynomial("poly-3", Terms::kPowers, 3),
      Polynomial("mpoly-2", Terms::kCompositions, 2), Polynomial("mpoly-3", Terms::kCompositions, 3),
      Polynomial("2-way", Terms::kWays, 2),           Polynomial("3-way", Terms::kWays, 3),
  };
  std::vector<const Integrator*> pointers;
  pointers.reserve(kAll.size());
  for (const Polynomial& each : kAll) pointers.push_back(&each);
  return pointers;
}

}  // namespace quench::networks
