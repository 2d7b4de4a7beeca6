// What a graph does with its inputs first, from which follows what their values mean.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::measure {

class InputUse {
 public:
  // `model` must outlive this object.
  explicit InputUse(const OnnxModel& model);

  // factor * x + offset, means over channels.
  struct Affine {
    double factor = 1, offset = 0;
  };
  // What the nodes behind an input make of it before anything else does; nullopt where they leave it as it is.
  std::optional<Affine> affine_of(std::string input) const;

  struct Convolution {
    std::string result;          // with its bias, and normalized
    std::vector<float> trained;  // the deviation of each channel in training; empty: unknown
  };
  // The first convolution that takes the input as it is, but for cutting and shaping. What BatchNormalization behind it
  // puts out had the deviation of its scale in training.
  std::optional<Convolution> convolution_of(const std::string& input) const;

  // Whether a convolution, or a Fourier transform, takes the input as it is, but for cutting and shaping.
  bool is_convolved(const std::string& input) const;

  // Whether a recurrent node starts from the input: what it put out before.
  bool is_recurrent_state(const std::string& input) const;

  // How many rows the smallest table has that the input's values choose from; nullopt where they are no indices.
  std::optional<int64_t> index_range(const std::string& input) const;

 private:
  using Node = onnx::NodeProto;
  // The nodes that use an input's values, or what nodes of these operators make of it, and under which name.
  void for_each_user(const std::string& input, const std::set<std::string_view>& passed,
                     const std::function<void(const Node& node, const std::string& name)>& visit) const;
  bool reaches(const std::string& input, bool (*condition)(const Node& node, const std::string& name)) const;
  const Node* only_user(const std::string& value) const;
  std::optional<int64_t> rows_chosen_from(const Node& node, const std::string& indices) const;
  const Weight* constant(const std::string& name) const;
  std::optional<double> mean_of(const std::string& name) const;

  const OnnxModel& model_;
  std::multimap<std::string_view, const Node*> users_;
  std::map<std::string_view, const onnx::TensorProto*> constants_;
};

}  // namespace quench::measure
