// Runs the networks of the tests, and compares what comes out.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/graph/simplify.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::testing {

inline graph::HostTensor random_images(std::vector<int64_t> dims, uint32_t seed = 3) {
  graph::HostTensor images = graph::HostTensor::float32("input", std::move(dims));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (float& value : images.floats()) value = normal(random);
  return images;
}

// An evaluator that also gives inner values, behind the outputs.
inline graph::Evaluator evaluator_of(const OnnxModel& model, std::vector<std::string> inner_values) {
  graph::EvaluatorOptions options;
  options.extra_outputs = std::move(inner_values);
  return graph::Evaluator(model, options);
}

// Each value within `tolerance` times the largest expected one.
inline void expect_near(std::span<const float> actual, std::span<const float> expected, float tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  ASSERT_FALSE(expected.empty());
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  ASSERT_GT(largest, 0);
  for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << i;
}

// The model with weights, scales, means and variances of BatchNormalization that training might have left.
inline OnnxModel with_random_normalization(OnnxModel model) {
  std::mt19937 random(11);
  std::uniform_real_distribution<float> unit;
  std::vector<onnx::TensorProto*> tensors;
  for (const Weight& weight : model.weights) tensors.push_back(weight.tensor);
  for (onnx::TensorProto* tensor : tensors) {
    const std::string& name = tensor->name();
    if (tensor->dims_size() != 1 || name.find("bn") == std::string::npos) continue;
    const bool is_positive = name.ends_with("bn1.weight") || name.ends_with("bn2.weight") ||
                             name.ends_with("bn.weight") || name.ends_with(".running_var");
    std::vector<float> values(static_cast<size_t>(tensor->dims(0)));
    for (float& value : values) value = is_positive ? 0.5f + unit(random) : unit(random) - 0.5f;
    const std::vector<int64_t> dims(tensor->dims().begin(), tensor->dims().end());
    set_weight(model, *tensor, onnx::TensorProto::FLOAT, dims,
               owned_source(from_float(onnx::TensorProto::FLOAT, values)));
  }
  model.reindex();
  return model;
}

}  // namespace quench::testing
