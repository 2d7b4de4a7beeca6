// What is done to images before a model sees them, as text that a model's file carries, and by well-known names.
//
//     std::string text = to_text(*preset("imagenet"));   // "mean=0.485,0.456,0.406 std=0.229,0.224,0.225"
//     DatasetOptions options = preprocessing_from(text);
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compressor/data/dataset.h"

namespace quench::data {

// Keys of a model's metadata_props (ONNX's own) that hold such text, and a line for the name of each class.
inline constexpr const char* kPreprocessingKey = "quench.preprocessing";
inline constexpr const char* kLabelsKey = "quench.labels";

// scale=X, mean=M,..., std=S,..., layout=nchw|nhwc, order=bgr, with a space between them; only what is not the default.
std::string to_text(const DatasetOptions& options);
// Throws quench::Error for anything else: text of a file may be anything.
DatasetOptions preprocessing_from(std::string_view text);

// By what the models were trained with; none for another name.
//     imagenet   torchvision's: RGB of 0 to 1, minus the mean, over the deviation of ImageNet's training images
//     cifar10    the same of CIFAR-10's
//     signed     -1 to 1, as TensorFlow's (Inception, MobileNet)
//     bytes      0 to 255
//     caffe      0 to 255, BGR, minus the mean of ImageNet
std::optional<DatasetOptions> preset(std::string_view name);
std::vector<std::string> preset_names();

}  // namespace quench::data
