// Fine-tunes a model while its weights are annealed onto the centers of a codebook, and writes it as a .quench file
// (Agustsson et al., "Soft-to-Hard Vector Quantization for End-to-End Learning Compressible Representations", 2017).
#pragma once

#include <filesystem>

#include "compressor/training/reports.h"
#include "compressor/training/tune_options.h"

namespace quench::training {

// Throws quench::Error. The output appears complete or not at all.
TuneReport tune(const std::filesystem::path& input, const std::filesystem::path& output, const TuneOptions& options);

}  // namespace quench::training
