// Speed of the fast kernels: each layer of ResNet-32 for CIFAR-10 and some others, in microseconds, in billions of
// multiply-adds a second (counted as if computed directly) and as a share of the processor's peak, which is measured
// here. Prints the median and the minimum of many runs, in processor time of one thread.
//
//     runtime_bench [seconds per line]
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "runtime/kernels/fast/conv.h"
#include "runtime/kernels/fast/tile.h"

namespace {

using quench::rt::Layout;
using namespace quench::rt::fast;

class Floats {
 public:
  explicit Floats(int64_t count) : data_(static_cast<float*>(::operator new(bytes(count), kAlign))) {
    for (int64_t i = 0; i < count; ++i) data_[i] = static_cast<float>((i * 7919) % 1000) * 1e-3f - 0.5f;
  }
  ~Floats() { ::operator delete(data_, kAlign); }
  Floats(const Floats&) = delete;
  float* data() { return data_; }

 private:
  static constexpr std::align_val_t kAlign{64};
  static size_t bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(float) + 64; }
  float* data_;
};

struct Times {
  double median, min;  // seconds
};

// Of this thread alone: what other programs do disturbs it less than the time on the wall.
double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <typename Function>
Times measure(double seconds, const Function& function) {
  const auto once = [&] {
    const double start = thread_seconds();
    function();
    return thread_seconds() - start;
  };
  once();
  const int batch = std::max(1, static_cast<int>(20e-6 / std::max(once(), 1e-9)));
  std::vector<double> times;
  const double end = thread_seconds() + seconds;
  while (thread_seconds() < end || times.size() < 5) {
    const double start = thread_seconds();
    for (int i = 0; i < batch; ++i) function();
    times.push_back((thread_seconds() - start) / batch);
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

// Multiply-adds a second of the tile alone, with everything in the first-level cache.
double measure_peak(double seconds) {
  const TileSet& tiles = tile_set();
  Floats input(12 * 64), weights(64 * 2 * tiles.lanes), output(12 * 2 * tiles.lanes);
  TileArguments t = {};
  t.input = input.data();
  t.input_pixel = 64;
  t.rows = t.steps = 1;
  t.depth = 64;
  t.weights = weights.data();
  t.output = output.data();
  t.output_pixel = 2 * tiles.lanes;
  t.last_lanes = static_cast<size_t>(tiles.lanes);
  t.repeat = 100;
  const int pixels = tiles.max_pixels[1];
  const Times times = measure(seconds, [&] { tiles.function(2, pixels)(t); });
  return 100.0 * 64 * 2 * tiles.lanes * pixels / times.min;
}

struct Layer {
  const char* name;
  int count;  // how often ResNet-32 has it
  int64_t in_channels, size, out_channels, kernel, stride, groups;
  bool residual;
  Layout layout = Layout::kChannelsLast;
};

double bench(const Layer& layer, double peak, double seconds) {
  ConvShape s;
  s.in_channels = layer.in_channels;
  s.in_height = s.in_width = layer.size;
  s.out_channels = layer.out_channels;
  s.kernel_height = s.kernel_width = layer.kernel;
  s.stride_height = s.stride_width = layer.stride;
  s.pad_top = s.pad_left = layer.kernel / 2;
  s.out_height = s.out_width = (layer.size - 1) / layer.stride + 1;
  s.groups = layer.groups;
  s.input_layout = layer.layout;
  const double products = static_cast<double>(s.out_height * s.out_width * s.out_channels * s.in_channels / s.groups *
                                              layer.kernel * layer.kernel);
  double best = 0;
  for (ConvAlgorithm algorithm : {ConvAlgorithm::kDirect, ConvAlgorithm::kWinograd, ConvAlgorithm::kDepthwise}) {
    if (!can_do(algorithm, s)) continue;
    const ConvPlan plan = plan_conv(s, 1, algorithm);
    const bool chosen = plan_conv(s, 1).algorithm == algorithm;
    Floats weights(s.out_channels * s.in_channels / s.groups * layer.kernel * layer.kernel), bias(s.out_channels);
    Floats packed(packed_floats(plan)), input(s.in_channels * s.in_height * s.in_width), scratch(plan.scratch_floats);
    Floats output(s.out_channels * s.out_height * s.out_width), residual(s.out_channels * s.out_height * s.out_width);
    pack_conv(plan, weights.data(), bias.data(), packed.data());
    ConvData data;
    data.packed = packed.data();
    data.input = input.data();
    data.output = output.data();
    data.residual = layer.residual ? residual.data() : nullptr;
    data.activation.kind = quench::rt::Activation::kRelu;
    const Times times = measure(seconds, [&] { run_conv(plan, data, 0, plan.units, scratch.data()); });
    static const char* const kNames[] = {"direct", "winograd", "depthwise"};
    printf("%-28s %2d %-9s%c %9.2f %9.2f us %8.1f GMAC/s %6.2f of peak\n", layer.name, layer.count,
           kNames[static_cast<int>(algorithm)], chosen ? '*' : ' ', times.median * 1e6, times.min * 1e6,
           products / times.median * 1e-9, products / times.median / peak);
    if (chosen) best = times.median;
  }
  return best * layer.count;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? atof(argv[1]) : 0.2;
  const double peak = measure_peak(seconds);
  printf("peak %.1f GMAC/s with %d lanes; * is what the runtime chooses\n", peak * 1e-9, tile_set().lanes);
  printf("%-28s %2s %-10s %9s %9s\n", "layer", "n", "algorithm", "median", "min");
  const Layer resnet[] = {{"3 -> 16, 32x32, row-major", 1, 3, 32, 16, 3, 1, 1, false, Layout::kRowMajor},
                          {"16 -> 16, 32x32", 10, 16, 32, 16, 3, 1, 1, true},
                          {"16 -> 32, 32x32 stride 2", 1, 16, 32, 32, 3, 2, 1, false},
                          {"32 -> 32, 16x16", 9, 32, 16, 32, 3, 1, 1, true},
                          {"32 -> 64, 16x16 stride 2", 1, 32, 16, 64, 3, 2, 1, false},
                          {"64 -> 64, 8x8", 9, 64, 8, 64, 3, 1, 1, true}};
  double total = 0;
  for (const Layer& layer : resnet) total += bench(layer, peak, seconds);
  printf("all convolutions of ResNet-32, each alone: %.3f ms\n", total * 1e3);
  const Layer others[] = {{"64 -> 64, 224x224", 0, 64, 224, 64, 3, 1, 1, false},
                          {"64 -> 64, 200x200", 0, 64, 200, 64, 3, 1, 1, false},
                          {"64 -> 64, 56x56", 0, 64, 56, 64, 3, 1, 1, false},
                          {"256 -> 256, 14x14", 0, 256, 14, 256, 3, 1, 1, false},
                          {"64 -> 256 1x1, 56x56", 0, 64, 56, 256, 1, 1, 1, false},
                          {"1024 -> 256 1x1, 14x14", 0, 1024, 14, 256, 1, 1, 1, false},
                          {"24 -> 24 depthwise 3x3, 112", 0, 24, 112, 24, 3, 1, 24, false},
                          {"116 depthwise 5x5, 28", 0, 116, 28, 116, 5, 1, 116, false},
                          {"3 -> 32 7x7 stride 2, 224", 0, 3, 224, 32, 7, 2, 1, false, Layout::kRowMajor}};
  for (const Layer& layer : others) bench(layer, peak, seconds);
  return 0;
}
