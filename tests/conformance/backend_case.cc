#include "tests/conformance/backend_case.h"

#include <onnx/onnx-data_pb.h>

#include <cfloat>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "formats/operators/operator.h"
#include "runtime/session/session.h"

namespace quench {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

template <typename T, typename Values>
std::string pack(const Values& values) {
  std::string bytes;
  for (const auto value : values) {
    const T element = static_cast<T>(value);
    bytes.append(reinterpret_cast<const char*>(&element), sizeof element);
  }
  return bytes;
}

// The elements as they lie in memory, from raw_data or from the field of the type.
std::string element_bytes(const onnx::TensorProto& tensor) {
  if (tensor.has_raw_data()) return tensor.raw_data();
  switch (static_cast<ElementType>(tensor.data_type())) {
    case ElementType::kFloat32:
      return pack<float>(tensor.float_data());
    case ElementType::kFloat64:
      return pack<double>(tensor.double_data());
    case ElementType::kInt64:
      return pack<int64_t>(tensor.int64_data());
    case ElementType::kUint64:
      return pack<uint64_t>(tensor.uint64_data());
    case ElementType::kUint32:
      return pack<uint32_t>(tensor.uint64_data());
    case ElementType::kInt32:
      return pack<int32_t>(tensor.int32_data());
    case ElementType::kInt16:
    case ElementType::kUint16:
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return pack<uint16_t>(tensor.int32_data());
    default:
      return pack<uint8_t>(tensor.int32_data());
  }
}

float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const float sign = bits & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                               : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25));
}

template <typename T>
T element(const char* bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

bool is_floating(ElementType type) {
  return type == ElementType::kFloat32 || type == ElementType::kFloat64 || type == ElementType::kFloat16 ||
         type == ElementType::kBfloat16;
}

double floating_element(ElementType type, const char* bytes, size_t index) {
  switch (type) {
    case ElementType::kFloat32:
      return element<float>(bytes, index);
    case ElementType::kFloat64:
      return element<double>(bytes, index);
    case ElementType::kFloat16:
      return from_half(element<uint16_t>(bytes, index));
    default: {
      const uint32_t bits = static_cast<uint32_t>(element<uint16_t>(bytes, index)) << 16;
      return element<float>(reinterpret_cast<const char*>(&bits), 0);
    }
  }
}

// The tolerances of ONNX's own backend test.
bool close(double actual, double expected) {
  if (std::isnan(expected) || std::isinf(expected)) {
    return std::isnan(expected) ? std::isnan(actual) : actual == expected;
  }
  return std::fabs(actual - expected) <= 1e-7 + 1e-3 * std::fabs(expected);
}

// Some of the bfloat16 cases declare one type or shape and come with another.
bool matches(const onnx::TensorProto& tensor, const onnx::TypeProto::Tensor& declared) {
  return tensor.data_type() == declared.elem_type() &&
         (!declared.has_shape() || declared.shape().dim_size() == tensor.dims_size());
}

void add_tensors(const onnx::SequenceProto& sequence, CaseValue* value) {
  value->kind = CaseValue::kSequence;
  value->tensors.assign(sequence.tensor_values().begin(), sequence.tensor_values().end());
}

// What is wrong with the file of a value of this type; empty if nothing is.
std::string parse(const std::string& file, const onnx::TypeProto& type, CaseValue* value) {
  onnx::OptionalProto optional;
  onnx::SequenceProto sequence;
  if (type.has_tensor_type()) {
    if (!value->tensors.emplace_back().ParseFromString(file)) return "a tensor cannot be parsed";
    return matches(value->tensors[0], type.tensor_type()) ? "" : "its data contradict its model";
  }
  if (type.has_sequence_type()) {
    if (!type.sequence_type().elem_type().has_tensor_type()) return "sequences of what is no tensor";
    if (!sequence.ParseFromString(file)) return "a sequence cannot be parsed";
    add_tensors(sequence, value);
    return "";
  }
  if (!type.has_optional_type()) return "values that are no tensors, sequences or optional";
  if (!optional.ParseFromString(file)) return "an optional value cannot be parsed";
  if (optional.has_tensor_value()) {
    value->tensors = {optional.tensor_value()};
  } else if (optional.has_sequence_value()) {
    add_tensors(optional.sequence_value(), value);
  } else {
    value->kind = CaseValue::kNothing;
  }
  return "";
}

// float64 is computed in float32.
bool exceeds_float(const onnx::TensorProto& tensor) {
  const std::string bytes = element_bytes(tensor);
  if (static_cast<ElementType>(tensor.data_type()) != ElementType::kFloat64) return false;
  for (size_t i = 0; i < bytes.size() / sizeof(double); ++i) {
    if (std::fabs(element<double>(bytes.data(), i)) > static_cast<double>(FLT_MAX)) return true;
  }
  return false;
}

// The contents of name_0.pb, name_1.pb ... in a case's folder.
std::vector<std::string> numbered_files(const std::filesystem::path& folder, const std::string& name) {
  std::vector<std::string> files;
  for (int i = 0;; ++i) {
    const std::filesystem::path path = folder / (name + "_" + std::to_string(i) + ".pb");
    if (!std::filesystem::exists(path)) return files;
    files.push_back(read_file(path));
  }
}

}  // namespace

std::string difference(const rt::Tensor& actual, const onnx::TensorProto& expected) {
  const auto type = static_cast<ElementType>(expected.data_type());
  if (actual.type != type) return std::string("has type ") + quench::name_of(actual.type);
  if (actual.shape.rank != expected.dims_size()) return "has rank " + std::to_string(actual.shape.rank);
  for (int axis = 0; axis < actual.shape.rank; ++axis) {
    if (actual.shape[axis] != expected.dims(axis)) {
      return "dimension " + std::to_string(axis) + " is " + std::to_string(actual.shape[axis]);
    }
  }
  const std::string bytes = element_bytes(expected);
  if (bytes.size() != static_cast<size_t>(actual.bytes())) return "the case has too few values";
  const char* values = static_cast<const char*>(actual.data);
  for (size_t i = 0; i < static_cast<size_t>(actual.elements()); ++i) {
    if (is_floating(type)) {
      const double value = floating_element(type, values, i);
      const double wanted = floating_element(type, bytes.data(), i);
      if (!close(value, wanted)) {
        return "element " + std::to_string(i) + " is " + std::to_string(value) + ", not " + std::to_string(wanted);
      }
    } else {
      const auto size = static_cast<size_t>(rt::size_of(type));
      if (std::memcmp(values + i * size, bytes.data() + i * size, size) != 0) {
        return "element " + std::to_string(i) + " differs";
      }
    }
  }
  return "";
}

BackendCase::BackendCase(const std::filesystem::path& folder)
    : name_(folder.parent_path().filename().string() + "/" + folder.filename().string()) {
  if (!model_.ParseFromString(read_file(folder / "model.onnx"))) trouble_ = "model.onnx cannot be parsed";
  std::set<std::string> initializers;
  for (const auto& initializer : model_.graph().initializer()) initializers.insert(initializer.name());
  for (const auto& input : model_.graph().input()) {
    if (!initializers.contains(input.name())) input_names_.push_back(input.name());
  }
  const auto read = [this](const std::vector<std::string>& files, const auto& infos, std::vector<CaseValue>* values) {
    for (size_t i = 0; i < files.size() && static_cast<int>(i) < infos.size(); ++i) {
      const std::string trouble = parse(files[i], infos[static_cast<int>(i)].type(), &values->emplace_back());
      if (!trouble.empty()) trouble_ = trouble;
    }
  };
  read(numbered_files(folder / "test_data_set_0", "input"), model_.graph().input(), &inputs_);
  read(numbered_files(folder / "test_data_set_0", "output"), model_.graph().output(), &outputs_);
  if (trouble_.empty() && (outputs_.empty() || inputs_.size() != input_names_.size())) {
    trouble_ = "no outputs, or inputs without values";
  }
}

std::string BackendCase::out_of_scope(rt::KernelSet kernels) const {
  if (!trouble_.empty()) return trouble_;
  for (const auto& node : model_.graph().node()) {
    for (const auto& opset : model_.opset_import()) {
      if (opset.domain() != node.domain()) continue;
      if (!rt::find_kernel(node.domain(), node.op_type(), static_cast<int>(opset.version()), kernels)) {
        return "operator not there: " + (node.domain().empty() ? "" : node.domain() + ".") + node.op_type();
      }
    }
    const operators::Operator* row = operators::find(node.op_type());
    if (row && row->is(operators::kRandom) && row->name != "Dropout") return "random numbers";
    for (const auto& attribute : node.attribute()) {
      if (attribute.name() == "training_mode" && attribute.i() != 0) return "training mode";
    }
    // Dropout's third input; with a ratio of 0, its second, nothing is dropped.
    if (node.op_type() == "Dropout" && node.input_size() == 3 && inputs_.size() == 3 &&
        element_bytes(inputs_[2].tensors.at(0)) != std::string(1, '\0') &&
        element_bytes(inputs_[1].tensors.at(0)) != std::string(4, '\0')) {
      return "training mode";
    }
  }
  for (const onnx::TensorProto& tensor : all_tensors()) {
    if (rt::size_of(static_cast<ElementType>(tensor.data_type())) == 0) return "type: strings";
    if (exceeds_float(tensor)) return "float64 values beyond the range of float32";
  }
  return "";
}

std::vector<onnx::TensorProto> BackendCase::all_tensors() const {
  std::vector<onnx::TensorProto> tensors;
  for (const auto* values : {&inputs_, &outputs_}) {
    for (const CaseValue& value : *values) tensors.insert(tensors.end(), value.tensors.begin(), value.tensors.end());
  }
  return tensors;
}

Outcome BackendCase::run(rt::KernelSet kernels) const {
  const std::string excluded = out_of_scope(kernels);
  if (!excluded.empty()) return Outcome::left_out(excluded);
  const std::string bytes = model_.SerializeAsString();
  rt::ModelOptions options;
  options.kernels = kernels;
  rt::ModelHandle handle;
  Status status = rt::open_model(std::as_bytes(std::span(bytes.data(), bytes.size())), {}, options, handle);
  rt::SessionHandle session;
  if (status.ok()) status = rt::create_session(*handle, {}, session);
  // Keeps the inputs alive, aligned for any element.
  std::vector<std::vector<uint64_t>> values;
  for (size_t i = 0; status.ok() && i < inputs_.size(); ++i) {
    const auto input = static_cast<int>(i);
    std::vector<rt::Tensor> tensors;
    for (const onnx::TensorProto& tensor : inputs_[i].tensors) {
      const std::string elements = element_bytes(tensor);
      values.emplace_back(elements.size() / 8 + 1);
      std::memcpy(values.back().data(), elements.data(), elements.size());
      rt::Tensor& made = tensors.emplace_back();
      made.type = static_cast<ElementType>(tensor.data_type());
      for (const int64_t dim : tensor.dims()) made.shape[made.shape.rank++] = dim;
      made.data = values.back().data();
    }
    if (inputs_[i].kind == CaseValue::kNothing) {
      status = session->set_nothing(input);
    } else if (inputs_[i].kind == CaseValue::kSequence) {
      status = session->set_sequence(input, tensors);
    } else {
      status = session->set_input(input, tensors[0].data, tensors[0].shape.view());
    }
  }
  if (status.ok()) status = session->run();
  // Only where an element type, not float32 data, stands in the way.
  if (status.code() == StatusCode::kUnsupportedType) {
    for (const onnx::TensorProto& tensor : all_tensors()) {
      const auto type = static_cast<ElementType>(tensor.data_type());
      if (!is_floating(type)) return Outcome::left_out(std::string("type: ") + quench::name_of(type));
    }
  }
  if (!status.ok()) return Outcome::failed(status.detail());
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const auto fail = [&](const std::string& text) {
      return Outcome::failed("output " + std::to_string(i) + ": " + text);
    };
    const auto number = static_cast<int>(i);
    const Result<int> count = session->output_count(number);
    if (!count.ok()) return fail(count.status().detail());
    const CaseValue& expected = outputs_[i];
    const int wanted = expected.kind == CaseValue::kNothing ? -1 : static_cast<int>(expected.tensors.size());
    if (*count != wanted) return fail("has " + std::to_string(*count) + " tensors");
    for (int item = 0; item < wanted; ++item) {
      const Result<rt::Tensor> output =
          expected.kind == CaseValue::kSequence ? session->output_item(number, item) : session->output(number);
      if (!output.ok()) return fail(output.status().detail());
      const std::string text = difference(*output, expected.tensors[static_cast<size_t>(item)]);
      if (!text.empty()) return fail(text);
    }
  }
  return Outcome();
}

}  // namespace quench
