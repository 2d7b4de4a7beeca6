#include "formats/onnx/weight.h"

#include <cstring>
#include <utility>

#include "formats/base/float16.h"
#include "formats/error.h"

namespace quench {
namespace {

using onnx::TensorProto;

ElementType element_type(int32_t dtype) { return static_cast<ElementType>(dtype); }

uint64_t product(std::span<const int64_t> dims) {
  uint64_t count = 1;
  for (const int64_t dim : dims) count *= static_cast<uint64_t>(dim);
  return count;
}

class OwnedSource : public WeightSource {
 public:
  explicit OwnedSource(std::vector<std::byte> raw) : raw_(std::move(raw)) {}
  std::vector<std::byte> read() const override { return raw_; }

 private:
  std::vector<std::byte> raw_;
};

template <typename T>
void scale_slices(std::span<T> values, std::span<const double> factors, uint64_t inner) {
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<T>(static_cast<double>(values[i]) * factors[i / inner % factors.size()]);
  }
}

class ScaledSource : public WeightSource {
 public:
  ScaledSource(std::shared_ptr<const WeightSource> base, int32_t dtype, std::vector<double> factors, uint64_t inner)
      : base_(std::move(base)), dtype_(dtype), factors_(std::move(factors)), inner_(inner) {}

  // This times more factors; null where they lie in another way.
  std::shared_ptr<const WeightSource> times(std::vector<double> factors, uint64_t inner) const {
    if (inner != inner_ || factors.size() != factors_.size()) return nullptr;
    for (size_t i = 0; i < factors.size(); ++i) factors[i] *= factors_[i];
    return std::make_shared<ScaledSource>(base_, dtype_, std::move(factors), inner);
  }

  std::vector<std::byte> read() const override {
    std::vector<std::byte> raw = base_->read();
    if (dtype_ == TensorProto::DOUBLE) {
      scale_slices(std::span(reinterpret_cast<double*>(raw.data()), raw.size() / sizeof(double)), factors_, inner_);
      return raw;
    }
    if (dtype_ == TensorProto::FLOAT) {
      scale_slices(std::span(reinterpret_cast<float*>(raw.data()), raw.size() / sizeof(float)), factors_, inner_);
      return raw;
    }
    std::vector<float> values = to_float(dtype_, raw);
    scale_slices(std::span(values), factors_, inner_);
    return from_float(dtype_, values);
  }

 private:
  std::shared_ptr<const WeightSource> base_;
  int32_t dtype_;
  std::vector<double> factors_;
  uint64_t inner_;  // elements of one slice
};

}  // namespace

uint64_t Weight::elements() const { return product(dims); }

uint64_t Weight::bytes() const { return element_bytes(element_type(dtype), elements()); }

std::shared_ptr<const WeightSource> owned_source(std::vector<std::byte> raw) {
  return std::make_shared<OwnedSource>(std::move(raw));
}

std::shared_ptr<const WeightSource> scaled_source(const Weight& weight, std::vector<double> factors, size_t axis) {
  if (!is_float_type(weight.dtype) || axis >= weight.dims.size() ||
      static_cast<uint64_t>(weight.dims[axis]) != factors.size()) {
    throw Error::make("tensor '{}': {} factors do not fit axis {} of it", printable(weight.name), factors.size(), axis);
  }
  const uint64_t inner = product(std::span(weight.dims).subspan(axis + 1));
  // A weight that is scaled again and again is read and rounded once.
  if (const auto* scaled = dynamic_cast<const ScaledSource*>(weight.source.get())) {
    if (auto both = scaled->times(factors, inner)) return both;
  }
  return std::make_shared<ScaledSource>(weight.source, weight.dtype, std::move(factors), inner);
}

std::vector<std::byte> read(const Weight& weight) {
  std::vector<std::byte> raw = weight.source->read();
  if (raw.size() != weight.bytes()) {
    throw Error::make("tensor '{}': {} bytes where {} are expected", printable(weight.name), raw.size(),
                      weight.bytes());
  }
  return raw;
}

std::vector<float> read_float(const Weight& weight) {
  if (!is_float_type(weight.dtype)) {
    throw Error::make("tensor '{}' is of type {}, not floating point", printable(weight.name), type_name(weight.dtype));
  }
  return to_float(weight.dtype, read(weight));
}

bool is_float_type(int32_t dtype) {
  return dtype == TensorProto::FLOAT || dtype == TensorProto::FLOAT16 || dtype == TensorProto::BFLOAT16 ||
         dtype == TensorProto::DOUBLE;
}

std::vector<float> to_float(int32_t dtype, std::span<const std::byte> raw) {
  if (!is_float_type(dtype)) throw Error::make("{} values are no floats", type_name(dtype));
  std::vector<float> values(raw.size() * 8 / element_bits(dtype));
  const Status status = convert_to_float32(raw, element_type(dtype), values);
  if (!status.ok()) throw Error(status.detail());
  return values;
}

std::vector<std::byte> from_float(int32_t dtype, std::span<const float> values) {
  std::vector<std::byte> raw(element_bytes(element_type(dtype), values.size()));
  const Status status = convert_from_float32(values, element_type(dtype), raw);
  if (!status.ok()) throw Error(status.detail());
  return raw;
}

uint32_t element_bits(int32_t dtype) { return dtype < 0 || dtype > 255 ? 0 : element_bits(element_type(dtype)); }

std::string type_name(int32_t dtype) {
  const std::string_view name = name_of(element_type(dtype));
  return name == "unknown" ? fmt::format("type {}", dtype) : std::string(name);
}

bool element_count(const TensorProto& tensor, uint64_t& count) {
  constexpr uint64_t kMaxElements = uint64_t{1} << 55;  // so that a size in bits cannot overflow
  count = 1;
  bool is_empty = false;
  for (const int64_t dim : tensor.dims()) {
    if (dim < 0) return false;
    if (dim == 0) {
      is_empty = true;
      continue;
    }
    if (static_cast<uint64_t>(dim) > kMaxElements / count) return false;
    count *= static_cast<uint64_t>(dim);
  }
  if (is_empty) count = 0;
  return true;
}

}  // namespace quench
