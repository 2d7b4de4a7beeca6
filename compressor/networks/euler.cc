#include "compressor/networks/integrator.h"

namespace quench::networks {
namespace {

class Euler final : public Integrator {
 public:
  std::string_view name() const override { return "euler"; }
  BlockForm form() const override { return BlockForm::kPostActivation; }

  std::string step(GraphBuilder& graph, const std::string& step, uint64_t /*seed*/, const History& history,
                   const RightHandSide& f) const override {
    return graph.node("Add", step + ".add", {f(step, history[0]), history[0]}, {}, step + ".sum");
  }
};

}  // namespace

const Integrator& euler() {
  static const Euler integrator;
  return integrator;
}

}  // namespace quench::networks
