#include "formats/entropy/huffman_encoder.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "formats/entropy/range_encoder.h"

namespace quench::entropy {

namespace {

class BitWriter {
 public:
  void write(uint32_t value, uint32_t count) {
    buffer_ |= uint64_t{value} << filled_;
    for (filled_ += count; filled_ >= 8; filled_ -= 8, buffer_ >>= 8) bytes_.push_back(static_cast<uint8_t>(buffer_));
  }
  std::vector<uint8_t> finish() {
    if (filled_ > 0) bytes_.push_back(static_cast<uint8_t>(buffer_));
    return std::move(bytes_);
  }

 private:
  std::vector<uint8_t> bytes_;
  uint64_t buffer_ = 0;
  uint32_t filled_ = 0;
};

// The range of levels, at most kMaxTokens - 1 wide, that gets tokens.
struct LevelRange {
  int32_t first = 0;
  uint32_t count = 1;
};

LevelRange choose_range(std::span<const uint64_t> level_counts) {
  const auto size = static_cast<int32_t>(level_counts.size());
  const auto center = static_cast<int32_t>(kMaxAlphabet);
  int32_t first = center, last = center;
  for (int32_t i = 0; i < size; ++i) {
    if (level_counts[static_cast<size_t>(i)] == 0) continue;
    first = std::min(first, i);
    last = std::max(last, i);
  }
  first = std::max(first, center - kMaxFirstLevel);
  last = std::min(last, first + static_cast<int32_t>(kMaxTokens) - 2);
  return {first - center, static_cast<uint32_t>(last - first + 1)};
}

void write_level(const HuffmanCode& code, int32_t level, BitWriter& writer) {
  const auto token = static_cast<uint32_t>(level - code.first_level);
  const size_t escape = code.lengths.size() - 1;
  if (token < escape && code.lengths[token] != 0) {
    writer.write(code.codes[token], code.lengths[token]);
    return;
  }
  writer.write(code.codes[escape], code.lengths[escape]);
  const uint32_t value = zigzag(level);
  const auto width = static_cast<uint32_t>(std::bit_width(value));
  writer.write(width, kEscapeWidthBits);
  writer.write(value, width);
}

uint16_t reverse_bits(uint32_t value, uint32_t count) {
  uint32_t reversed = 0;
  for (uint32_t i = 0; i < count; ++i) reversed |= (value >> i & 1) << (count - 1 - i);
  return static_cast<uint16_t>(reversed);
}

}  // namespace

std::vector<uint8_t> limited_code_lengths(std::span<const uint64_t> counts, uint32_t max_length) {
  // A package is a symbol, or two packages of the list before. Symbols are sorted, so what a package holds of the lists
  // before is described by how many of them it takes from the front.
  std::vector<uint32_t> symbols;
  for (uint32_t i = 0; i < counts.size(); ++i) {
    if (counts[i] != 0) symbols.push_back(i);
  }
  std::stable_sort(symbols.begin(), symbols.end(), [&](uint32_t a, uint32_t b) { return counts[a] < counts[b]; });

  struct Package {
    uint64_t weight;
    bool is_symbol;
  };
  std::vector<std::vector<Package>> lists(max_length);
  for (uint32_t level = 0; level < max_length; ++level) {
    std::vector<Package>& list = lists[level];
    for (const uint32_t symbol : symbols) list.push_back({counts[symbol], true});
    if (level > 0) {
      const std::vector<Package>& before = lists[level - 1];
      for (size_t i = 0; i + 1 < before.size(); i += 2)
        list.push_back({before[i].weight + before[i + 1].weight, false});
    }
    std::stable_sort(list.begin(), list.end(), [](const Package& a, const Package& b) { return a.weight < b.weight; });
  }

  std::vector<uint8_t> lengths(counts.size(), 0);
  size_t taken = 2 * symbols.size() - 2;
  for (uint32_t level = max_length; level-- > 0;) {
    size_t taken_symbols = 0;
    for (size_t i = 0; i < taken; ++i) taken_symbols += lists[level][i].is_symbol ? 1 : 0;
    for (size_t i = 0; i < taken_symbols; ++i) ++lengths[symbols[i]];
    taken = 2 * (taken - taken_symbols);
  }
  return lengths;
}

std::vector<uint8_t> write_huffman_model(std::span<const uint64_t> level_counts) {
  const LevelRange range = choose_range(level_counts);
  const size_t first = kMaxAlphabet - static_cast<uint32_t>(-range.first);
  std::vector<uint64_t> counts(level_counts.begin() + static_cast<ptrdiff_t>(first),
                               level_counts.begin() + static_cast<ptrdiff_t>(first + range.count));
  uint64_t all = 0, covered = 0;
  for (const uint64_t count : level_counts) all += count;
  for (const uint64_t count : counts) covered += count;
  auto& zero = counts[static_cast<size_t>(-range.first)];
  zero = std::max<uint64_t>(zero, 1);
  counts.push_back(std::max<uint64_t>(all - covered, 1));

  const std::vector<uint8_t> lengths = limited_code_lengths(counts, kMaxCodeLength);
  RangeEncoder encoder;
  LengthContexts<AdaptiveBit> contexts;
  uint32_t before = 0;
  for (const uint8_t length : lengths) {
    uint32_t node = 1;
    for (uint32_t i = kLengthBits; i-- > 0;) {
      const uint32_t bit = length >> i & 1u;
      encoder.encode(bit, contexts.node[before][node]);
      node = node << 1 | bit;
    }
    before = length;
  }
  const auto tokens = static_cast<uint32_t>(lengths.size());
  const auto stored_first = static_cast<uint16_t>(range.first);
  std::vector<uint8_t> model = {static_cast<uint8_t>(tokens), static_cast<uint8_t>(tokens >> 8),
                                static_cast<uint8_t>(stored_first), static_cast<uint8_t>(stored_first >> 8)};
  const std::vector<uint8_t> coded = encoder.finish();
  model.insert(model.end(), coded.begin(), coded.end());
  return model;
}

HuffmanCode make_huffman_code(const HuffmanModel& model) {
  const std::span<const uint8_t> lengths(model.lengths, model.tokens);
  HuffmanCode code;
  code.first_level = model.first_level;
  code.lengths.assign(lengths.begin(), lengths.end());
  code.codes.resize(lengths.size());
  uint32_t next = 0;
  for (uint32_t length = 1; length <= kMaxCodeLength; ++length) {
    for (size_t token = 0; token < lengths.size(); ++token) {
      if (lengths[token] == length) code.codes[token] = reverse_bits(next++, length);
    }
    next <<= 1;
  }
  return code;
}

template <typename Index>
std::vector<uint8_t> encode_huffman(const HuffmanCode& code, const StreamLayout& chunk, const Index* indices) {
  const uint64_t symbols = chunk.symbols();
  const uint32_t lanes = huffman_lanes(symbols);
  std::vector<uint8_t> head, body;
  for (uint32_t lane = 0; lane < lanes; ++lane) {
    BitWriter writer;
    const uint64_t end = huffman_run(symbols, lanes, lane + 1);
    for (uint64_t i = huffman_run(symbols, lanes, lane); i < end; ++i) {
      write_level(code, static_cast<int32_t>(indices[i]) - static_cast<int32_t>(chunk.zero_symbol), writer);
    }
    const std::vector<uint8_t> run = writer.finish();
    body.insert(body.end(), run.begin(), run.end());
    if (lane + 1 == lanes) break;
    size_t length = run.size();
    for (; length >= 128; length >>= 7) head.push_back(static_cast<uint8_t>(length | 128));
    head.push_back(static_cast<uint8_t>(length));
  }
  head.insert(head.end(), body.begin(), body.end());
  return head;
}

template std::vector<uint8_t> encode_huffman(const HuffmanCode&, const StreamLayout&, const uint8_t*);
template std::vector<uint8_t> encode_huffman(const HuffmanCode&, const StreamLayout&, const uint16_t*);

}  // namespace quench::entropy
