// Every option of a training, one by one.
//
//     visit_options(options, visitor);
//     visitor.must_match("--mean", options.preprocessing.mean);   // a run that goes on needs the same
//     visitor.may_change("--threads");                            // it may have another one
//
// A member that is added to one of the structs does not compile here before it is named, and a test counts the visits.
#pragma once

#include <string>

#include "compressor/training/tune_options.h"

namespace quench::training {

template <typename Visitor>
void visit_options(const data::DatasetOptions& options, Visitor& visitor) {
  const auto& [mean, deviation, scale, layout, bgr, images_only, model_input] = options;
  visitor.must_match("--mean", mean);
  visitor.must_match("--std", deviation);
  visitor.must_match("--scale", scale);
  visitor.must_match("--layout", layout);
  visitor.must_match("--order", std::string(bgr ? "bgr" : "rgb"));
  visitor.must_match("whether the preprocessing is the file's own", images_only);
  visitor.may_change("the model's input");  // no option: it comes from the model, which is compared as a whole
}

template <typename Visitor>
void visit_options(const LoopOptions& options, Visitor& visitor) {
  const auto& [data, test_data, preprocessing, samples, validation, epochs, batch, optimizer, schedule, learning_rate,
               momentum, weight_decay, augment, likelihood, drop_path, teacher, temperature, label_share, device,
               bfloat16, recompute, ode, threads, seed, checkpoint, checkpoint_minutes, resume, progress, on_epoch] =
      options;
  visitor.must_match("--data", data);
  visitor.must_match("--test-data", test_data);
  visit_options(preprocessing, visitor);
  visitor.must_match("--samples", samples);
  visitor.must_match("--validation", validation);
  visitor.must_match("--epochs", epochs);
  visitor.must_match("--batch", batch);
  visitor.must_match("--optimizer", optimizer);
  visitor.must_match("--schedule", schedule);
  visitor.must_match("--learning-rate", learning_rate);
  visitor.must_match("--momentum", momentum);
  visitor.must_match("--weight-decay", weight_decay);
  visitor.must_match("--no-augment", !augment);
  visitor.must_match("whether it is a density that is learned", likelihood);
  visitor.must_match("--drop-path", drop_path);
  visitor.must_match("--teacher", teacher);
  visitor.must_match("--temperature", temperature);
  visitor.must_match("--label-share", label_share);
  // A run may go on on another machine, with what processors and GPUs there are; only the kind of arithmetic must be
  // the same, which has more effect on the weights than the order of sums.
  visitor.may_change("--device");
  visitor.may_change("--threads");
  visitor.must_match("--float32 (or a --device for which that is faster)", !bfloat16);
  visitor.must_match("--recompute", recompute);
  visitor.may_change("the ODE blocks");  // no options of the loop: what the network was made by has them
  visitor.must_match("--seed", seed);
  // Where and when to save changes nothing that is saved.
  visitor.may_change("--checkpoint");
  visitor.may_change("--checkpoint-minutes");
  visitor.may_change("--resume");
  // No options: what the caller is told, metrics and page with it.
  visitor.may_change("progress");
  visitor.may_change("on_epoch");
}

template <typename Visitor>
void visit_options(const TuneOptions& options, Visitor& visitor) {
  const auto& [loop, ratio, bits, max_drop, on_round, annealing, dimension, centers, codebook, channel_scales,
               learn_scales, equal_steps, step, sigma, sigma_growth, soft_share, beta, price, coder, exclude, notes] =
      options;
  visit_options(loop, visitor);
  visitor.must_match("--ratio", ratio);
  visitor.must_match("--bits", bits);
  visitor.must_match("--max-drop", max_drop);
  visitor.may_change("on_round");  // no option: what the caller is told
  visitor.must_match("--annealing", annealing);
  visitor.must_match("--dimension", dimension);
  visitor.must_match("--centers", centers);
  visitor.must_match("--codebook", codebook);
  visitor.must_match("--channel-scales", channel_scales);
  visitor.must_match("--learn-scales", learn_scales);
  visitor.must_match("--equal-steps", equal_steps);
  visitor.must_match("--step", step);
  visitor.must_match("--sigma", sigma);
  visitor.must_match("--sigma-growth", sigma_growth);
  visitor.must_match("--soft-share", soft_share);
  visitor.must_match("--beta", beta);
  visitor.must_match("--price", price);
  visitor.must_match("--coder", coder);  // the file's size steers the price
  visitor.must_match("--exclude", exclude);
  visitor.may_change("notes");  // what the file says besides the model
}

}  // namespace quench::training
