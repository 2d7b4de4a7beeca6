// Weights of an ONNX model: what they are, and where their values come from.
//
// A weight is the numeric payload of one onnx::TensorProto (an initializer, or a tensor in a node's attribute). The
// proto keeps name, type and shape; the values stay where they are, usually a range of the file, until read() is
// called, so that a model of any size is handled with the memory of its largest tensor.
//
//     for (const Weight& weight : model.weights) {
//       std::vector<float> values = read_float(weight);   // row-major, weight.dims
//     }
#pragma once

#include <onnx/onnx_pb.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/base/printable.h"

namespace quench {

// Where the values of a weight come from. Immutable, so copies of a model share it; safe to read from several threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // All values: little-endian, row-major, in the declared type (as in TensorProto.raw_data). Throws quench::Error when
  // the file cannot be read any more.
  virtual std::vector<std::byte> read() const = 0;
};

struct Weight {
  std::string name;   // the initializer's name; the output's of a Constant node; "node.attribute" for other attributes
  int32_t dtype = 0;  // onnx::TensorProto::DataType
  std::vector<int64_t> dims;
  onnx::TensorProto* tensor = nullptr;  // its place in the model's proto; valid as long as the proto is not changed
  std::shared_ptr<const WeightSource> source;

  uint64_t elements() const;  // product of dims, at least 1
  uint64_t bytes() const;     // of the raw values
};

// Values in memory, for weights that a pass has made.
std::shared_ptr<const WeightSource> owned_source(std::vector<std::byte> raw);

// `weight` times `factors[i]` for every slice i along `axis`, computed in double and rounded once, when it is read. The
// weight is one of is_float_type; factors.size() == dims[axis].
std::shared_ptr<const WeightSource> scaled_source(const Weight& weight, std::vector<double> factors, size_t axis);

// Raw little-endian bytes in the declared type.
std::vector<std::byte> read(const Weight& weight);

// Values of a float16, bfloat16, float32 or double weight as float32 (doubles rounded). Throws for other types.
std::vector<float> read_float(const Weight& weight);

// float16, bfloat16, float32 and double.
bool is_float_type(int32_t dtype);

// Values as read() gives them, as float32, and back (round to nearest even). `dtype` is one of is_float_type.
std::vector<float> to_float(int32_t dtype, std::span<const std::byte> raw);
std::vector<std::byte> from_float(int32_t dtype, std::span<const float> values);

// Bits per element of a fixed-size type (4 for INT4 and UINT4, which are stored two in a byte); 0 for STRING and for
// numbers that are no type.
uint32_t element_bits(int32_t dtype);

// "float16", "int8" and so on, as NumPy spells it; "type 99" for one that is not known.
std::string type_name(int32_t dtype);

// Product of the dims. False when a dim is negative or the product exceeds 2^55.
bool element_count(const onnx::TensorProto& tensor, uint64_t& count);

}  // namespace quench
