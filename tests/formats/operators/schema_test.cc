// The rows against ONNX's own schemas, of all versions.

#include <gtest/gtest.h>
#include <onnx/defs/schema.h>

#include <algorithm>
#include <vector>

#include "formats/operators/operator.h"
#include "runtime/kernels/registry.h"

namespace quench::operators {
namespace {

using onnx::OpSchema;

std::vector<OpSchema> schemas_of(const Operator& row) {
  static const std::vector<OpSchema> all = onnx::OpSchemaRegistry::get_all_schemas_with_history();
  std::vector<OpSchema> found;
  std::copy_if(all.begin(), all.end(), std::back_inserter(found),
               [&](const OpSchema& schema) { return schema.domain().empty() && schema.Name() == row.name; });
  return found;
}

bool has_attribute(const std::vector<OpSchema>& schemas, const char* name) {
  return std::any_of(schemas.begin(), schemas.end(),
                     [&](const OpSchema& schema) { return schema.attributes().count(name) != 0; });
}

// There is no schema to hold the row to: the library's operator sets end before the operator's first, or it is ONNX
// Runtime's own in ONNX's domain.
bool is_newer_than_the_library(const Operator& row) {
  if (row.name == "SimplifiedLayerNormalization") return true;
  const auto& known = onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map();
  return rt::find_kernel("", row.name, known.at("").second, rt::KernelSet::kReference) == nullptr &&
         rt::find_kernel("", row.name, 1 << 20, rt::KernelSet::kReference) != nullptr;
}

TEST(Schemas, RowsHaveTheInputsThatOnnxSays) {
  for (const Operator& row : all()) {
    const std::vector<OpSchema> schemas = schemas_of(row);
    if (schemas.empty() && is_newer_than_the_library(row)) continue;
    ASSERT_FALSE(schemas.empty()) << row.name;
    size_t most = 0;
    bool is_variadic = false;
    for (const OpSchema& schema : schemas) {
      most = std::max(most, schema.inputs().size());
      for (const auto& input : schema.inputs()) is_variadic |= input.GetOption() == OpSchema::Variadic;
    }
    EXPECT_EQ(row.is(kVariadic), is_variadic) << row.name;
    if (is_variadic) continue;
    for (int i = 0; i < Operator::kMaxInputs; ++i) {
      // Operator sets newer than the library's made attributes inputs: axes, in all cases until now.
      const bool may_be_newer = static_cast<size_t>(i) >= most && row.role(i) == Role::kShape;
      EXPECT_TRUE(may_be_newer || (row.role(i) != Role::kNone) == (static_cast<size_t>(i) < most))
          << row.name << ", input " << i;
    }
    EXPECT_LE(most, static_cast<size_t>(Operator::kMaxInputs)) << row.name;
  }
}

TEST(Schemas, RandomOnesHaveASeedAndWindowedOnesAutoPad) {
  for (const Operator& row : all()) {
    const std::vector<OpSchema> schemas = schemas_of(row);
    EXPECT_EQ(row.is(kRandom), has_attribute(schemas, "seed")) << row.name;
    EXPECT_EQ(row.is(kWindowed), has_attribute(schemas, "auto_pad") && has_attribute(schemas, "kernel_shape"))
        << row.name;
  }
}

TEST(Schemas, NothingRandomIsMissing) {
  for (const OpSchema& schema : onnx::OpSchemaRegistry::get_all_schemas_with_history()) {
    if (!schema.domain().empty() || schema.attributes().count("seed") == 0) continue;
    const Operator* row = find(schema.Name());
    ASSERT_NE(row, nullptr) << schema.Name();
    EXPECT_TRUE(row->is(kRandom)) << schema.Name();
  }
}

}  // namespace
}  // namespace quench::operators
