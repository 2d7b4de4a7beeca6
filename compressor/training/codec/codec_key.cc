#include "compressor/training/codec/codec_key.h"

#include <fmt/format.h>

namespace quench::training {
RunKey run_key(const CodecOptions& options) {
  const auto& [network, loop, centers, assignment, distortion, betas, bits_per_pixel, crop, on_pictures] = options;
  const auto& [channels, latents, blocks, qualities, weighted, seed] =
      network;  // `weighted` follows from the loss; the loop's seed
  RunKey key = run_key(loop);
  const auto add = [&key](const char* name, const auto& value) { key.add(name, fmt::format("{}", value)); };
  add("--channels", channels);
  add("--latents", latents);
  add("--blocks", blocks);
  add("--qualities", qualities);
  add("--centers", centers);
  add("--assignment", name_in(kAssignments, assignment));
  add("--loss", name_in(kDistortions, distortion));
  add("--beta (coarsest)", betas.coarsest);
  add("--beta (finest)", betas.finest);
  add("--bpp (coarsest)", bits_per_pixel.coarsest);
  add("--bpp (finest)", bits_per_pixel.finest);
  add("--crop", crop);
  return key;
}

}  // namespace quench::training
