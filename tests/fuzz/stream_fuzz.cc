// Fuzzes a coder of index streams: QUENCH_FUZZ_CODER is its name.
//
// The first eight bytes give the layout and what to do with the rest: decode it as a stream under a fitted model,
// decode it as a model (with its length) and a stream, or encode it as indices and decode it again. The fast and the
// plain decoder must agree.
#include <algorithm>
#include <cstdlib>

#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy::testing {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

StreamLayout layout_from(std::span<const uint8_t> head) {
  StreamLayout layout;
  layout.rows = head[1] % 80;
  layout.channels = head[2] % 80;
  layout.inner = head[3] % 70;
  if ((head[0] & 4) != 0) layout.channels *= 17;
  if (layout.symbols() > 3000) layout.rows = 1 + head[1] % 3;
  if (layout.symbols() > 3000) layout.channels = 1 + head[2] % 17;
  layout.alphabet = 1 + (head[4] | ((head[0] & 8) != 0 ? 256u * head[5] : 0u));
  layout.zero_symbol = head[6] % layout.alphabet;
  layout.trellis = static_cast<Trellis>((head[0] >> 4) % 3);
  if (layout.trellis != Trellis::kNone) {
    layout.alphabet += layout.alphabet % 2;
    layout.zero_symbol -= layout.zero_symbol % 2;
  }
  return layout;
}

void decode_both_ways(OwnedDecoder& decoder, std::span<const uint8_t> stream, const StreamLayout& layout) {
  std::vector<uint16_t> fast, plain;
  const bool fast_ok = decoder.decode(stream, layout, fast).ok();
  const bool plain_ok = decoder.decode(stream, layout, plain, true).ok();
  require(fast_ok == plain_ok);
  if (!fast_ok) return;
  require(fast == plain);
  for (const uint16_t index : fast) require(index < layout.alphabet);
  if (layout.alphabet > 256) return;
  std::vector<uint8_t> narrow;
  require(decoder.decode(stream, layout, narrow).ok());
  require(std::equal(narrow.begin(), narrow.end(), fast.begin(), fast.end()));
}

void encode_and_decode(const std::vector<uint8_t>& model, OwnedDecoder& decoder, std::span<const uint8_t> values,
                       const StreamLayout& layout) {
  SampleStream sample{layout, {}};
  for (uint64_t i = 0; i < layout.symbols(); ++i) {
    const uint32_t value = values.empty() ? 0 : values[i % values.size()];
    sample.indices.push_back(
        static_cast<uint16_t>((layout.zero_symbol + value * (i % 3 == 0 ? 1u : 7u)) % layout.alphabet));
  }
  if (layout.trellis != Trellis::kNone) put_on_trellis(sample);
  const Result<std::vector<uint8_t>> stream =
      Encoder::create(model)->encode(layout, std::span<const uint16_t>(sample.indices));
  require(stream.ok());
  std::vector<uint16_t> back;
  require(decoder.decode(*stream, layout, back).ok());
  require(back == sample.indices);
  decode_both_ways(decoder, *stream, layout);
}

std::vector<uint8_t> fitted_model(Coder coder) {
  Random random(1);
  const SampleStream samples[] = {make_stream(random, {16, 16, 9, 31, 15}, 1.5),
                                  make_stream(random, {20, 40, 1, 200, 0}, 20)};
  return fit(coder, samples);
}

int fuzz_stream(Coder coder, const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> model = fitted_model(coder);
  static OwnedDecoder fitted(model);
  constexpr size_t kHead = 8;
  if (size < kHead) return 0;
  const std::span<const uint8_t> head(data, kHead), rest(data + kHead, size - kHead);
  const StreamLayout layout = layout_from(head);
  switch (head[0] & 3) {
    case 0:
      encode_and_decode(model, fitted, rest, layout);
      break;
    case 1:
      decode_both_ways(fitted, rest, layout);
      break;
    default: {
      const size_t length = std::min<size_t>(head[7] * size_t{4}, rest.size());
      std::vector<uint8_t> other(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(length));
      other.insert(other.begin(), static_cast<uint8_t>(coder));
      OwnedDecoder decoder(other);
      require(decoder.status().ok() == Encoder::create(other).ok());
      if (!decoder.status().ok()) break;
      decode_both_ways(decoder, rest.subspan(length), layout);
      encode_and_decode(other, decoder, rest, layout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace quench::entropy::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quench::entropy;
  static const Coder coder = *coder_named(QUENCH_FUZZ_CODER);
  return testing::fuzz_stream(coder, data, size);
}
