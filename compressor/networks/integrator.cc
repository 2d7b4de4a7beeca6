#include "compressor/networks/integrator.h"

#include <fmt/ranges.h>

#include "formats/error.h"

namespace quench::networks {
namespace {

std::vector<const Integrator*> integrators() {
  std::vector<const Integrator*> all = {&euler(), &linear_multistep()};
  for (const Integrator* polynomial : polynomials()) all.push_back(polynomial);
  all.insert(all.end(), {&midpoint(), &rk4(), &reversible()});
  for (const Integrator* fractal : fractals()) all.push_back(fractal);
  return all;
}

}  // namespace

const Integrator& find_integrator(std::string_view name) {
  for (const Integrator* integrator : integrators()) {
    if (integrator->name() == name) return *integrator;
  }
  throw Error::make("integrator '{}' is not known: choose one of {}", printable(name),
                    fmt::join(integrator_names(), ", "));
}

std::vector<std::string_view> integrator_names() {
  std::vector<std::string_view> names;
  for (const Integrator* integrator : integrators()) names.push_back(integrator->name());
  return names;
}

}  // namespace quench::networks
