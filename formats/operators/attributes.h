// A node's attributes, wherever they lie: in the runtime's graph or in a NodeProto. The owner of the node gives the
// functions (rt::Attributes::view, graph::attributes_of), so that both ask the same questions of it.
//
//     const int64_t groups = attributes.get_int("group", 1);
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace quench::operators {

// Each gets the node that it was given with.
struct AttributeFunctions {
  int64_t (*get_int)(const void* node, std::string_view name, int64_t otherwise);
  float (*get_float)(const void* node, std::string_view name, float otherwise);
  std::string_view (*get_string)(const void* node, std::string_view name, std::string_view otherwise);
  std::span<const int64_t> (*get_ints)(const void* node, std::string_view name);
  std::span<const float> (*get_floats)(const void* node, std::string_view name);
  int (*count_strings)(const void* node, std::string_view name);
  std::string_view (*string_at)(const void* node, std::string_view name, int index);
};

// By name; an attribute that is absent gives the default, a list that is absent is empty. Valid as long as the node.
class AttributeView {
 public:
  AttributeView(const void* node, const AttributeFunctions& functions) : node_(node), functions_(&functions) {}

  int64_t get_int(std::string_view name, int64_t otherwise) const {
    return functions_->get_int(node_, name, otherwise);
  }
  float get_float(std::string_view name, float otherwise) const {
    return functions_->get_float(node_, name, otherwise);
  }
  std::string_view get_string(std::string_view name, std::string_view otherwise) const {
    return functions_->get_string(node_, name, otherwise);
  }
  std::span<const int64_t> get_ints(std::string_view name) const { return functions_->get_ints(node_, name); }
  std::span<const float> get_floats(std::string_view name) const { return functions_->get_floats(node_, name); }
  int count_strings(std::string_view name) const { return functions_->count_strings(node_, name); }
  // `index` in [0, count_strings(name)).
  std::string_view string_at(std::string_view name, int index) const {
    return functions_->string_at(node_, name, index);
  }

 private:
  const void* node_;
  const AttributeFunctions* functions_;
};

}  // namespace quench::operators
