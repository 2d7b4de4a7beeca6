#include "compressor/training/loop/teacher.h"

#include <torch/torch.h>

#include <cstring>

#include "compressor/measure/runner.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/host_tensors.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

class RuntimeTeacher : public Teacher {
 public:
  RuntimeTeacher(const std::filesystem::path& path, int threads)
      : runner_(measure::Runner::open(path, threads, measure::kNoLimit)) {}

  Tensors outputs(const Tensor& inputs) override {
    Tensors result;
    for (const graph::HostTensor& output : runner_->run({{to_host(runner_->inputs().front().name, inputs)}})) {
      result.push_back(from_host(output));
    }
    return result;
  }

 private:
  std::unique_ptr<measure::Runner> runner_;
};

class EvaluatorTeacher : public Teacher {
 public:
  EvaluatorTeacher(const OnnxModel& model, int threads)
      : evaluator_(model, options(threads)), input_(measure::declared_inputs(model.proto.graph()).front().name) {}

  Tensors outputs(const Tensor& inputs) override {
    Tensors result;
    for (const graph::HostTensor& output : evaluator_.run({{to_host(input_, inputs)}})) {
      result.push_back(from_host(output));
    }
    return result;
  }

 private:
  static graph::EvaluatorOptions options(int threads) {
    graph::EvaluatorOptions result;
    result.threads = threads;
    return result;
  }

  graph::Evaluator evaluator_;
  std::string input_;
};

class TorchTeacher : public Teacher {
 public:
  TorchTeacher(const std::filesystem::path& path, const torch::Device& device) : module_(load_trainable(path), device) {
    for (auto& [name, tensor] : module_.parameters()) {  // as the images lie, so that no pass has to turn them
      if (tensor.dim() == 4) tensor.set_data(tensor.detach().contiguous(torch::MemoryFormat::ChannelsLast));
    }
  }

  Tensors outputs(const Tensor& inputs) override {
    torch::NoGradGuard no_grad;
    return module_.forward({{module_.inputs().front(), inputs.to(module_.device())}}, GraphModule::Mode::kEvaluate);
  }

 private:
  GraphModule module_;
};

}  // namespace

std::unique_ptr<Teacher> open_teacher(const std::filesystem::path& path, const torch::Device& device, int threads) {
  if (device.is_cpu()) return std::make_unique<RuntimeTeacher>(path, threads);
  return std::make_unique<TorchTeacher>(path, device);
}

std::unique_ptr<Teacher> runtime_teacher(const OnnxModel& model, int threads) {
  return std::make_unique<EvaluatorTeacher>(model, threads);
}

}  // namespace quench::training
