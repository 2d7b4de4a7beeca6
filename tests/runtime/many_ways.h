// Runs a model with every kind of plan.
#pragma once

#include "tests/runtime/graph_builder.h"

namespace quench::rt {

using Tensors = std::vector<HostTensor>;

inline HostTensor truth(bool value) { return HostTensor::of<bool>({}, std::vector<bool>{value}); }
inline HostTensor whole(int64_t value) { return HostTensor::of<int64_t>({}, {value}); }
inline HostTensor reals(const std::vector<float>& values) {
  return HostTensor::of<float>({static_cast<int64_t>(values.size())}, values);
}

// Two sessions of one model, each with a state of its own.
struct TwoSessions {
  explicit TwoSessions(const std::string& file) : bytes(file) {
    status = open_model(as_bytes(bytes), {}, {}, model);
    if (status.ok()) status = create_session(*model, {}, one);
    if (status.ok()) status = create_session(*model, {}, two);
  }

  std::string bytes;
  Status status;
  ModelHandle model;
  SessionHandle one, two;
};

// Runs the model with every kind of plan; all must agree. With one session, twice: nothing may be left from a run.
inline Tensors run_all_ways(const std::string& bytes, const Tensors& inputs) {
  Tensors first;
  for (const KernelSet kernels : {KernelSet::kReference, KernelSet::kFast}) {
    for (const bool plain : {true, false}) {
      for (const int threads : {1, 3}) {
        ModelOptions options;
        options.kernels = kernels;
        options.fuse = !plain;
        SessionOptions session_options;
        session_options.reuse_memory = !plain;
        session_options.threads = threads;
        ModelHandle model;
        SessionHandle session;
        Status status = open_model(as_bytes(bytes), {}, options, model);
        if (status.ok()) status = create_session(*model, session_options, session);
        for (int run = 0; run < 2 && status.ok(); ++run) {
          Tensors outputs;
          status = run_session(*session, inputs, &outputs);
          if (!status.ok()) break;
          if (first.empty()) first = outputs;
          EXPECT_EQ(outputs.size(), first.size());
          for (size_t i = 0; i < outputs.size() && i < first.size(); ++i) {
            EXPECT_EQ(outputs[i].shape, first[i].shape);
            if (outputs[i].type != ElementType::kFloat32) {
              EXPECT_EQ(outputs[i].storage, first[i].storage);
              continue;
            }
            const std::vector<float> values = outputs[i].values<float>();
            const std::vector<float> expected = first[i].values<float>();
            for (size_t e = 0; e < values.size() && e < expected.size(); ++e) {
              EXPECT_NEAR(values[e], expected[e], 1e-4f * (1 + std::abs(expected[e]))) << "output " << i << " at " << e;
            }
          }
        }
        EXPECT_TRUE(status.ok()) << status.detail();
      }
    }
  }
  return first;
}

// What is wrong with a model: found when it is opened, planned or run.
inline std::string error_of(const std::string& bytes, const Tensors& inputs, StatusCode code) {
  Tensors outputs;
  const Status status = try_run_model(bytes, inputs, &outputs);
  EXPECT_EQ(status.code(), code) << status.detail();
  return status.ok() ? "" : status.detail();
}

inline bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace quench::rt
