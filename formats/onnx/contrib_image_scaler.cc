// ImageScaler, which ONNX once had as an experiment: scales pictures, and adds a number to each channel.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "formats/onnx/contrib_body.h"
#include "formats/onnx/node.h"

namespace quench {

Replacement image_scaler_function(const onnx::NodeProto& node, const Values& values) {
  if (!has_input(node, 0)) return refused("its input is missing");
  const float scale = float_attribute(node, "scale", 1);
  std::vector<double> bias;
  if (const onnx::AttributeProto* given = find_attribute(node, "bias"))
    bias.assign(given->floats().begin(), given->floats().end());
  if (!std::isfinite(scale) || !std::ranges::all_of(bias, [](double number) { return std::isfinite(number); }))
    return refused("an attribute is infinite or NaN");
  Body body(values.float_type(node.input(0)));
  body.output(bias.empty() ? "y" : "scaled", "Mul", {"x", body.number(scale)});
  if (!bias.empty()) body.output("y", "Add", {"scaled", body.reshape(body.numbers(bias), {1, -1, 1, 1})});
  return function_of("x", "y", body);
}

}  // namespace quench
