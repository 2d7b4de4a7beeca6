#include "compressor/training/codec/train_codec.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "compressor/networks/ode_network.h"
#include "compressor/training/autocast.h"
#include "compressor/training/codec/codec_key.h"
#include "compressor/training/codec/latent_quantizer.h"
#include "compressor/training/codec/ms_ssim.h"
#include "compressor/training/codec/pictures.h"
#include "compressor/training/codec/rate_control.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/loop/checkpoint.h"
#include "compressor/training/loop/clock.h"
#include "compressor/training/loop/counter_random.h"
#include "compressor/training/loop/optimizer.h"
#include "compressor/training/loop/process.h"
#include "compressor/training/loop/signals.h"
#include "formats/error.h"
#include "formats/image/index_model.h"
#include "formats/image/prior_fitter.h"

namespace quench::training {
namespace {

using torch::Tensor;

// Of the soft assignment, where centers are about 1 apart: its gradient is then that of the identity within the range of
// the centers.
constexpr double kFirstSigma = 1, kLastSigma = 100;
// Of all gradients together, which are shortened to it; not tuned.
constexpr double kLargestGradient = 1;
constexpr double kWhite = 255;
constexpr size_t kPriorPictures = 64;
static_assert(kDecodedSide <= kMsSsimLeast, "every test picture has a middle");

CodecOptions checked(CodecOptions options, const Communicator& communicator) {
  options.network.weighted = options.distortion == Distortion::kMsSsim;
  if (options.betas.coarsest == 0) options.betas = default_betas(options.distortion);
  if (options.crop % networks::kImageCodecStride != 0) {
    throw Error::make("pieces of {} pixels cannot be coded: give a multiple of {} as --crop", options.crop,
                      networks::kImageCodecStride);
  }
  if (options.distortion == Distortion::kMsSsim && options.crop < kMsSsimLeast) {
    throw Error::make("pieces of {} pixels are too small for MS-SSIM: give {} or more as --crop, or --loss mse",
                      options.crop, kMsSsimLeast);
  }
  if (options.loop.batch % communicator.size() != 0) {
    throw Error::make("a batch of {} cannot be shared out to {} processes: give a multiple as --batch",
                      options.loop.batch, communicator.size());
  }
  return options;
}

class CodecTrainer {
 public:
  CodecTrainer(const CodecOptions& options, const Process& process)
      : options_(checked(options, process.communicator())),
        loop_(options.loop),
        communicator_(process.communicator()),
        device_(process.device()),
        networks_(networks::build(options_.network)),
        encoder_(networks_.encoder, device_),
        decoder_(networks_.decoder, device_),
        quantizer_(options.network.latents, options.centers, options.network.qualities, device_),
        rate_(options_.betas, options_.bits_per_pixel, options.network.qualities, device_),
        pictures_(picture_files(loop_.data), options.crop, [&](double share) { tell("reading pictures", share); }) {
    if (!loop_.test_data.empty()) test_pictures_.emplace(picture_files(loop_.test_data), kMsSsimLeast);
    const uint64_t room = static_cast<uint64_t>(pictures_.pixels() / (options.crop * options.crop));
    const uint64_t pieces = loop_.samples > 0 ? loop_.samples : room;
    epoch_steps_ = std::max<int64_t>(1, static_cast<int64_t>(pieces) / loop_.batch);
    steps_ = epoch_steps_ * loop_.epochs;
    optimizer_ = std::make_unique<Optimizer>(std::vector<Tensor>(), learned(), loop_);
  }

  uint64_t parameters() const {
    uint64_t count = 0;
    for (const Tensor& tensor : learned()) count += static_cast<uint64_t>(tensor.numel());
    return count;
  }

  std::vector<TrainingRecord> run() {
    const SignalCatcher signals;
    if (loop_.resume) restore();
    share_first_values();
    start_ = monotonic_seconds() - seconds_;
    last_save_ = monotonic_seconds();
    while (step_ < steps_) {
      if (step_ % epoch_steps_ == 0) loss_sum_ = 0;
      loss_sum_ += step();
      ++step_;
      tell("training", static_cast<double>(step_) / static_cast<double>(steps_));
      if (step_ % epoch_steps_ == 0) finish_epoch();
      save_or_stop(signals);
    }
    return records_;
  }

  // The networks with what was learned, as they ship.
  networks::ImageCodec shipped() {
    const networks::ImageCodecTables tables = this->tables();
    networks::ImageCodec codec = networks::build(options_.network, tables);
    return {networks::with_weights_of(std::move(codec.encoder), encoder_.to_onnx()),
            networks::with_weights_of(std::move(codec.decoder), decoder_.to_onnx())};
  }

 private:
  struct Pass {
    Tensor pictures;  // float32 [N, 3, height, width]
    LatentQuantizer::Result latents;
  };

  void tell(std::string_view what, double share) const {
    if (loop_.progress) loop_.progress(what, share);
  }

  std::vector<Tensor> learned() const {
    std::vector<Tensor> tensors;
    for (const auto& [name, tensor] : encoder_.parameters()) tensors.push_back(tensor);
    for (const auto& [name, tensor] : decoder_.parameters()) tensors.push_back(tensor);
    tensors.push_back(quantizer_.centers());
    return tensors;
  }

  bool is_hard() const { return options_.assignment == Assignment::kHard; }
  double sigma() const {
    if (is_hard()) return kFirstSigma;
    return kFirstSigma * std::pow(kLastSigma / kFirstSigma, static_cast<double>(step_) / static_cast<double>(steps_));
  }

  Pass pass(const Tensor& pictures, const Tensor& qualities, GraphModule::Mode mode, bool hard) {
    const Autocast autocast(device_, loop_.bfloat16);
    const Tensor latent = encoder_.forward({{"image", pictures}, {"quality", qualities}}, mode).front();
    Pass result;
    result.latents = quantizer_.quantize(latent.to(torch::kFloat32), qualities, sigma(), hard);
    result.pictures =
        decoder_.forward({{"latent", result.latents.values}, {"quality", qualities}}, mode).front().to(torch::kFloat32);
    return result;
  }

  // [N].
  Tensor distortion(const Tensor& pictures, const Tensor& originals) const {
    if (options_.distortion == Distortion::kMse) return ((pictures - originals) / kWhite).square().flatten(1).mean(1);
    return 1 - ms_ssim(pictures, originals);
  }

  double step() {
    const int64_t own = loop_.batch / communicator_.size();
    const int64_t first = communicator_.rank() * own;
    const uint64_t key = mix(loop_.seed, static_cast<uint64_t>(step_));
    const Tensor originals =
        pictures_.pieces(key, first, own, options_.crop).to(device_).contiguous(torch::MemoryFormat::ChannelsLast);
    Tensor qualities = torch::empty({own, 1});
    for (int64_t i = 0; i < own; ++i) {
      qualities[i][0] = 1 + (options_.network.qualities - 1) * unit(mix(~key, static_cast<uint64_t>(first + i)));
    }
    qualities = qualities.to(device_);
    const Pass made = pass(originals, qualities, GraphModule::Mode::kTrain, is_hard());
    const Tensor roots = rate_.betas(qualities).sqrt();
    const Tensor rates = made.latents.bits / static_cast<double>(options_.crop * options_.crop);
    const Tensor loss =
        (distortion(made.pictures, originals) / roots + rates * roots).sum() / static_cast<double>(loop_.batch);
    optimizer_->zero_grad();
    loss.backward();
    const double value = reduce(loss.detach().clone());
    const double share = static_cast<double>(step_) / static_cast<double>(steps_);
    optimizer_->step(learning_rate(loop_, share));
    quantizer_.sort();
    const LatentQuantizer::Evidence evidence = quantizer_.evidence(made.latents.indices, qualities);
    const Tensor excess = rate_.excess(rates, qualities);
    communicator_.all_reduce_sum({evidence.counts, evidence.moments, excess});
    quantizer_.learn(evidence);
    rate_.learn(excess, loop_.batch, share);
    return value;
  }

  // Sums loss and gradients over all processes, and shortens the gradients. Returns the loss.
  double reduce(Tensor loss) const {
    torch::NoGradGuard no_grad;
    std::vector<Tensor> gradients;
    for (Tensor& tensor : learned()) {
      if (!tensor.grad().defined()) tensor.mutable_grad() = torch::zeros_like(tensor);
      gradients.push_back(tensor.grad());
    }
    communicator_.all_reduce_sum({loss});
    communicator_.all_reduce_sum(gradients);
    const double norm = torch::stack(at::_foreach_norm(gradients, 2)).norm().item<double>();
    const double value = loss.item<double>();
    if (!std::isfinite(value) || !std::isfinite(norm)) {
      throw Error::make("the loss is not finite at step {}: try a smaller --learning-rate", step_ + 1);
    }
    if (norm > kLargestGradient) at::_foreach_mul_(gradients, kLargestGradient / norm);
    return value;
  }

  void finish_epoch() {
    TrainingRecord record;
    record.epoch = static_cast<int>(step_ / epoch_steps_);
    record.epochs = loop_.epochs;
    record.step = step_;
    record.learning_rate = learning_rate(loop_, static_cast<double>(step_ - 1) / static_cast<double>(steps_));
    record.loss = loss_sum_ / static_cast<double>(epoch_steps_);
    if (test_pictures_) record.rates = measure();
    record.seconds = monotonic_seconds() - start_;
    records_.push_back(record);
    if (communicator_.rank() != 0) return;
    if (options_.on_pictures && test_pictures_) options_.on_pictures(middles_);
    if (loop_.on_epoch) loop_.on_epoch(records_);
  }

  // With hard values, at the coarsest, the middle and the finest quality. Keeps the middles of the first pictures.
  std::vector<TrainingRecord::RatePoint> measure() {
    torch::NoGradGuard no_grad;
    std::vector<TrainingRecord::RatePoint> points;
    const double last = options_.network.qualities;
    std::vector<double> qualities = {1};
    if (last > 2) qualities.push_back(std::floor((1 + last) / 2));
    if (last > 1) qualities.push_back(last);
    middles_.clear();
    for (size_t i = 0; i < std::min(test_pictures_->size(), kMostDecoded); ++i) {
      middles_.push_back({test_pictures_->file(i).filename().string(), middle(whole(test_pictures_->picture(i))), {}});
    }
    for (const double quality : qualities) {
      TrainingRecord::RatePoint sum{quality, 0, 0, 0};
      for (size_t i = 0; i < test_pictures_->size(); ++i) {
        const TrainingRecord::RatePoint point = measure(i, quality);
        sum.bits_per_pixel += point.bits_per_pixel;
        sum.ms_ssim += point.ms_ssim;
        sum.psnr_db += point.psnr_db;
      }
      const auto count = static_cast<double>(test_pictures_->size());
      points.push_back({quality, sum.bits_per_pixel / count, sum.ms_ssim / count, sum.psnr_db / count});
    }
    return points;
  }

  TrainingRecord::RatePoint measure(size_t picture, double quality) {
    const Tensor original = whole(test_pictures_->picture(picture));
    const Pass made =
        pass(original, torch::full({1, 1}, quality, original.options()), GraphModule::Mode::kEvaluate, true);
    const Tensor decoded = made.pictures.round().clamp(0, kWhite);
    const double error = ((decoded - original) / kWhite).square().mean().item<double>();
    const TrainingRecord::RatePoint point{
        quality, made.latents.bits.item<double>() / static_cast<double>(original.size(2) * original.size(3)),
        ms_ssim(decoded, original).item<double>(), -10 * std::log10(error)};
    if (picture < middles_.size()) middles_[picture].decoded.push_back({point, middle(decoded)});
    return point;
  }

  // Of a picture [1, 3, height, width], 0 to 255.
  static data::Picture middle(const Tensor& picture) {
    constexpr int64_t kSide = kDecodedSide;
    const Tensor pixels = picture[0]
                              .narrow(1, (picture.size(2) - kSide) / 2, kSide)
                              .narrow(2, (picture.size(3) - kSide) / 2, kSide)
                              .permute({1, 2, 0})
                              .to(torch::kUInt8)
                              .cpu()
                              .contiguous();
    const uint8_t* first = pixels.data_ptr<uint8_t>();
    return {.width = kDecodedSide, .height = kDecodedSide, .pixels = {first, first + pixels.numel()}};
  }

  // The prior is fitted to training pictures, at all qualities in turn.
  networks::ImageCodecTables tables() {
    torch::NoGradGuard no_grad;
    const int64_t channels = options_.network.latents;
    const int zero = (options_.centers - 1) / 2;
    image::PriorFitter fitter(static_cast<uint32_t>(channels), static_cast<uint32_t>(options_.centers),
                              static_cast<uint32_t>(zero));
    const size_t count = std::min(pictures_.size(), kPriorPictures);
    for (size_t i = 0; i < count; ++i) {
      const double quality = 1 + static_cast<int>(i) % options_.network.qualities;
      const Tensor original = whole(pictures_.picture(i * pictures_.size() / count));
      const Tensor indices =
          pass(original, torch::full({1, 1}, quality, original.options()), GraphModule::Mode::kEvaluate, true)
              .latents.indices.to(torch::kUInt8)
              .cpu()
              .contiguous();
      fitter.add(static_cast<uint32_t>(indices.size(2)), static_cast<uint32_t>(indices.size(3)),
                 {indices.data_ptr<uint8_t>(), static_cast<size_t>(indices.numel())});
      tell("fitting the prior", static_cast<double>(i + 1) / static_cast<double>(count));
    }
    const Tensor centers = quantizer_.centers().detach().cpu().contiguous();
    return {{centers.data_ptr<float>(), centers.data_ptr<float>() + centers.numel()},
            {channels, image::prior_rows(static_cast<uint32_t>(channels), static_cast<uint32_t>(options_.centers)),
             options_.centers - 1},
            fitter.finish(),
            zero};
  }

  // As much of a picture as the stride divides, as a batch.
  Tensor whole(const Tensor& picture) const {
    constexpr int64_t kStride = networks::kImageCodecStride;
    return picture.narrow(0, 0, picture.size(0) / kStride * kStride)
        .narrow(1, 0, picture.size(1) / kStride * kStride)
        .permute({2, 0, 1})
        .unsqueeze(0)
        .to(torch::kFloat32)
        .to(device_)
        .contiguous(torch::MemoryFormat::ChannelsLast);
  }

  std::vector<std::pair<std::string, Tensor>> state() {
    std::vector<std::pair<std::string, Tensor>> tensors;
    for (auto& [name, tensor] : encoder_.parameters()) tensors.emplace_back("encoder." + name, tensor);
    for (auto& [name, tensor] : decoder_.parameters()) tensors.emplace_back("decoder." + name, tensor);
    tensors.emplace_back("centers", quantizer_.centers());
    tensors.emplace_back("frequencies", quantizer_.frequencies());
    tensors.emplace_back("moments", quantizer_.moments());
    tensors.emplace_back("betas", rate_.state());
    return tensors;
  }

  RunKey key() const {
    RunKey key = run_key(options_);
    key.add("an epoch of", fmt::format("{} batches", epoch_steps_));
    return key;
  }

  // The first process's, in all of them.
  void share_first_values() {
    torch::NoGradGuard no_grad;
    std::vector<Tensor> tensors;
    for (auto& [name, tensor] : state()) tensors.push_back(tensor);
    communicator_.broadcast(tensors);
  }

  void save() {
    last_save_ = monotonic_seconds();
    if (loop_.checkpoint.empty() || communicator_.rank() != 0) return;
    Checkpoint checkpoint;
    for (const auto& [name, tensor] : state()) checkpoint.tensors[name] = tensor.detach();
    checkpoint.tensors["optimizer"] = optimizer_->state();
    checkpoint.tensors["progress"] = torch::tensor({static_cast<double>(step_), loss_sum_, seconds_}, torch::kFloat64);
    checkpoint.texts = key().to_texts();
    for (const TrainingRecord& record : records_) checkpoint.texts["records"] += to_json_line(record) + '\n';
    checkpoint.save(loop_.checkpoint);
  }

  void restore() {
    const std::string file = loop_.checkpoint.string();
    const Checkpoint checkpoint = Checkpoint::load(loop_.checkpoint, &communicator_);
    if (const std::string difference = key().difference(checkpoint.texts); !difference.empty()) {
      throw Error::make("{}: this checkpoint is of a run with {}; --resume needs the options that the run began with",
                        file, difference);
    }
    try {
      for (auto& [name, tensor] : state()) checkpoint.restore(name, tensor);
      optimizer_->set_state(checkpoint.tensors.at("optimizer"), device_);
      const auto numbers = checkpoint.tensor("progress", {3}, torch::kFloat64).accessor<double, 1>();
      step_ = static_cast<int64_t>(numbers[0]);
      loss_sum_ = numbers[1];
      seconds_ = numbers[2];
      if (const auto records = checkpoint.texts.find("records"); records != checkpoint.texts.end()) {
        std::istringstream lines(records->second);
        for (std::string line; std::getline(lines, line);) records_.push_back(training_record(line));
      }
    } catch (const std::exception&) {
      throw Error::make("{}: the checkpoint is damaged, or of another version of Quench", file);
    }
  }

  // All processes stop at the same step.
  void save_or_stop(const SignalCatcher& signals) {
    Tensor stop = torch::full({1}, signals.has_caught() ? 1.0f : 0.0f);
    communicator_.all_reduce_sum({stop});
    const bool asked = stop.item<float>() > 0;
    seconds_ = monotonic_seconds() - start_;
    if (asked || step_ == steps_ || monotonic_seconds() - last_save_ >= 60 * loop_.checkpoint_minutes) save();
    if (!asked) return;
    throw Error::make("stopped by a signal at step {} of {}{}", step_, steps_,
                      loop_.checkpoint.empty() ? "" : "; --resume goes on from " + loop_.checkpoint.string());
  }

  const CodecOptions options_;
  const LoopOptions& loop_;
  Communicator& communicator_;
  torch::Device device_;
  networks::ImageCodec networks_;
  GraphModule encoder_, decoder_;
  LatentQuantizer quantizer_;
  RateControl rate_;
  Pictures pictures_;
  std::optional<Pictures> test_pictures_;
  std::unique_ptr<Optimizer> optimizer_;
  int64_t epoch_steps_ = 0, steps_ = 0, step_ = 0;
  double loss_sum_ = 0;
  double seconds_ = 0;  // breaks left out
  double start_ = 0, last_save_ = 0;
  std::vector<TrainingRecord> records_;
  std::vector<DecodedMiddle> middles_;  // of the last measurement
};

}  // namespace

QualityRange default_betas(Distortion distortion) {
  return distortion == Distortion::kMsSsim ? QualityRange{1, 0.005} : QualityRange{1.5e-2, 1.5e-4};
}

CodecReport train_codec(const std::filesystem::path& prefix, const CodecOptions& options) {
  return run_torch([&] {
    const Process process(options.loop);
    CodecTrainer trainer(options, process);
    CodecReport report;
    report.parameters = trainer.parameters();
    const std::vector<TrainingRecord> records = trainer.run();
    if (!records.empty()) report.rates = records.back().rates;
    if (process.communicator().rank() != 0) return report;
    const networks::ImageCodec codec = trainer.shipped();
    const auto write = [&prefix](const char* name, const OnnxModel& model) {
      const std::filesystem::path path = prefix.string() + "." + name + ".onnx";
      save(path, model);
      return std::filesystem::file_size(path);
    };
    report.encoder_bytes = write("encoder", codec.encoder);
    report.decoder_bytes = write("decoder", codec.decoder);
    remove_checkpoint(options.loop.checkpoint);
    return report;
  });
}

}  // namespace quench::training
