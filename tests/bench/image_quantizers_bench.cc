// An image codec's networks with one vector quantizer after another between them, as Agustsson et al. 2017 (section 4)
// have it: d latents are a vector (4: 2 x 2 of one channel), which becomes one of L centers that all channels share.
//
//     image_quantizers_bench TRAINING_PICTURES TEST_PICTURES [--steps N] [--seed S] [--threads N] PLAN|RUN...
//
// A run is d:L:beta:annealed or d:L:beta:hard, a plan a list of them: curves, assignment or entropy. Each run begins
// from the same networks, and its centers from their latents; it sees the same pieces of pictures, and lowers
//
//     D + beta H,    D: mean square difference of values from 0 to 255,    H: bits per pixel
//
// An index costs -log2 of how often its center was the nearest one in the last steps, in proportion to the soft
// assignment phi = softmax(-sigma |z - c|^2). annealed: phi forward, and sigma grows from step to step; hard: the
// nearest center forward, the gradients of phi. The centers learn by gradients, as the networks do.
//
// Prints a line of comma-separated values for each run, of the test pictures with nearest centers: the order-0 entropy
// of all their indices together, in bits per pixel; means of PSNR in dB and of MS-SSIM; how many centers were in use.
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "compressor/networks/image_codec.h"
#include "compressor/training/codec/ms_ssim.h"
#include "compressor/training/codec/pictures.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/loop/clock.h"
#include "compressor/training/loop/counter_random.h"
#include "compressor/training/loop/optimizer.h"
#include "formats/error.h"

namespace {

using namespace quench;
using namespace quench::training;
using torch::Tensor;

constexpr int64_t kCrop = 128, kBatch = 4, kFirstPieces = 8;
constexpr double kLearningRate = 1e-3;  // at most: one cycle
constexpr double kQuick = 10;           // learning rate of centers and gains, beside the networks'
// Of the soft assignment, over d / (2 D): there its spread is the first centers' error D.
constexpr double kHardSigma = 1, kFirstSigma = 0.5, kLastSigma = 50;
constexpr int kLloydSteps = 10;
constexpr double kMemory = 0.9;  // of the frequencies, from step to step
constexpr int64_t kRows = 8192;  // vectors whose distances are in memory at once, where no gradients are needed

struct Run {
  int64_t dimension = 1, centers = 2;
  double beta = 0;
  bool is_hard = false;

  bool operator==(const Run&) const = default;
  const char* assignment() const { return is_hard ? "hard" : "annealed"; }
};

struct Plan {
  const char *name, *runs;
};
constexpr Plan kPlans[] = {
    {"curves",
     "1:6:100:annealed 1:6:300:annealed 1:6:1000:annealed 1:12:100:annealed 1:12:300:annealed 1:12:1000:annealed "
     "1:32:100:annealed 1:32:300:annealed 1:32:1000:annealed 1:32:3000:annealed 1:64:1000:annealed 1:64:3000:annealed "
     "4:64:100:annealed 4:64:300:annealed 4:64:1000:annealed "
     "4:256:100:annealed 4:256:300:annealed 4:256:1000:annealed "
     "4:1000:100:annealed 4:1000:300:annealed 4:1000:1000:annealed"},
    {"assignment", "1:32:300:annealed 1:32:300:hard 4:256:300:annealed 4:256:300:hard"},
    {"entropy",
     "1:32:300:annealed 1:6:0:annealed 1:8:0:annealed 1:12:0:annealed 1:32:0:annealed "
     "4:256:300:annealed 4:32:0:annealed 4:64:0:annealed 4:128:0:annealed 4:256:0:annealed"},
};

struct Options {
  std::string training, test;
  int64_t steps = 200;
  uint64_t seed = 1;
  int threads = 1;
  std::vector<Run> runs;
};

Run parse_run(const std::string& text) {
  Run run;
  long long dimension = 0, centers = 0;
  char assignment[9] = "";
  const int fields = std::sscanf(text.c_str(), "%lld:%lld:%lf:%8s", &dimension, &centers, &run.beta, assignment);
  run.dimension = dimension;
  run.centers = centers;
  run.is_hard = assignment == std::string("hard");
  if (fields != 4 || run.assignment() != std::string(assignment) || (dimension != 1 && dimension != 4) || centers < 2 ||
      !(run.beta >= 0)) {
    throw Error::make(
        "{}: no plan, and no run: give curves, assignment, entropy or d:L:beta:annealed or d:L:beta:hard, "
        "d 1 or 4, L 2 or more, beta 0 or more",
        text);
  }
  return run;
}

// A run that several plans have is made once.
void add_runs(const std::string& text, std::vector<Run>& runs) {
  std::string list = text;
  for (const Plan& plan : kPlans) {
    if (text == plan.name) list = plan.runs;
  }
  std::istringstream words(list);
  for (std::string word; words >> word;) {
    const Run run = parse_run(word);
    if (std::find(runs.begin(), runs.end(), run) == runs.end()) runs.push_back(run);
  }
}

Options parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::max(1, std::atoi(argv[++i])) : 1; };
    if (word == "--steps") {
      options.steps = number();
    } else if (word == "--seed") {
      options.seed = static_cast<uint64_t>(number());
    } else if (word == "--threads") {
      options.threads = number();
    } else {
      words.push_back(word);
    }
  }
  if (words.size() < 3) {
    throw Error(
        "image_quantizers_bench TRAINING_PICTURES TEST_PICTURES [--steps N] [--seed S] [--threads N] PLAN|RUN...");
  }
  options.training = words[0];
  options.test = words[1];
  for (size_t i = 2; i < words.size(); ++i) add_runs(words[i], options.runs);
  return options;
}

// [N, channels, rows, columns] and [vectors, d]; rows and columns are multiples of d's root.
Tensor vectors_of(const Tensor& latents, int64_t dimension) {
  const int64_t side = dimension == 4 ? 2 : 1;
  return latents.reshape({latents.size(0), latents.size(1), latents.size(2) / side, side, -1, side})
      .permute({0, 1, 2, 4, 3, 5})
      .reshape({-1, dimension});
}

Tensor latents_of(const Tensor& vectors, int64_t dimension, at::IntArrayRef shape) {
  const int64_t side = dimension == 4 ? 2 : 1;
  return vectors.view({shape[0], shape[1], shape[2] / side, shape[3] / side, side, side})
      .permute({0, 1, 2, 4, 3, 5})
      .reshape(shape);
}

// `scale` (2 z c - |c|^2): minus the square distance from each vector to each center, but for what all centers share.
Tensor nearness(const Tensor& vectors, const Tensor& centers, double scale = 1) {
  return torch::addmm(centers.square().sum(1), vectors, centers.t(), -scale, 2 * scale);
}

Tensor nearest(const Tensor& vectors, const Tensor& centers) {
  std::vector<Tensor> indices;
  for (const Tensor& rows : vectors.split(kRows)) indices.push_back(nearness(rows, centers).argmax(1));
  return torch::cat(indices);
}

Tensor counts_of(const Tensor& indices, int64_t centers) {
  return torch::bincount(indices, {}, centers).to(torch::kFloat32);
}

// k-means++ (Arthur and Vassilvitskii 2007): each is drawn in proportion to its square distance from the nearest one
// before.
Tensor spread_out(const Tensor& vectors, int64_t count) {
  Tensor distance = torch::ones({vectors.size(0)});
  std::vector<Tensor> centers;
  for (int64_t i = 0; i < count; ++i) {
    centers.push_back(vectors.index_select(0, distance.multinomial(1)));
    const Tensor own = (vectors - centers.back()).square().sum(1);
    distance = i == 0 ? own : torch::minimum(distance, own);
  }
  return torch::cat(centers);
}

class VectorQuantizer {
 public:
  // The centers are some of the vectors, far from each other, moved by a few steps of Lloyd's.
  VectorQuantizer(const Tensor& latents, const Run& run) : dimension_(run.dimension) {
    const Tensor vectors = vectors_of(latents, dimension_);
    if (vectors.size(0) < run.centers) throw Error::make("{} centers are too many: give less", run.centers);
    centers_ = spread_out(vectors, run.centers);
    for (int i = 0; i < kLloydSteps; ++i) {
      const Tensor indices = nearest(vectors, centers_), counts = counts_of(indices, run.centers).unsqueeze(1);
      const Tensor sums = torch::zeros_like(centers_).index_add(0, indices, vectors);
      centers_ = torch::where(counts > 0, sums / counts.clamp_min(1), centers_);
    }
    const Tensor indices = nearest(vectors, centers_);
    const double error = (vectors - centers_.index_select(0, indices)).square().sum(1).mean().item<double>();
    sigma_unit_ = static_cast<double>(dimension_) / (2 * error);
    frequencies_ = counts_of(indices, run.centers);
    centers_.set_requires_grad(true);
  }

  const Tensor& centers() const { return centers_; }

  struct Result {
    Tensor values;  // as the latents
    Tensor bits;    // of all together, by the soft assignment
  };
  // `sigma`: see kHardSigma. Counts the frequencies.
  Result quantize(const Tensor& latents, double sigma, bool is_hard) {
    const Tensor vectors = vectors_of(latents, dimension_);
    const Tensor logits = nearness(vectors, centers_, sigma * sigma_unit_);
    const Tensor phi = torch::softmax(logits, 1);
    const Tensor indices = logits.detach().argmax(1);
    frequencies_ = kMemory * frequencies_ + counts_of(indices, centers_.size(0));
    Tensor values = torch::mm(phi, centers_);
    if (is_hard) values = values + (centers_.index_select(0, indices) - values).detach();
    const Tensor costs = -((frequencies_ + 1) / (frequencies_ + 1).sum()).log2();
    return {latents_of(values, dimension_, latents.sizes()), torch::mv(phi, costs).sum()};
  }

  struct Hard {
    Tensor values;
    Tensor counts;  // [L]: of each index
  };
  Hard harden(const Tensor& latents) const {
    const Tensor indices = nearest(vectors_of(latents, dimension_), centers_);
    return {latents_of(centers_.index_select(0, indices), dimension_, latents.sizes()),
            counts_of(indices, centers_.size(0))};
  }

 private:
  int64_t dimension_;
  Tensor centers_;      // [L, d]
  Tensor frequencies_;  // [L]
  double sigma_unit_ = 1;
};

struct Measures {
  double bits_per_pixel = 0, psnr_db = 0, ms_ssim = 0;
  int64_t centers_in_use = 0;
};

class Trainer {
 public:
  Trainer(const Options& options, const Run& run, const Pictures& pictures)
      : options_(options),
        run_(run),
        pictures_(pictures),
        networks_(networks::build({.channels = 32, .latents = 32, .blocks = 2, .qualities = 1, .seed = options.seed})),
        encoder_(networks_.encoder, torch::kCPU),
        decoder_(networks_.decoder, torch::kCPU) {
    torch::manual_seed(options.seed);
    torch::NoGradGuard no_grad;
    const Tensor first = pictures_.pieces(mix(~options.seed), 0, kFirstPieces, kCrop);
    quantizer_ = std::make_unique<VectorQuantizer>(encode(first), run);
    loop_.optimizer = OptimizerKind::kAdam;
    loop_.schedule = RateSchedule::kOneCycle;
    loop_.learning_rate = kLearningRate;
    std::vector<Tensor> slow, quick = {quantizer_->centers()};
    for (GraphModule* module : {&encoder_, &decoder_}) {
      for (const auto& [name, tensor] : module->parameters()) (name == "gain.log" ? quick : slow).push_back(tensor);
    }
    slow_ = std::make_unique<Optimizer>(std::vector<Tensor>(), slow, loop_);
    quick_ = std::make_unique<Optimizer>(std::vector<Tensor>(), quick, loop_);
  }

  void train() {
    for (int64_t step = 0; step < options_.steps; ++step) {
      const double share = static_cast<double>(step) / static_cast<double>(options_.steps);
      const Tensor originals = pictures_.pieces(mix(options_.seed, static_cast<uint64_t>(step)), 0, kBatch, kCrop)
                                   .contiguous(torch::MemoryFormat::ChannelsLast);
      const double sigma = run_.is_hard ? kHardSigma : kFirstSigma * std::pow(kLastSigma / kFirstSigma, share);
      const VectorQuantizer::Result latents = quantizer_->quantize(encode(originals), sigma, run_.is_hard);
      const Tensor distortion = (decode(latents.values) - originals).square().mean();
      const Tensor rate = latents.bits / static_cast<double>(kBatch * kCrop * kCrop);
      const Tensor loss = distortion + run_.beta * rate;
      if (!std::isfinite(loss.item<double>())) throw Error::make("the loss is not finite at step {}", step + 1);
      slow_->zero_grad();
      quick_->zero_grad();
      loss.backward();
      const double rate_now = learning_rate(loop_, share);
      slow_->step(rate_now);
      quick_->step(kQuick * rate_now);
    }
  }

  Measures measure(const Pictures& pictures) {
    torch::NoGradGuard no_grad;
    Measures sum;
    Tensor counts = torch::zeros({run_.centers});
    int64_t pixels = 0;
    for (size_t i = 0; i < pictures.size(); ++i) {
      const Tensor original = whole(pictures.picture(i));
      const VectorQuantizer::Hard latents = quantizer_->harden(encode(original));
      const Tensor decoded = decode(latents.values).round().clamp(0, 255);
      counts += latents.counts;
      pixels += original.size(2) * original.size(3);
      sum.psnr_db += -10 * std::log10(((decoded - original) / 255).square().mean().item<double>());
      sum.ms_ssim += ms_ssim(decoded, original).item<double>();
    }
    const Tensor used = counts.masked_select(counts > 0).to(torch::kFloat64);
    const auto count = static_cast<double>(pictures.size());
    return {-(used * (used / used.sum()).log2()).sum().item<double>() / static_cast<double>(pixels),
            sum.psnr_db / count, sum.ms_ssim / count, used.size(0)};
  }

 private:
  // As much of a picture as two latents to either side divide, as a batch.
  static Tensor whole(const Tensor& picture) {
    constexpr int64_t kSide = 2 * networks::kImageCodecStride;
    return picture.narrow(0, 0, picture.size(0) / kSide * kSide)
        .narrow(1, 0, picture.size(1) / kSide * kSide)
        .permute({2, 0, 1})
        .unsqueeze(0)
        .to(torch::kFloat32)
        .contiguous(torch::MemoryFormat::ChannelsLast);
  }

  Tensor encode(const Tensor& pictures) {
    const Tensor quality = torch::ones({pictures.size(0), 1});
    return encoder_.forward({{"image", pictures}, {"quality", quality}}, GraphModule::Mode::kTrain).front();
  }

  Tensor decode(const Tensor& latents) {
    const Tensor quality = torch::ones({latents.size(0), 1});
    return decoder_.forward({{"latent", latents}, {"quality", quality}}, GraphModule::Mode::kTrain).front();
  }

  const Options& options_;
  const Run& run_;
  const Pictures& pictures_;
  networks::ImageCodec networks_;
  GraphModule encoder_, decoder_;
  std::unique_ptr<VectorQuantizer> quantizer_;
  LoopOptions loop_;
  std::unique_ptr<Optimizer> slow_, quick_;
};

void run_all(const Options& options) {
  at::set_num_threads(options.threads);
  const Pictures training(picture_files(options.training), kCrop), test(picture_files(options.test), kMsSsimLeast);
  std::printf("d,L,beta,assignment,seed,steps,bits_per_pixel,psnr_db,ms_ssim,centers_in_use,seconds\n");
  for (const Run& run : options.runs) {
    const double start = monotonic_seconds();
    Trainer trainer(options, run, training);
    trainer.train();
    const double seconds = monotonic_seconds() - start;
    const Measures measured = trainer.measure(test);
    std::printf("%lld,%lld,%g,%s,%llu,%lld,%.4f,%.3f,%.4f,%lld,%.0f\n", static_cast<long long>(run.dimension),
                static_cast<long long>(run.centers), run.beta, run.assignment(),
                static_cast<unsigned long long>(options.seed), static_cast<long long>(options.steps),
                measured.bits_per_pixel, measured.psnr_db, measured.ms_ssim,
                static_cast<long long>(measured.centers_in_use), seconds);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run_all(parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "image_quantizers_bench: error: %s\n", error.what());
    return 1;
  }
}
