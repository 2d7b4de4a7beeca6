#include "compressor/graph/columns.h"

#include "compressor/graph/simplify.h"
#include "formats/error.h"
#include "formats/onnx/columns.h"

namespace quench::graph {

OnnxModel column_alone(const OnnxModel& model, int column) {
  const int columns = columns_of(model.proto);
  if (columns == 0) {
    throw Error::make("{}: is not a network of columns: --column is for those of --integrator fractal-2 to fractal-4",
                      model.name);
  }
  if (column < 1 || column > columns) {
    throw Error::make("{}: has no column {}: give 1 to {}", model.name, column, columns);
  }
  OnnxModel alone = model.clone();
  for (onnx::NodeProto& node : *alone.proto.mutable_graph()->mutable_node()) {
    const int joined = joined_by(node, columns);
    if (joined == 0) continue;
    const std::string chosen = node.input(input_of_column(column, joined, columns));
    node.clear_input();
    node.add_input(chosen);
  }
  auto& properties = *alone.proto.mutable_metadata_props();
  for (int i = properties.size() - 1; i >= 0; --i) {
    if (properties[i].key() == kColumnsKey) properties.DeleteSubrange(i, 1);
  }
  Report report;
  bypass_nodes(alone, report);
  remove_unused(alone, report);
  return alone;
}

}  // namespace quench::graph
