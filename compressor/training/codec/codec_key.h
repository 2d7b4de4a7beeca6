#pragma once

#include "compressor/training/codec/codec_options.h"
#include "compressor/training/run_key.h"

namespace quench::training {

// What a training of an image codec that goes on must have in common with its checkpoint's.
RunKey run_key(const CodecOptions& options);

}  // namespace quench::training
