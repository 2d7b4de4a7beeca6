#include "compressor/training/quantization/soft_quantize_function.h"

#include <torch/torch.h>

#include "compressor/quantizer/soft_quantization.h"

namespace quench::training {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;

constexpr int64_t kPieceElements = int64_t{1} << 22;  // of phi, at a time, where torch computes it

std::span<float> floats(const Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

quantizer::SoftQuantization describe(const Tensor& centers, const Tensor& penalties, double sigma) {
  return {static_cast<int>(centers.size(1)), floats(centers), floats(penalties), static_cast<float>(sigma)};
}

struct Forward {
  Tensor values, mass, indices;
};

Forward forward_on_cpu(const Tensor& z, const Tensor& centers, const Tensor& penalties, double sigma, bool hard) {
  Forward out;
  out.values = torch::empty_like(z);
  std::vector<uint16_t> indices(static_cast<size_t>(z.size(0)));
  std::vector<double> mass(static_cast<size_t>(centers.size(0)));
  const std::span<float> values = floats(out.values);
  quantizer::soft_quantize(describe(centers, penalties, sigma), floats(z),
                           {hard ? std::span<float>() : values, hard ? values : std::span<float>(), indices, mass},
                           at::get_num_threads());
  out.mass = torch::tensor(mass, torch::kFloat64).to(torch::kFloat32);
  out.indices = torch::empty({z.size(0)}, torch::kInt64);
  std::copy(indices.begin(), indices.end(), out.indices.data_ptr<int64_t>());
  return out;
}

// phi of the rows [begin, end).
Tensor assignment(const Tensor& z, const Tensor& centers, const Tensor& penalties, double sigma) {
  const Tensor distance = (z.unsqueeze(1) - centers.unsqueeze(0)).square_().sum(2).add_(penalties);
  return torch::softmax(distance.mul_(-sigma), 1);
}

template <typename Body>
void for_each_piece(const Tensor& z, const Tensor& centers, const Body& body) {
  const int64_t rows = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, centers.numel()));
  for (int64_t begin = 0; begin < z.size(0); begin += rows) body(begin, std::min(z.size(0), begin + rows));
}

Forward forward_by_torch(const Tensor& z, const Tensor& centers, const Tensor& penalties, double sigma, bool hard) {
  Forward out{torch::empty_like(z), torch::zeros({centers.size(0)}, z.options()),
              torch::empty({z.size(0)}, z.options().dtype(torch::kInt64))};
  for_each_piece(z, centers, [&](int64_t begin, int64_t end) {
    const Tensor phi = assignment(z.slice(0, begin, end), centers, penalties, sigma);
    const Tensor best = phi.argmax(1);
    out.indices.slice(0, begin, end).copy_(best);
    out.values.slice(0, begin, end).copy_(hard ? centers.index_select(0, best) : phi.matmul(centers));
    out.mass += phi.sum(0);
  });
  return out;
}

// As soft_quantize_backward, in torch's operators.
void backward_by_torch(const Tensor& z, const Tensor& centers, const Tensor& penalties, double sigma,
                       const Tensor& grad_values, const Tensor& grad_mass, Tensor& grad_z, Tensor& grad_centers) {
  grad_centers.zero_();
  for_each_piece(z, centers, [&](int64_t begin, int64_t end) {
    const Tensor rows = z.slice(0, begin, end), gradient = grad_values.slice(0, begin, end);
    const Tensor phi = assignment(rows, centers, penalties, sigma);
    Tensor slope = gradient.matmul(centers.t()) + grad_mass;
    slope = phi * (slope - (phi * slope).sum(1, true)) * (2 * sigma);
    grad_z.slice(0, begin, end).copy_(slope.matmul(centers));
    grad_centers += phi.t().matmul(gradient) + slope.t().matmul(rows) - slope.sum(0).unsqueeze(1) * centers;
  });
}

struct SoftQuantizeFunction : torch::autograd::Function<SoftQuantizeFunction> {
  static torch::autograd::variable_list forward(AutogradContext* context, const Tensor& z, const Tensor& centers,
                                                const Tensor& penalties, double sigma, bool hard, bool by_torch) {
    const Forward out = by_torch ? forward_by_torch(z, centers, penalties, sigma, hard)
                                 : forward_on_cpu(z, centers, penalties, sigma, hard);
    context->save_for_backward({z, centers, penalties});
    context->saved_data["sigma"] = sigma;
    context->saved_data["by_torch"] = by_torch;
    context->mark_non_differentiable({out.indices});
    return {out.values, out.mass, out.indices};
  }

  static torch::autograd::variable_list backward(AutogradContext* context, torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &z = saved[0], &centers = saved[1], &penalties = saved[2];
    const double sigma = context->saved_data["sigma"].toDouble();
    const Tensor grad_values = gradients[0].defined() ? gradients[0].contiguous() : torch::zeros_like(z);
    const Tensor grad_mass =
        gradients[1].defined() ? gradients[1].contiguous() : torch::zeros({centers.size(0)}, z.options());
    Tensor grad_z = torch::empty_like(z), grad_centers = torch::empty_like(centers);
    if (context->saved_data["by_torch"].toBool()) {
      backward_by_torch(z, centers, penalties, sigma, grad_values, grad_mass, grad_z, grad_centers);
    } else {
      quantizer::soft_quantize_backward(describe(centers, penalties, sigma), floats(z), floats(grad_values),
                                        floats(grad_mass), floats(grad_z), floats(grad_centers), at::get_num_threads());
    }
    return {grad_z, grad_centers, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

SoftQuantized apply(const Tensor& z, const Tensor& centers, const Tensor& penalties, double sigma, bool hard_values,
                    bool by_torch) {
  const auto out = SoftQuantizeFunction::apply(z.contiguous(), centers.contiguous(), penalties.contiguous(), sigma,
                                               hard_values, by_torch);
  return {out[0], out[1], out[2]};
}

}  // namespace

SoftQuantized soft_quantize(const Tensor& z, const Tensor& centers, const Tensor& penalties, double sigma,
                            bool hard_values) {
  return apply(z, centers, penalties, sigma, hard_values, !z.is_cpu());
}

SoftQuantized soft_quantize_by_torch(const Tensor& z, const Tensor& centers, const Tensor& penalties, double sigma,
                                     bool hard_values) {
  return apply(z, centers, penalties, sigma, hard_values, true);
}

}  // namespace quench::training
