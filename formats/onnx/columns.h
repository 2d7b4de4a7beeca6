// Networks of columns (FractalNet): all Mean nodes of such a model with several inputs join columns of different depth
// that are evaluated side by side. The file says how many columns there are, in ONNX's metadata_props, so that training
// can leave some out for a step (drop-path) and one can be taken out of the network alone. Inputs of a join are in the
// order of their columns, and the last is of the last, deepest one: the i-th of m inputs, both from 0, is of column
// C - m + i + 1 of 1 to C.
#pragma once

#include <onnx/onnx_pb.h>

#include <charconv>
#include <string>
#include <string_view>

namespace quench {

inline constexpr std::string_view kColumnsKey = "quench.columns";
inline constexpr int kMaxColumns = 16;

// From 2 to kMaxColumns; 0: the model has none.
inline int columns_of(const onnx::ModelProto& model) {
  for (const onnx::StringStringEntryProto& property : model.metadata_props()) {
    if (property.key() != kColumnsKey) continue;
    const std::string& text = property.value();
    int columns = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), columns);
    if (error == std::errc() && end == text.data() + text.size() && columns >= 2 && columns <= kMaxColumns) {
      return columns;
    }
  }
  return 0;
}

inline void set_columns(onnx::ModelProto& model, int columns) {
  onnx::StringStringEntryProto& property = *model.add_metadata_props();
  property.set_key(std::string(kColumnsKey));
  property.set_value(std::to_string(columns));
}

// Of a model with `columns` columns: how many values the node joins, 2 to `columns`; 0: it is no join.
inline int joined_by(const onnx::NodeProto& node, int columns) {
  const bool is_join = node.op_type() == "Mean" && node.domain().empty() && node.input_size() >= 2;
  return is_join && node.input_size() <= columns ? node.input_size() : 0;
}

// Which of the `joined` inputs of a join, from 0, is of the column. Where that column goes on through the join, which is
// then within the others: 0.
inline int input_of_column(int column, int joined, int columns) {
  return column > columns - joined ? column - (columns - joined) - 1 : 0;
}

}  // namespace quench
