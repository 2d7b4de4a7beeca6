#include "compressor/training/quantization/soft_quantize_function.h"

#include <torch/torch.h>

#include <numeric>

#include "compressor/quantizer/soft_quantization.h"

namespace quench::training {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;

constexpr int64_t kPieceElements = int64_t{1} << 24;  // of phi, at a time, where torch computes it

// What both passes need.
struct Call {
  Tensor z, centers, lengths;
  std::vector<int64_t> sizes;
  Tensor numbers;  // of the parts; empty: the CPU's own code quantizes
  double price = 0, sigma = 1;
  bool hard_values = false, wants_bits = true;

  Tensor penalties() const { return lengths * price; }
};

std::span<float> floats(const Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

struct Forward {
  Tensor values, bits, counts, indices;
};

// Calls `body` with each part's number, the vectors before it and its own.
template <typename Body>
void for_each_part(const std::vector<int64_t>& sizes, const Body& body) {
  int64_t first = 0;
  for (size_t part = 0; part < sizes.size(); ++part) {
    body(part, static_cast<size_t>(first), static_cast<size_t>(sizes[part]));
    first += sizes[part];
  }
}

quantizer::SoftQuantization describe(const Call& call, std::span<const float> penalties) {
  return {static_cast<int>(call.centers.size(1)), floats(call.centers), penalties, static_cast<float>(call.sigma)};
}

Forward forward_on_cpu(const Call& call) {
  const auto d = static_cast<size_t>(call.centers.size(1)), centers = static_cast<size_t>(call.centers.size(0));
  Forward out;
  out.values = torch::empty_like(call.z);
  out.indices = torch::empty({call.z.size(0)}, torch::kInt32);
  out.counts = torch::zeros(call.lengths.sizes(), torch::kFloat64);
  const Tensor penalties = call.penalties();
  std::vector<uint16_t> indices;
  std::vector<double> mass(call.wants_bits ? centers : 0);
  double bits = 0;
  for_each_part(call.sizes, [&](size_t part, size_t first, size_t count) {
    indices.resize(count);
    const std::span<float> values = floats(out.values).subspan(first * d, count * d);
    quantizer::soft_quantize(
        describe(call, floats(penalties).subspan(part * centers, centers)),
        floats(call.z).subspan(first * d, count * d),
        {call.hard_values ? std::span<float>() : values, call.hard_values ? values : std::span<float>(), indices, mass},
        at::get_num_threads());
    const float* lengths = call.lengths.data_ptr<float>() + part * centers;
    for (size_t j = 0; j < mass.size(); ++j) bits += mass[j] * static_cast<double>(lengths[j]);
    double* counts = out.counts.data_ptr<double>() + part * centers;
    for (const uint16_t index : indices) ++counts[index];
    std::copy(indices.begin(), indices.end(), out.indices.data_ptr<int32_t>() + first);
  });
  out.bits = torch::tensor(static_cast<float>(bits));
  return out;
}

void backward_on_cpu(const Call& call, const Tensor& grad_values, double grad_bits, Tensor& grad_z,
                     Tensor& grad_centers) {
  const auto d = static_cast<size_t>(call.centers.size(1)), centers = static_cast<size_t>(call.centers.size(0));
  const Tensor penalties = call.penalties(), grad_mass = call.lengths * grad_bits;
  Tensor part_centers = torch::empty_like(grad_centers);
  grad_centers.zero_();
  for_each_part(call.sizes, [&](size_t part, size_t first, size_t count) {
    quantizer::soft_quantize_backward(
        describe(call, floats(penalties).subspan(part * centers, centers)),
        floats(call.z).subspan(first * d, count * d), floats(grad_values).subspan(first * d, count * d),
        floats(grad_mass).subspan(part * centers, centers), floats(grad_z).subspan(first * d, count * d),
        floats(part_centers), at::get_num_threads());
    grad_centers += part_centers;
  });
}

// The rows [begin, end) of z, and what torch's operators make of them.
struct Piece {
  Piece(const Call& call, int64_t begin, int64_t end)
      : z(call.z.slice(0, begin, end)), numbers(call.numbers.slice(0, begin, end)) {
    const bool flat = call.centers.size(1) == 1;
    phi = flat ? (z - call.centers.view({1, -1})).square_()
               : (z.unsqueeze(1) - call.centers.unsqueeze(0)).square_().sum(2);
    phi.add_(call.penalties().index_select(0, numbers)).mul_(-call.sigma);
    phi = torch::softmax(phi, 1);
  }

  Tensor z, numbers, phi;
};

template <typename Body>
void for_each_piece(const Call& call, const Body& body) {
  const int64_t rows = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, call.centers.numel()));
  for (int64_t begin = 0; begin < call.z.size(0); begin += rows) body(begin, std::min(call.z.size(0), begin + rows));
}

Forward forward_by_torch(const Call& call) {
  const int64_t centers = call.centers.size(0);
  const auto wide = call.z.options().dtype(torch::kFloat64);
  Forward out{torch::empty_like(call.z), torch::zeros({}, call.z.options()), torch::zeros({call.lengths.numel()}, wide),
              torch::empty({call.z.size(0)}, wide.dtype(torch::kInt32))};
  for_each_piece(call, [&](int64_t begin, int64_t end) {
    const Piece piece(call, begin, end);
    const Tensor best = piece.phi.argmax(1);
    out.indices.slice(0, begin, end).copy_(best);
    out.values.slice(0, begin, end)
        .copy_(call.hard_values ? call.centers.index_select(0, best) : piece.phi.matmul(call.centers));
    out.counts.scatter_add_(0, piece.numbers * centers + best, torch::ones({1}, wide).expand({end - begin}));
    if (call.wants_bits) out.bits += (piece.phi * call.lengths.index_select(0, piece.numbers)).sum();
  });
  out.counts = out.counts.view(call.lengths.sizes());
  return out;
}

// As soft_quantize_backward, in torch's operators.
void backward_by_torch(const Call& call, const Tensor& grad_values, const Tensor& grad_bits, Tensor& grad_z,
                       Tensor& grad_centers) {
  grad_centers.zero_();
  for_each_piece(call, [&](int64_t begin, int64_t end) {
    const Piece piece(call, begin, end);
    const Tensor gradient = grad_values.slice(0, begin, end);
    Tensor slope = gradient.matmul(call.centers.t());
    if (grad_bits.defined()) slope += call.lengths.index_select(0, piece.numbers) * grad_bits;
    slope = piece.phi * (slope - (piece.phi * slope).sum(1, true)) * (2 * call.sigma);
    grad_z.slice(0, begin, end).copy_(slope.matmul(call.centers));
    grad_centers +=
        piece.phi.t().matmul(gradient) + slope.t().matmul(piece.z) - slope.sum(0).unsqueeze(1) * call.centers;
  });
}

struct SoftQuantizeFunction : torch::autograd::Function<SoftQuantizeFunction> {
  static torch::autograd::variable_list forward(AutogradContext* context, const Tensor& z, const Tensor& centers,
                                                const Tensor& lengths, const Tensor& numbers,
                                                const std::vector<int64_t>& sizes, const Hardness& hardness) {
    const Call call{
        z, centers, lengths, sizes, numbers, hardness.price, hardness.sigma, hardness.hard_values, hardness.wants_bits};
    const Forward out = numbers.numel() > 0 ? forward_by_torch(call) : forward_on_cpu(call);
    context->save_for_backward({z, centers, lengths, numbers});
    context->saved_data["sizes"] = sizes;
    context->saved_data["price"] = hardness.price;
    context->saved_data["sigma"] = hardness.sigma;
    context->mark_non_differentiable({out.counts, out.indices});
    context->set_materialize_grads(false);
    return {out.values, out.bits, out.counts, out.indices};
  }

  static torch::autograd::variable_list backward(AutogradContext* context, torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    Call call{saved[0], saved[1], saved[2], context->saved_data["sizes"].toIntVector(), saved[3]};
    call.price = context->saved_data["price"].toDouble();
    call.sigma = context->saved_data["sigma"].toDouble();
    const Tensor grad_values = gradients[0].defined() ? gradients[0].contiguous() : torch::zeros_like(call.z);
    Tensor grad_z = torch::empty_like(call.z), grad_centers = torch::empty_like(call.centers);
    if (call.numbers.numel() > 0) {
      backward_by_torch(call, grad_values, gradients[1], grad_z, grad_centers);
    } else {
      backward_on_cpu(call, grad_values, gradients[1].defined() ? gradients[1].item<double>() : 0, grad_z,
                      grad_centers);
    }
    return {grad_z, grad_centers, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

Tensor part_numbers(const std::vector<int64_t>& sizes, const torch::Device& device) {
  return torch::repeat_interleave(torch::tensor(sizes, torch::kInt64)).to(device);
}

SoftQuantized apply(const Tensor& z, const Parts& parts, const Tensor& numbers, const Tensor& centers,
                    const Tensor& lengths, const Hardness& hardness) {
  const auto out = SoftQuantizeFunction::apply(z.contiguous(), centers.contiguous(), lengths.contiguous(), numbers,
                                               parts.sizes, hardness);
  return {out[0], out[1], out[2], out[3]};
}

}  // namespace

Parts::Parts(std::vector<int64_t> part_sizes, const torch::Device& device)
    : sizes(std::move(part_sizes)),
      numbers(device.is_cpu() ? torch::empty({0}, torch::kInt64) : part_numbers(sizes, device)) {}

SoftQuantized soft_quantize(const Tensor& z, const Parts& parts, const Tensor& centers, const Tensor& lengths,
                            const Hardness& hardness) {
  return apply(z, parts, parts.numbers, centers, lengths, hardness);
}

SoftQuantized soft_quantize_by_torch(const Tensor& z, const Parts& parts, const Tensor& centers, const Tensor& lengths,
                                     const Hardness& hardness) {
  return apply(z, parts, part_numbers(parts.sizes, z.device()), centers, lengths, hardness);
}

}  // namespace quench::training
