// How a network steps from one layer to the next: a residual network is an integrator of the equation u' = f(u), with
// other weights in f at each step (Lu, Zhong, Li and Dong, "Beyond Finite Layer Neural Networks", 2018,
// arXiv:1710.10121). The plain residual network is the forward Euler method.
//
// An integrator writes one step onto a graph; stages, widths and the block f are the network's (network.cc). A new one
// is a file with a class of its own, declared at the end of this header and listed in integrator.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "compressor/networks/graph_builder.h"

namespace quench::networks {

// Writes the nodes of f(u) and returns the value. Weights are named after `name`: a call with a name that was used
// before shares the weights of that call, another name has weights of its own. The result has the shape of u.
using RightHandSide = std::function<std::string(const std::string& name, const std::string& u)>;

// What a step may look back on: values of u, the newest first, never empty, all of one shape. A network starts with
// one, and has two or more after the first step.
using History = std::vector<std::string>;

enum class BlockForm {
  kPostActivation,  // f is Conv BN Relu Conv BN, and the network puts a Relu on the result of each step (He et al.
                    // 2015)
  kPreActivation,   // f is BN Relu Conv BN Relu Conv, and a step's result is left as it is (He et al. 2016)
};

class Integrator {
 public:
  virtual ~Integrator() = default;
  virtual std::string_view name() const = 0;  // as users write it
  virtual BlockForm form() const = 0;
  // Writes one step and returns the next u. `step` begins the names of its nodes and weights; parameters of the
  // integrator's own are drawn from `seed`.
  virtual std::string step(GraphBuilder& graph, const std::string& step, uint64_t seed, const History& history,
                           const RightHandSide& f) const = 0;
};

// Throws quench::Error, with the names that there are, for one that is not known.
const Integrator& find_integrator(std::string_view name);
std::vector<std::string_view> integrator_names();

// u_{n+1} = u_n + f(u_n). Post-activation.
const Integrator& euler();

// u_{n+1} = (1 - k_n) u_n + k_n u_{n-1} + f(u_n) with a learned number k_n per step: LM-ResNet (Lu et al.).
// Pre-activation. A step with no u_{n-1} is one of Euler's. k_n is the initializer "<step>.k" of shape [1], drawn from
// [-0.1, 0) as the authors do.
const Integrator& linear_multistep();

}  // namespace quench::networks
