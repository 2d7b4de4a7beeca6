#include "formats/onnx/file_kind.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

namespace quench {
namespace {

struct Kind {
  size_t offset;
  std::string_view start;
  std::string_view text;
};

constexpr std::array kKinds = {
    Kind{0, "\x89QNC\r\n", "is a .quench file; 'quench unpack' makes an .onnx file of it"},
    Kind{0, "version https://git-lfs", "is a Git LFS pointer, not the model; fetch it with 'git lfs pull'"},
    Kind{0, {"PK\x03\x04", 4}, "is a ZIP archive, as PyTorch's .pt files are; export the model with torch.onnx.export"},
    Kind{0, "\x80\x02", "is a pickle, as old .pt files of PyTorch are; export the model with torch.onnx.export"},
    Kind{4, "TFL3", "is a .tflite file; convert it with tf2onnx"},
    Kind{8, "{\"", "is a .safetensors file, weights without a graph; export the model to ONNX"},
    Kind{0, "GGUF", "is a .gguf file, weights without a graph; export the model to ONNX"},
    Kind{0, "\x1f\x8b", "is compressed by gzip; unpack it with gunzip"},
    Kind{0, "BZh", "is compressed by bzip2; unpack it with bunzip2"},
    Kind{0,
         "\xfd"
         "7zXZ",
         "is compressed by xz; unpack it with unxz"},
    Kind{0, "\x28\xb5\x2f\xfd", "is compressed by zstd; unpack it with unzstd"},
    Kind{257, "ustar", "is a tar archive; unpack it with tar"},
    Kind{0, "\x89HDF", "is an HDF5 file, as Keras writes them; convert it with tf2onnx"},
    Kind{4, "ORTM", "is an .ort file of ONNX Runtime; take the .onnx file that it was made of"},
    Kind{0, "\x93NUMPY", "is a .npy file, not a model"},
    Kind{0, "\x89PNG", "is an image, not a model"},
    Kind{0, "\xff\xd8\xff", "is an image, not a model"},
    Kind{0, "<", "is XML or HTML, not a model"},
};

}  // namespace

std::string kind_of(const InputFile& file) {
  std::string start(std::min<uint64_t>(file.size(), 512), '\0');
  file.read(0, std::as_writable_bytes(std::span(start)));
  for (const Kind& kind : kKinds) {
    if (start.size() >= kind.offset && start.compare(kind.offset, kind.start.size(), kind.start) == 0)
      return std::string(kind.text);
  }
  return {};
}

}  // namespace quench
