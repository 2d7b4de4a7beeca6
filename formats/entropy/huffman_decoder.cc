#include "formats/entropy/huffman_decoder.h"

#include <bit>
#include <cstring>

namespace quench::entropy {

namespace {

uint64_t load64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
  return value;
}

uint32_t reverse_bits(uint32_t value, uint32_t count) {
  uint32_t reversed = 0;
  for (uint32_t i = 0; i < count; ++i) reversed |= (value >> i & 1) << (count - 1 - i);
  return reversed;
}

// Reads bits lowest first, a byte at a time. Behind the end come zeros, and finish() fails.
class BitReader {
 public:
  explicit BitReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  // Goes on at bit `position`.
  BitReader(std::span<const uint8_t> bytes, uint64_t position) : bytes_(bytes), position_(position) {}

  uint32_t peek(uint32_t count) const {
    uint32_t value = 0;
    for (uint32_t i = 0; i < count; ++i) value |= bit(position_ + i) << i;
    return value;
  }
  void skip(uint32_t count) { position_ += count; }
  uint64_t position() const { return position_; }
  uint32_t read(uint32_t count) {
    const uint32_t value = peek(count);
    skip(count);
    return value;
  }

  Status finish() const {
    const uint64_t used = (position_ + 7) / 8;
    if (used > bytes_.size()) return Status::error(StatusCode::kTruncated, "a Huffman bitstream ends too early");
    if (used < bytes_.size() || (position_ % 8 != 0 && bytes_[used - 1] >> position_ % 8 != 0)) {
      return Status::error(StatusCode::kCorrupt, "bits are left over in a Huffman bitstream");
    }
    return Status();
  }

 private:
  uint32_t bit(uint64_t position) const {
    return position / 8 < bytes_.size() ? bytes_[position / 8] >> position % 8 & 1u : 0u;
  }

  std::span<const uint8_t> bytes_;
  uint64_t position_ = 0;
};

int32_t read_escaped(BitReader& reader) {
  const uint32_t width = reader.read(kEscapeWidthBits);
  return unzigzag(width <= kMaxEscapeWidth ? reader.read(width) : ~0u);
}

int32_t decode_level(const HuffmanTables& tables, BitReader& reader) {
  const uint32_t entry = tables.entries[reader.peek(kMaxCodeLength)];
  const uint32_t length = entry & 15;
  if (length == 0) {
    reader.skip(tables.escape_length);
    return read_escaped(reader);
  }
  reader.skip(length);
  return static_cast<int32_t>(entry >> 4) - HuffmanTables::kLevelOffset;
}

int32_t decode_level_reference(const HuffmanTables& tables, BitReader& reader) {
  uint32_t code = 0, first = 0, index = 0;
  for (uint32_t length = 1; length <= kMaxCodeLength; ++length) {
    code |= reader.read(1);
    const uint32_t count = tables.codes_of_length[length];
    if (code - first < count) {
      const uint32_t token = tables.tokens[index + code - first];
      if (token == tables.token_count - 1) return read_escaped(reader);
      return tables.first_level + static_cast<int32_t>(token);
    }
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  return 0;  // not reached: the code is complete
}

struct Runs {
  std::span<const uint8_t> bytes[kHuffmanLanes];
};

Status split_runs(std::span<const uint8_t> bytes, uint32_t lanes, Runs& runs) {
  uint64_t lengths[kHuffmanLanes] = {};
  size_t position = 0;
  for (uint32_t lane = 0; lane + 1 < lanes; ++lane) {
    for (int shift = 0;; shift += 7) {
      if (position >= bytes.size()) return Status(StatusCode::kTruncated);
      if (shift > 28) return Status::error(StatusCode::kCorrupt, "the length of a Huffman bitstream is too large");
      const uint8_t byte = bytes[position++];
      lengths[lane] |= uint64_t{byte & 127u} << shift;
      if (byte < 128) break;
    }
  }
  std::span<const uint8_t> rest = bytes.subspan(position);
  for (uint32_t lane = 0; lane + 1 < lanes; ++lane) {
    if (lengths[lane] > rest.size()) return Status(StatusCode::kTruncated);
    runs.bytes[lane] = rest.first(lengths[lane]);
    rest = rest.subspan(lengths[lane]);
  }
  runs.bytes[lanes - 1] = rest;
  return Status();
}

Status outside_alphabet() {
  return Status::error(StatusCode::kCorrupt, "a symbol of the Huffman stream lies outside the alphabet");
}

// Decodes `symbols` symbols bit by bit or by table; used for short chunks, ends of runs and around escapes.
template <bool kReference, typename Index>
Status decode_plainly(const HuffmanTables& tables, const StreamLayout& chunk, BitReader& reader, Index* out,
                      uint64_t symbols) {
  for (uint64_t i = 0; i < symbols; ++i) {
    const int32_t level = kReference ? decode_level_reference(tables, reader) : decode_level(tables, reader);
    const uint32_t index = chunk.zero_symbol + static_cast<uint32_t>(level);
    if (index >= chunk.alphabet) return outside_alphabet();
    out[i] = static_cast<Index>(index);
  }
  return Status();
}

// The bitstreams of a chunk side by side, kStep symbols of each at a time.
template <typename Index>
class Lanes {
 public:
  Lanes(const HuffmanTables& tables, const StreamLayout& chunk, const Runs& runs, Index* out)
      : tables_(tables), chunk_(chunk), runs_(runs) {
    const uint64_t symbols = chunk.symbols();
    for (uint32_t i = 0; i < kHuffmanLanes; ++i) {
      lanes_[i].data = runs.bytes[i].data();
      lanes_[i].size = runs.bytes[i].size();
      lanes_[i].out = out + huffman_run(symbols, kHuffmanLanes, i);
      lanes_[i].out_end = out + huffman_run(symbols, kHuffmanLanes, i + 1);
    }
  }

  Status decode() {
    while (!decode_regular()) QUENCH_RETURN_IF_ERROR(decode_irregular());
    for (uint32_t i = 0; i < kHuffmanLanes; ++i) {
      Lane& lane = lanes_[i];
      BitReader reader(runs_.bytes[i], lane.position());
      const auto left = static_cast<uint64_t>(lane.out_end - lane.out);
      QUENCH_RETURN_IF_ERROR((decode_plainly<false>(tables_, chunk_, reader, lane.out, left)));
      QUENCH_RETURN_IF_ERROR(reader.finish());
    }
    return Status();
  }

 private:
  static constexpr int kStep = 4;
  static_assert(kStep * kMaxCodeLength <= 56);

  struct Lane {
    const uint8_t* data;
    uint64_t size;
    uint64_t next = 0;    // the byte to load next
    uint64_t buffer = 0;  // the lowest `count` bits are unread
    uint64_t count = 0;
    Index* out;
    Index* out_end;

    uint64_t position() const { return next * 8 - count; }
    bool can_step() const { return next + 8 <= size && out_end - out >= kStep; }

    void refill() {  // to 56 bits or more
      buffer |= load64(data + next) << count;
      next += (63 - count) >> 3;
      count |= 56;
    }

    void move_to(uint64_t position) {
      const uint64_t part = position % 8;
      next = position / 8;
      buffer = count = 0;
      if (part == 0 || next >= size) return;
      buffer = data[next] >> part;
      count = 8 - part;
      ++next;
    }
  };

  // True at the end of what can be done; false, with nothing of the last step done, where an escape or a wrong symbol
  // lies ahead.
  bool decode_regular() {
    Lane a = lanes_[0], b = lanes_[1], c = lanes_[2], d = lanes_[3];
    const uint16_t* entries = tables_.entries;
    const int32_t shift = static_cast<int32_t>(chunk_.zero_symbol) - HuffmanTables::kLevelOffset;
    const auto last = static_cast<int32_t>(chunk_.alphabet - 1);
    bool regular = true;
    while (regular && a.can_step() && b.can_step() && c.can_step() && d.can_step()) {
      a.refill();
      b.refill();
      c.refill();
      d.refill();
      const uint64_t counts[kHuffmanLanes] = {a.count, b.count, c.count, d.count};
      int32_t check = 0;  // negative when a symbol is not regular
      const auto step = [&](Lane& lane, int i) {
        const uint32_t entry = entries[lane.buffer & ((1 << kMaxCodeLength) - 1)];
        const uint32_t length = entry & 15;
        const int32_t index = static_cast<int32_t>(entry >> 4) + shift;
        check |= (static_cast<int32_t>(length) - 1) | index | (last - index);
        lane.buffer >>= length;
        lane.count -= length;
        lane.out[i] = static_cast<Index>(index);
      };
      for (int i = 0; i < kStep; ++i) {
        step(a, i);
        step(b, i);
        step(c, i);
        step(d, i);
      }
      regular = check >= 0;
      if (!regular) [[unlikely]] {
        a.count = counts[0];
        b.count = counts[1];
        c.count = counts[2];
        d.count = counts[3];
        break;
      }
      a.out += kStep;
      b.out += kStep;
      c.out += kStep;
      d.out += kStep;
    }
    lanes_[0] = a;
    lanes_[1] = b;
    lanes_[2] = c;
    lanes_[3] = d;
    return regular;
  }

  Status decode_irregular() {
    for (uint32_t i = 0; i < kHuffmanLanes; ++i) {
      Lane& lane = lanes_[i];
      BitReader reader(runs_.bytes[i], lane.position());
      QUENCH_RETURN_IF_ERROR((decode_plainly<false>(tables_, chunk_, reader, lane.out, kStep)));
      lane.out += kStep;
      lane.move_to(reader.position());
    }
    return Status();
  }

  const HuffmanTables& tables_;
  const StreamLayout& chunk_;
  const Runs& runs_;
  Lane lanes_[kHuffmanLanes];
};

template <bool kReference, typename Index>
Status decode_run_by_run(const HuffmanTables& tables, const StreamLayout& chunk, const Runs& runs, uint32_t lanes,
                         Index* out) {
  const uint64_t symbols = chunk.symbols();
  for (uint32_t lane = 0; lane < lanes; ++lane) {
    BitReader reader(runs.bytes[lane]);
    const uint64_t first = huffman_run(symbols, lanes, lane);
    const uint64_t end = huffman_run(symbols, lanes, lane + 1);
    QUENCH_RETURN_IF_ERROR((decode_plainly<kReference>(tables, chunk, reader, out + first, end - first)));
    QUENCH_RETURN_IF_ERROR(reader.finish());
  }
  return Status();
}

}  // namespace

void build_huffman_tables(const HuffmanModel& model, HuffmanTables& tables) {
  const std::span<const uint8_t> lengths(model.lengths, model.tokens);
  tables.token_count = model.tokens;
  tables.first_level = model.first_level;
  tables.escape_length = lengths.back();
  uint32_t first_code[kMaxCodeLength + 2] = {};
  uint32_t sum = 0;
  std::memset(tables.codes_of_length, 0, sizeof tables.codes_of_length);
  for (const uint8_t length : lengths) {
    if (length != 0) ++tables.codes_of_length[length];
  }
  uint32_t index_of_length[kMaxCodeLength + 1] = {};
  for (uint32_t length = 1, index = 0; length <= kMaxCodeLength; ++length) {
    first_code[length] = sum >> (kMaxCodeLength - length);
    index_of_length[length] = index;
    sum += static_cast<uint32_t>(tables.codes_of_length[length]) << (kMaxCodeLength - length);
    index += tables.codes_of_length[length];
  }
  for (uint32_t token = 0; token < lengths.size(); ++token) {
    const uint32_t length = lengths[token];
    if (length == 0) continue;
    tables.tokens[index_of_length[length]++] = static_cast<uint16_t>(token);
    const bool is_escape = token + 1 == lengths.size();
    const auto level =
        static_cast<uint32_t>(tables.first_level + static_cast<int32_t>(token) + HuffmanTables::kLevelOffset);
    const auto entry = static_cast<uint16_t>(is_escape ? 0 : level << 4 | length);
    const uint32_t code = reverse_bits(first_code[length]++, length);
    for (uint32_t i = code; i < 1u << kMaxCodeLength; i += 1u << length) tables.entries[i] = entry;
  }
}

template <typename Index>
Status decode_huffman(const HuffmanTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                      Index* out) {
  const uint32_t lanes = huffman_lanes(chunk.symbols());
  Runs runs;
  QUENCH_RETURN_IF_ERROR(split_runs(bytes, lanes, runs));
  if (lanes == kHuffmanLanes) return Lanes<Index>(tables, chunk, runs, out).decode();
  return decode_run_by_run<false>(tables, chunk, runs, lanes, out);
}

template <typename Index>
Status decode_huffman_reference(const HuffmanTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                                Index* out) {
  const uint32_t lanes = huffman_lanes(chunk.symbols());
  Runs runs;
  QUENCH_RETURN_IF_ERROR(split_runs(bytes, lanes, runs));
  return decode_run_by_run<true>(tables, chunk, runs, lanes, out);
}

template Status decode_huffman(const HuffmanTables&, std::span<const uint8_t>, const StreamLayout&, uint8_t*);
template Status decode_huffman(const HuffmanTables&, std::span<const uint8_t>, const StreamLayout&, uint16_t*);
template Status decode_huffman_reference(const HuffmanTables&, std::span<const uint8_t>, const StreamLayout&, uint8_t*);
template Status decode_huffman_reference(const HuffmanTables&, std::span<const uint8_t>, const StreamLayout&,
                                         uint16_t*);

}  // namespace quench::entropy
