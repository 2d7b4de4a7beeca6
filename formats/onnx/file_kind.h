// What a file is that is not what was asked for.
#pragma once

#include <string>

#include "formats/onnx/input_file.h"

namespace quench {

// By its first bytes: "is a ... file; " and what to do, for kinds of files that models and data come in. Empty for others.
std::string kind_of(const InputFile& file);

}  // namespace quench
