// Attributes out of maps, as any owner of nodes may hand them to formats/operators.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "formats/operators/attributes.h"

namespace quench::operators {

struct AttributeMap {
  std::map<std::string, int64_t, std::less<>> integers = {};
  std::map<std::string, float, std::less<>> floats = {};
  std::map<std::string, std::string, std::less<>> texts = {};
  std::map<std::string, std::vector<int64_t>, std::less<>> lists = {};
  std::map<std::string, std::vector<std::string>, std::less<>> text_lists = {};
  std::map<std::string, std::vector<float>, std::less<>> float_lists = {};

  AttributeView view() const {
    static constexpr AttributeFunctions kFunctions = {
        .get_int = [](const void* node, std::string_view name,
                      int64_t otherwise) { return get(of(node).integers, name, otherwise); },
        .get_float = [](const void* node, std::string_view name,
                        float otherwise) { return get(of(node).floats, name, otherwise); },
        .get_string = [](const void* node, std::string_view name, std::string_view otherwise) -> std::string_view {
          const auto found = of(node).texts.find(name);
          return found == of(node).texts.end() ? otherwise : found->second;
        },
        .get_ints = [](const void* node, std::string_view name) -> std::span<const int64_t> {
          const auto found = of(node).lists.find(name);
          return found == of(node).lists.end() ? std::span<const int64_t>() : found->second;
        },
        .get_floats = [](const void* node, std::string_view name) -> std::span<const float> {
          const auto found = of(node).float_lists.find(name);
          return found == of(node).float_lists.end() ? std::span<const float>() : found->second;
        },
        .count_strings =
            [](const void* node, std::string_view name) {
              const auto found = of(node).text_lists.find(name);
              return found == of(node).text_lists.end() ? 0 : static_cast<int>(found->second.size());
            },
        .string_at = [](const void* node, std::string_view name, int index) -> std::string_view {
          return of(node).text_lists.find(name)->second.at(static_cast<size_t>(index));
        },
    };
    return {this, kFunctions};
  }

 private:
  static const AttributeMap& of(const void* node) { return *static_cast<const AttributeMap*>(node); }
  template <typename T>
  static T get(const std::map<std::string, T, std::less<>>& values, std::string_view name, T otherwise) {
    const auto found = values.find(name);
    return found == values.end() ? otherwise : found->second;
  }
};

}  // namespace quench::operators
