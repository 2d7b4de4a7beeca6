#include "compressor/report/training_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "compressor/report/page.h"
#include "compressor/report/progress.h"

namespace quench::report {
namespace {

using training::TrainingRecord;

using Records = std::span<const TrainingRecord>;
using Quantization = TrainingRecord::Quantization;

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kPanels = 4;
constexpr double kCurvesWidth = 720;  // pixels

Series series(std::string name, Records records, const std::function<double(const TrainingRecord&)>& value) {
  Series result{std::move(name), {}, {}};
  for (size_t i = 0; i < records.size(); ++i) {
    result.x.push_back(static_cast<double>(i + 1));
    result.y.push_back(value(records[i]));
  }
  return result;
}

Series quantization_series(std::string name, Records records, const std::function<double(const Quantization&)>& value) {
  return series(std::move(name), records,
                [&](const TrainingRecord& r) { return r.quantization ? value(*r.quantization) : kNothing; });
}

double percent(const std::optional<double>& share) { return share ? 100 * *share : kNothing; }

// What is plotted by epoch.
struct Course {
  std::string title, label;
  std::function<double(const TrainingRecord&)> value;
};

Course course_of(Quantity quantity) {
  const auto of_quantization = [](double Quantization::*member) {
    return [member](const TrainingRecord& r) {
      return r.quantization && (*r.quantization).*member > 0 ? (*r.quantization).*member : kNothing;
    };
  };
  switch (quantity) {
    case Quantity::kAccuracy:
      return {"Test accuracy", "top-1, %", [](const TrainingRecord& r) { return percent(r.accuracy); }};
    case Quantity::kSnr:
      return {"Outputs against the teacher's", "SNR, dB",
              [](const TrainingRecord& r) { return r.snr_db.value_or(kNothing); }};
    case Quantity::kLikelihood:
      return {"Held-out log likelihood", "nats per sample",
              [](const TrainingRecord& r) { return r.log_likelihood.value_or(kNothing); }};
    case Quantity::kEntropy:
      return {"Entropy of the indices", "bits per weight, order 0", of_quantization(&Quantization::entropy)};
    case Quantity::kFlips:
      return {"Weights that go to another center", "% in a step",
              [](const TrainingRecord& r) { return r.quantization ? percent(r.quantization->flips) : kNothing; }};
    case Quantity::kRatio:
      return {"Size", "bytes of the model over bytes of the file", of_quantization(&Quantization::ratio)};
    case Quantity::kLoss:
      break;
  }
  return {"Training loss", "loss", [](const TrainingRecord& r) { return r.loss; }};
}

LinePlot plot_of(Quantity quantity, const std::string& name, Records records) {
  const Course course = course_of(quantity);
  return {course.title, "epoch", course.label, {series(name, records, course.value)}, {}, {}};
}

bool was_soft(Records records) {
  return std::any_of(records.begin(), records.end(), [](const auto& r) {
    return r.soft_accuracy.has_value() || (r.quantization && r.quantization->beta > 0);
  });
}

// Of an image codec: its pictures by their bits, and both in the course of the training.
void add_rates(Page& page, Records records) {
  using RatePoint = TrainingRecord::RatePoint;
  LinePlot curve{"Rate and distortion", "bits per pixel", "MS-SSIM", {}, {}, {}};
  for (const size_t at : {size_t{0}, (records.size() - 1) / 2, records.size() - 1}) {
    Series series{fmt::format("epoch {}", records[at].epoch), {}, {}};
    for (const RatePoint& point : records[at].rates) {
      series.x.push_back(point.bits_per_pixel);
      series.y.push_back(point.ms_ssim);
    }
    if (curve.series.empty() || curve.series.back().name != series.name) curve.series.push_back(std::move(series));
  }
  const auto course = [&](const char* title, const char* label, double RatePoint::*member) {
    LinePlot plot{title, "epoch", label, {}, {}, {}};
    for (size_t i = 0; i < records.back().rates.size(); ++i) {
      plot.series.push_back(
          series(fmt::format("quality {:g}", records.back().rates[i].quality), records,
                 [&](const TrainingRecord& r) { return i < r.rates.size() ? r.rates[i].*member : kNothing; }));
    }
    return plot;
  };
  page.side_by_side({plot_of(Quantity::kLoss, "loss", records), curve});
  page.side_by_side({course("Rate", "bits per pixel", &RatePoint::bits_per_pixel),
                     course("Quality", "MS-SSIM", &RatePoint::ms_ssim)});
  page.side_by_side({course("Error", "PSNR, dB", &RatePoint::psnr_db)});
}

void add_course(Page& page, Records records) {
  if (!records.back().rates.empty()) return add_rates(page, records);
  const LinePlot loss = plot_of(Quantity::kLoss, "loss", records);
  if (records.back().snr_db) return page.side_by_side({loss, plot_of(Quantity::kSnr, "SNR", records)});
  if (records.back().log_likelihood) {
    return page.side_by_side({loss, plot_of(Quantity::kLikelihood, "log likelihood", records)});
  }
  LinePlot accuracy = plot_of(Quantity::kAccuracy, "hard weights", records);
  if (was_soft(records)) {
    accuracy.series.push_back(series("soft weights", records, [](const auto& r) { return percent(r.soft_accuracy); }));
  }
  page.side_by_side({loss, accuracy});
  if (!records.back().evaluations) return;
  page.side_by_side(
      {{"Work of the ODE blocks",
        "epoch",
        "evaluations of f a pass",
        {series("forward", records, [](const auto& r) { return r.evaluations ? r.evaluations->forward : kNothing; }),
         series("back", records, [](const auto& r) { return r.evaluations ? r.evaluations->backward : kNothing; })},
        false,
        {}}});
}

BarPanels::Panel histogram_panel(const TrainingRecord& record) {
  BarPanels::Panel panel{fmt::format("epoch {}", record.epoch), {}, {}};
  const Quantization& q = *record.quantization;
  double all = 0;
  for (const int64_t count : q.histogram) all += static_cast<double>(count);
  const bool scalar = q.centers.size() == q.histogram.size();
  for (size_t j = 0; j < q.histogram.size(); ++j) {
    if (scalar && q.histogram[j] == 0) continue;  // far-off centers that nobody uses
    panel.values.push_back(all > 0 ? 100 * static_cast<double>(q.histogram[j]) / all : 0);
    panel.positions.push_back(scalar ? q.centers[j] : static_cast<double>(j));
  }
  return panel;
}

void add_quantization(Page& page, Records records) {
  page.heading("Rate");
  page.side_by_side({plot_of(Quantity::kEntropy, "entropy", records), plot_of(Quantity::kRatio, "ratio", records)});
  page.side_by_side({plot_of(Quantity::kFlips, "weights", records),
                     {"Price of a bit",
                      "epoch",
                      "price or beta",
                      {quantization_series("price (squared distance per bit)", records,
                                           [](const Quantization& q) { return q.price > 0 ? q.price : kNothing; }),
                       quantization_series("beta (loss per bit per weight)", records,
                                           [](const Quantization& q) { return q.beta > 0 ? q.beta : kNothing; })},
                      true,
                      {}}});
  if (was_soft(records)) {
    page.side_by_side({{"Hardness",
                        "epoch",
                        "sigma",
                        {quantization_series("sigma", records, [](const Quantization& q) { return q.sigma; })},
                        true,
                        {}}});
  }
  BarPanels panels{"Use of the centers", "center", "% of the vectors", {}};
  for (size_t i = 0; i < kPanels; ++i) {
    const size_t at = i * (records.size() - 1) / (kPanels - 1);
    const bool again = i > 0 && at == (i - 1) * (records.size() - 1) / (kPanels - 1);
    if (!again && records[at].quantization) panels.panels.push_back(histogram_panel(records[at]));
  }
  page.bars(panels);
  BarTable tensors{"Rate of each tensor at the end, bits per weight", "tensor", {"bits"}, {}, 2};
  for (const auto& [name, bits] : records.back().quantization->tensor_bits) tensors.rows.push_back({name, {bits}});
  page.bars(tensors);
}

}  // namespace

std::string training_page(std::string_view model, Records records, std::string_view figure) {
  Page page(fmt::format("Training of {}", model));
  if (records.empty()) return page.html();
  const TrainingRecord& last = records.back();
  std::vector<std::vector<std::string>> rows = {{"epochs", fmt::format("{} of {}", last.epoch, last.epochs)},
                                                {"time", human_duration(last.seconds)},
                                                {"training loss", fmt::format("{:.4f}", last.loss)}};
  if (last.accuracy) rows.push_back({"test accuracy", fmt::format("{:.2f} %", 100 * *last.accuracy)});
  if (last.log_likelihood)
    rows.push_back({"held-out log likelihood", fmt::format("{:.4f} nats", *last.log_likelihood)});
  if (last.snr_db) rows.push_back({"output SNR", fmt::format("{:.1f} dB", *last.snr_db)});
  for (const TrainingRecord::RatePoint& point : last.rates) {
    rows.push_back({fmt::format("quality {:g}", point.quality),
                    fmt::format("{:.3f} bits per pixel, MS-SSIM {:.4f}, PSNR {:.2f} dB", point.bits_per_pixel,
                                point.ms_ssim, point.psnr_db)});
  }
  if (last.quantization) {
    rows.push_back({"entropy", fmt::format("{:.3f} bits per weight", last.quantization->entropy)});
    if (last.quantization->ratio > 0) rows.push_back({"ratio", fmt::format("{:.2f}", last.quantization->ratio)});
  }
  page.table({"", "at the end"}, rows);
  add_course(page, records);
  page.figure(figure);
  if (last.quantization) add_quantization(page, records);
  return page.html();
}

std::string training_curves(const std::vector<TrainingRun>& runs, Quantity quantity) {
  const Course course = course_of(quantity);
  LinePlot plot{course.title, "epoch", course.label, {}, {}, {}};
  for (const TrainingRun& run : runs) plot.series.push_back(series(run.name, run.records, course.value));
  return to_svg_file(plot, kCurvesWidth);
}

std::string to_line(const TrainingRecord& record) {
  std::string line = fmt::format("epoch {}/{}  {}  loss {:.4f}", record.epoch, record.epochs,
                                 human_duration(record.seconds), record.loss);
  if (record.soft_accuracy) line += fmt::format("  soft {:.2f} %", 100 * *record.soft_accuracy);
  if (record.accuracy) line += fmt::format("  accuracy {:.2f} %", 100 * *record.accuracy);
  if (record.log_likelihood) line += fmt::format("  log likelihood {:.4f} nats", *record.log_likelihood);
  if (record.snr_db) line += fmt::format("  SNR {:.1f} dB", *record.snr_db);
  if (record.evaluations) {
    line += fmt::format("  {:.1f} evaluations a pass", record.evaluations->forward);
    if (record.evaluations->backward > 0) line += fmt::format(", {:.1f} back", record.evaluations->backward);
  }
  for (const TrainingRecord::RatePoint& point : record.rates) {
    line += fmt::format("  {:.3f} bpp {:.4f}/{:.2f} dB", point.bits_per_pixel, point.ms_ssim, point.psnr_db);
  }
  if (record.quantization) {
    const TrainingRecord::Quantization& q = *record.quantization;
    line += fmt::format("  entropy {:.3f} bits  sigma {:.3g}", q.entropy, q.sigma);
    if (q.price > 0) line += fmt::format("  price {:.3g}", q.price);
    if (q.beta > 0) line += fmt::format("  beta {:.3g}", q.beta);
    if (q.ratio > 0) line += fmt::format("  ratio {:.2f}", q.ratio);
  }
  return line;
}

}  // namespace quench::report
