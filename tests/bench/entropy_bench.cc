// Size and speed of the coders of index streams, on one thread.
//
//     entropy_bench [--json] [--seconds S] [FILE]
//
// FILE holds the index streams of a net: "QIDX", their number, then for each rows, channels, inner, alphabet, zero
// symbol and the indices as bytes; all numbers are 32-bit little-endian. Without it, indices of the shapes of a
// ResNet-32 for CIFAR-10 are drawn from a seed: Laplace levels with log-normal scales of filters and channels and
// correlated kernels.
//
// Sizes are over the order-0 entropy of all streams together, the model included. Times are medians over repetitions
// that take S seconds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "formats/entropy/statistics.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy::testing {
namespace {

struct Stream {
  StreamLayout layout;
  std::vector<uint8_t> indices;
};

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "entropy_bench: error: %s\n", message.c_str());
  std::exit(1);
}

std::vector<Stream> read_streams(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
  size_t position = 4;
  const auto number = [&] {
    if (bytes.size() - position < 4) fail(path + " ends too early");
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value |= uint32_t{static_cast<uint8_t>(bytes[position++])} << (8 * i);
    return value;
  };
  if (bytes.size() < 8 || std::memcmp(bytes.data(), "QIDX", 4) != 0) fail(path + " is no file of index streams");
  std::vector<Stream> streams;
  for (uint32_t left = number(); left > 0; --left) {
    Stream stream;
    stream.layout.rows = number();
    stream.layout.channels = number();
    stream.layout.inner = number();
    stream.layout.alphabet = number();
    stream.layout.zero_symbol = number();
    if (!check_layout(stream.layout).ok() || stream.layout.symbols() > bytes.size() - position)
      fail(path + " is damaged");
    const auto begin = bytes.begin() + static_cast<ptrdiff_t>(position);
    stream.indices.assign(begin, begin + static_cast<ptrdiff_t>(stream.layout.symbols()));
    position += stream.indices.size();
    streams.push_back(std::move(stream));
  }
  return streams;
}

// One kernel of levels whose neighbours' correlation is about that of trained 3 x 3 kernels.
void draw_kernel(Random& random, double scale, uint64_t inner, std::vector<double>& values) {
  values.assign(inner, 0);
  const uint64_t width = inner == 9 ? 3 : inner;
  for (uint64_t i = 0; i < inner; ++i) {
    values[i] = scale * random.laplace();
    if (i % width != 0) values[i] += 0.4 * values[i - 1];
    if (i >= width) values[i] += 0.35 * values[i - width];
  }
}

Stream draw_stream(Random& random, uint64_t rows, uint64_t channels, uint64_t inner) {
  Stream stream{{rows, channels, inner, 127, 63}, {}};
  std::vector<double> channel_scales(channels), kernel;
  for (double& scale : channel_scales) scale = std::exp(0.35 * random.normal());
  for (uint64_t row = 0; row < rows; ++row) {
    const double row_scale = 1.1 * std::exp(0.35 * random.normal());
    for (uint64_t channel = 0; channel < channels; ++channel) {
      draw_kernel(random, row_scale * channel_scales[channel], inner, kernel);
      for (const double value : kernel) {
        stream.indices.push_back(static_cast<uint8_t>(std::clamp(std::floor(value + 0.5) + 63, 0.0, 126.0)));
      }
    }
  }
  return stream;
}

std::vector<Stream> draw_resnet32() {
  Random random(32);
  std::vector<Stream> streams = {draw_stream(random, 16, 3, 9)};
  for (const uint64_t width : {16, 32, 64}) {
    for (int layer = 0; layer < 10; ++layer) {
      const bool widens = layer == 0 && width > 16;
      streams.push_back(draw_stream(random, width, widens ? width / 2 : width, 9));
    }
  }
  streams.push_back(draw_stream(random, 10, 64, 1));
  return streams;
}

double median_seconds(double budget, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration span) { return std::chrono::duration<double>(span).count(); };
  std::vector<double> times;
  const auto start = Clock::now();
  while (times.size() < 5 || seconds(Clock::now() - start) < budget) {
    const auto begin = Clock::now();
    work();
    times.push_back(seconds(Clock::now() - begin));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

struct Measurement {
  std::string name;
  size_t model_bytes = 0, stream_bytes = 0;
  double over_entropy = 0;  // size / entropy - 1
  double fit_ns = 0, encode_ns = 0, decode_ns = 0;
};

uint64_t total_symbols(const std::vector<Stream>& streams) {
  uint64_t total = 0;
  for (const Stream& stream : streams) total += stream.indices.size();
  return total;
}

double total_entropy_bits(const std::vector<Stream>& streams) {
  std::vector<uint64_t> counts(512);
  for (const Stream& stream : streams) {
    for (const uint8_t index : stream.indices) ++counts[256 + index - stream.layout.zero_symbol];
  }
  return entropy_bits(counts) * static_cast<double>(total_symbols(streams));
}

Measurement measure(Coder coder, const std::string& name, const std::vector<Stream>& streams, double budget) {
  const auto symbols = static_cast<double>(total_symbols(streams));
  std::vector<uint8_t> model;
  Measurement result;
  result.name = name;
  result.fit_ns = 1e9 / symbols * median_seconds(budget / 4, [&] {
                    ModelFitter fitter(coder);
                    for (const Stream& stream : streams) {
                      if (!fitter.add(stream.layout, std::span(stream.indices)).ok())
                        fail("a stream does not fit its layout");
                    }
                    model = fitter.finish();
                  });
  const Result<Encoder> encoder = Encoder::create(model);
  std::vector<std::vector<uint8_t>> coded(streams.size());
  result.encode_ns = 1e9 / symbols * median_seconds(budget / 4, [&] {
                       for (size_t i = 0; i < streams.size(); ++i) {
                         coded[i] = *encoder->encode(streams[i].layout, std::span(streams[i].indices));
                       }
                     });
  result.model_bytes = model.size();
  for (const std::vector<uint8_t>& bytes : coded) result.stream_bytes += bytes.size();
  result.over_entropy =
      static_cast<double>(result.model_bytes + result.stream_bytes) * 8 / total_entropy_bits(streams) - 1;

  OwnedDecoder decoder(model);
  std::vector<std::vector<uint8_t>> decoded;
  for (const Stream& stream : streams) decoded.emplace_back(stream.indices.size());
  bool ok = true;
  result.decode_ns =
      1e9 / symbols * median_seconds(budget, [&] {
        for (size_t i = 0; i < streams.size(); ++i) {
          ok = ok && (*decoder).decode(coded[i], streams[i].layout, std::span(decoded[i]), decoder.scratch()).ok();
        }
      });
  for (size_t i = 0; i < streams.size(); ++i) ok = ok && decoded[i] == streams[i].indices;
  if (!ok) fail(name + " does not give the indices back");
  return result;
}

void print_table(const std::vector<Measurement>& measurements, double bits, uint64_t symbols) {
  std::printf("%llu symbols, order-0 entropy %.4f bits per symbol\n\n", static_cast<unsigned long long>(symbols), bits);
  std::printf(
      "| coder | bytes | of it the model | size over entropy | fit ns | encode ns | decode ns | decoded M symbols/s "
      "|\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (const Measurement& m : measurements) {
    std::printf("| %s | %zu | %zu | %+.2f %% | %.1f | %.1f | %.2f | %.1f |\n", m.name.c_str(),
                m.stream_bytes + m.model_bytes, m.model_bytes, 100 * m.over_entropy, m.fit_ns, m.encode_ns, m.decode_ns,
                1e3 / m.decode_ns);
  }
}

void print_json(const std::vector<Measurement>& measurements, double bits, uint64_t symbols) {
  std::printf("{\"symbols\": %llu, \"entropy_bits\": %.6f, \"coders\": [", static_cast<unsigned long long>(symbols),
              bits);
  const char* separator = "";
  for (const Measurement& m : measurements) {
    std::printf(
        "%s\n  {\"coder\": \"%s\", \"bytes\": %zu, \"model_bytes\": %zu, \"size_over_entropy\": %.6f, "
        "\"fit_ns\": %.3f, \"encode_ns\": %.3f, \"decode_ns\": %.3f}",
        separator, m.name.c_str(), m.stream_bytes + m.model_bytes, m.model_bytes, 1 + m.over_entropy, m.fit_ns,
        m.encode_ns, m.decode_ns);
    separator = ",";
  }
  std::printf("\n]}\n");
}

int run(int count, char** arguments) {
  bool json = false;
  double budget = 1;
  std::vector<Stream> streams;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--seconds" && i + 1 < count) {
      budget = std::strtod(arguments[++i], nullptr);
    } else if (argument[0] == '-') {
      std::fprintf(stderr, "usage: entropy_bench [--json] [--seconds S] [FILE]\n");
      return 2;
    } else {
      streams = read_streams(argument);
    }
  }
  if (streams.empty()) streams = draw_resnet32();
  std::vector<Measurement> measurements;
  for (const CoderRow& row : kCoders) measurements.push_back(measure(row.coder, row.name, streams, budget));
  const uint64_t symbols = total_symbols(streams);
  (json ? print_json : print_table)(measurements, total_entropy_bits(streams) / static_cast<double>(symbols), symbols);
  return 0;
}

}  // namespace
}  // namespace quench::entropy::testing

int main(int count, char** arguments) { return quench::entropy::testing::run(count, arguments); }
