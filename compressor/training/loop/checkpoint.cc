#include "compressor/training/loop/checkpoint.h"

#include <torch/torch.h>

#include <span>
#include <sstream>

#include "compressor/data/files.h"
#include "formats/base/crc32c.h"
#include "formats/error.h"

namespace quench::training {
namespace {

// Torch's archive is a zip file; ours is a magic, a sum of what follows, then that archive, so that a damaged file is
// told from another program's.
constexpr char kMagic[8] = {'Q', 'N', 'C', 'K', 'P', 'T', '2', '\n'};
constexpr size_t kFamily = 6;  // bytes of the magic that all versions have

const char* const kTensorPrefix = "tensor.";
const char* const kTextPrefix = "text.";

std::vector<std::byte> read_of_leader(const std::filesystem::path& path, Communicator* communicator) {
  if (!communicator || communicator->is_alone()) return data::read_file(path);
  std::vector<std::byte> file;
  if (communicator->rank() == 0) file = data::read_file(path);
  file.resize(static_cast<size_t>(communicator->of_leader(static_cast<int64_t>(file.size()))));
  communicator->broadcast({torch::from_blob(file.data(), {static_cast<int64_t>(file.size())}, torch::kUInt8)});
  return file;
}

}  // namespace

void Checkpoint::save(const std::filesystem::path& path) const {
  torch::serialize::OutputArchive archive;
  std::string names;
  for (const auto& [name, tensor] : tensors) {
    archive.write(kTensorPrefix + std::to_string(std::distance(tensors.begin(), tensors.find(name))), tensor.detach());
    names += name + '\n';
  }
  archive.write("names", torch::IValue(names));
  std::string keys;
  for (const auto& [key, text] : texts) {
    archive.write(kTextPrefix + std::to_string(std::distance(texts.begin(), texts.find(key))), torch::IValue(text));
    keys += key + '\n';
  }
  archive.write("keys", torch::IValue(keys));
  std::ostringstream stream;
  archive.save_to(stream);
  const std::string body = std::move(stream).str();
  const uint32_t sum = crc32c(std::as_bytes(std::span(body)));
  std::string file(kMagic, sizeof(kMagic));
  file.append(reinterpret_cast<const char*>(&sum), sizeof(sum));
  file += body;
  data::write_file(path, std::as_bytes(std::span(file)));
}

Checkpoint Checkpoint::load(const std::filesystem::path& path, Communicator* communicator) {
  const std::vector<std::byte> file = read_of_leader(path, communicator);
  constexpr size_t kHeader = sizeof(kMagic) + sizeof(uint32_t);
  if (file.size() < kHeader || std::memcmp(file.data(), kMagic, sizeof(kMagic)) != 0) {
    if (file.size() >= kFamily && std::memcmp(file.data(), kMagic, kFamily) == 0) {
      throw Error::make("{}: this checkpoint is of another version of Quench", path.string());
    }
    throw Error::make("{}: this is no checkpoint", path.string());
  }
  uint32_t sum = 0;
  std::memcpy(&sum, file.data() + sizeof(kMagic), sizeof(sum));
  const std::span<const std::byte> body = std::span(file).subspan(kHeader);
  if (crc32c(body) != sum) throw Error::make("{}: the checkpoint is damaged", path.string());
  torch::serialize::InputArchive archive;
  archive.load_from(reinterpret_cast<const char*>(body.data()), body.size(), torch::kCPU);
  Checkpoint checkpoint;
  torch::IValue value;
  archive.read("names", value);
  std::istringstream names(value.toStringRef());
  std::string name;
  for (int i = 0; std::getline(names, name); ++i) {
    archive.read(kTensorPrefix + std::to_string(i), checkpoint.tensors[name]);
  }
  archive.read("keys", value);
  std::istringstream keys(value.toStringRef());
  for (int i = 0; std::getline(keys, name); ++i) {
    torch::IValue text;
    archive.read(kTextPrefix + std::to_string(i), text);
    checkpoint.texts[name] = text.toStringRef();
  }
  return checkpoint;
}

const torch::Tensor& Checkpoint::tensor(const std::string& name, torch::IntArrayRef shape,
                                        torch::ScalarType type) const {
  const auto found = tensors.find(name);
  if (found == tensors.end() || found->second.sizes() != shape || found->second.scalar_type() != type) {
    throw Error::make("the checkpoint is of another model or other options: it has no '{}' of this shape", name);
  }
  return found->second;
}

void Checkpoint::restore(const std::string& name, torch::Tensor& target) const {
  torch::NoGradGuard no_grad;
  target.copy_(tensor(name, target.sizes(), target.scalar_type()));
}

void remove_checkpoint(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) std::filesystem::remove(path, ignored);
}

}  // namespace quench::training
