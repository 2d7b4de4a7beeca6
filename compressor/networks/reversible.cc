#include "compressor/networks/integrator.h"

namespace quench::networks {
namespace {

class Reversible final : public Integrator {
 public:
  std::string_view name() const override { return "reversible"; }
  BlockForm form() const override { return BlockForm::kPreActivation; }
  int values() const override { return 2; }

  std::string step(GraphBuilder& graph, const std::string& step, uint64_t /*seed*/, const History& history,
                   const RightHandSide& f) const override {
    return graph.node("Add", step + ".add", {f(step, history[0]), history[1]}, {}, step + ".sum");
  }
};

}  // namespace

const Integrator& reversible() {
  static const Reversible integrator;
  return integrator;
}

}  // namespace quench::networks
