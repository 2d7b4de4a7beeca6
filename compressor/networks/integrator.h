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
// before shares the convolutions of that call, another name has weights of its own. BatchNormalization is each call's
// own: what the same convolutions see differs from call to call, and so do its statistics, of which a network that is
// done has but one set for each. The result has the shape of u.
using RightHandSide = std::function<std::string(const std::string& name, const std::string& u)>;

// What a step may look back on: values of u, the newest first, all of one shape. A network starts with
// Integrator::values() of them, and has one more after the first step.
using History = std::vector<std::string>;

enum class BlockForm {
  kPostActivation,  // f is Conv BN Relu Conv BN, and the network puts a Relu on the result of each step (He et al.
                    // 2015)
  kPreActivation,   // f is BN Relu Conv BN Relu Conv, and a step's result is left as it is (He et al. 2016)
  kConvolution,     // f is Conv BN Relu, and the first step of a stage is the integrator's, too: f of the step's own u
                    // halves the image and doubles the channels
};

class Integrator {
 public:
  virtual ~Integrator() = default;
  virtual std::string_view name() const = 0;  // as users write it
  virtual BlockForm form() const = 0;
  // How many values of u, 1 or 2, make up the state that a step takes and leaves. The first convolution makes so many,
  // the first step of a stage brings all of them to the new size, and the classifier sees all of them.
  virtual int values() const { return 1; }
  // How many columns there are side by side (formats/onnx/columns.h); 0: none.
  virtual int columns() const { return 0; }
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

// Steps of backward Euler, u_{n+1} = u_n + F(u_{n+1}), whose solution (I - F)^-1 u_n is a series that is broken off:
// PolyNet (Zhang, Li, Loy and Lin, "PolyNet: A Pursuit of Structural Diversity in Very Deep Networks", 2017,
// arXiv:1611.05725). "poly-2" is I + F + F.F, "mpoly-2" I + F + G.F, "2-way" I + F + G; "poly-3", "mpoly-3" and "3-way"
// have one term more, F.F.F, H.G.F and H. Post-activation. F has the weights of Euler's f; "<step>.g" and "<step>.h"
// begin the names of those of G and H.
std::vector<const Integrator*> polynomials();

// Explicit Runge-Kutta methods of order 2 and 4; all evaluations of f in a step have the same convolutions.
// Pre-activation. With f_k for f with the k-th normalization:
//     midpoint    u_{n+1} = u_n + f_2(u_n + f_1(u_n) / 2)
//     rk4         u_{n+1} = u_n + (k_1 + 2 k_2 + 2 k_3 + k_4) / 6 with k_1 = f_1(u_n), k_2 = f_2(u_n + k_1 / 2),
//                 k_3 = f_3(u_n + k_2 / 2), k_4 = f_4(u_n + k_3)
const Integrator& midpoint();
const Integrator& rk4();

// u_{n+1} = u_{n-1} + f(u_n): RevNet (Gomez, Ren, Urtasun and Grosse, "The Reversible Residual Network: Backpropagation
// Without Storing Activations", 2017, arXiv:1707.04585). Two steps are a unit of theirs, y1 = x1 + F(x2) and
// y2 = x2 + G(y1) on the two halves of the channels. Pre-activation. From the newest two values follow all before them,
// u_{n-1} = u_{n+1} - f(u_n), so that training need not store any.
const Integrator& reversible();

// "fractal-2" to "fractal-4": FractalNet (Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks
// without Residuals", 2016, arXiv:1605.07648) of that many columns, u_{n+1} = f_C(u_n) with f_1(z) = conv(z) and
// f_{c+1}(z) the mean of conv(z) and f_c(f_c(z)), where a mean that is itself a term of a mean is one with it: all
// columns that end at a place count alike. Column c of C has 2^(c-1) convolutions in a step, "<step>.column<c>.<i>".
std::vector<const Integrator*> fractals();

}  // namespace quench::networks
