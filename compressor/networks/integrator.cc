#include "compressor/networks/integrator.h"

#include <fmt/ranges.h>

#include <array>

#include "formats/error.h"

namespace quench::networks {
namespace {

std::array<const Integrator*, 2> integrators() { return {&euler(), &linear_multistep()}; }

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
