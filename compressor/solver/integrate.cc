#include "compressor/solver/integrate.h"

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "compressor/solver/tableau.h"
#include "formats/error.h"

namespace quench::solver {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kSafety = 0.9, kLeastFactor = 0.2, kMostFactor = 10;  // as in Hairer's codes and SciPy's

template <typename... Args>
NoSolution no_solution(fmt::format_string<Args...> format, Args&&... args) {
  return NoSolution(fmt::format(format, std::forward<Args>(args)...));
}

// body(), whose errors begin with the name.
template <typename Body>
auto named(const std::string& name, const Body& body) {
  const auto begin = name.empty() ? "" : name + ": ";
  try {
    return body();
  } catch (const NoSolution& error) {
    throw NoSolution(begin + error.what());
  } catch (const Error& error) {
    throw Error(begin + error.what());
  }
}

double root_mean_square(const Tensor& values) {
  return values.numel() == 0 ? 0 : std::sqrt(values.square().mean().item<double>());
}

struct Step {
  double t, h;
  Tensor u;  // at its beginning
};

// One way from time to time: steps, their control, and the counts.
class Integration {
 public:
  Integration(const Function& f, const Options& options)
      : f_(f), options_(options), tableau_(find_tableau(options.method)) {}

  // u(to) from u(from) = u.
  Tensor advance(double from, double to, Tensor u) {
    return options_.steps > 0 ? advance_evenly(from, to, std::move(u)) : advance_adaptively(from, to, std::move(u));
  }

  // One step whose first stage is computed, too.
  Tensor step_again(const Step& step) { return take(step.t, step.h, step.u, evaluate(step.t, step.u)).u; }

  void keep_steps() { keeps_steps_ = true; }
  const std::vector<Step>& steps() const { return steps_; }
  const Counts& counts() const { return counts_; }

 private:
  struct Taken {
    Tensor u, error;
    Tensor slope;  // f at the end, where the method has it
  };

  Tensor evaluate(double t, const Tensor& u) {
    ++counts_.evaluations;
    Tensor slope = f_(t, u);
    if (!slope.defined() || slope.sizes() != u.sizes()) {
      throw Error::make("the right-hand side at t = {:g} has the shape [{}], but u has [{}]: f(t, u) must have u's", t,
                        slope.defined() ? fmt::format("{}", fmt::join(slope.sizes(), ", ")) : "none",
                        fmt::join(u.sizes(), ", "));
    }
    if (slope.scalar_type() != u.scalar_type()) {
      throw Error::make("the right-hand side at t = {:g} is of the type {}, but u of {}: f(t, u) must have u's", t,
                        torch::toString(slope.scalar_type()), torch::toString(u.scalar_type()));
    }
    return slope;
  }

  Taken take(double t, double h, const Tensor& u, const Tensor& slope) {
    std::vector<Tensor> k = {slope};
    const auto combine = [&](Tensor sum, const std::vector<double>& weights) {
      for (size_t j = 0; j < weights.size(); ++j) {
        if (weights[j] != 0) sum = at::add(sum, k[j], h * weights[j]);
      }
      return sum;
    };
    Taken taken;
    for (size_t i = 1; i < tableau_.stages(); ++i) {
      Tensor at = combine(u, tableau_.a[i]);
      k.push_back(evaluate(t + tableau_.c[i] * h, at));
      if (tableau_.is_fsal()) taken.u = std::move(at);  // the last stage is at the step's end
    }
    if (tableau_.is_fsal()) {
      taken.slope = k.back();
    } else {
      taken.u = combine(u, tableau_.b);
    }
    if (options_.steps > 0) return taken;
    const torch::NoGradGuard no_grad;
    for (Tensor& each : k) each = each.detach();
    taken.error = combine(torch::zeros_like(u), tableau_.d);
    return taken;
  }

  void accept(double t, double h, const Tensor& u, Taken& taken) {
    ++counts_.accepted;
    if (keeps_steps_) steps_.push_back({t, h, u.detach()});
    slope_ = taken.slope;
  }

  Tensor advance_evenly(double from, double to, Tensor u) {
    const double h = (to - from) / options_.steps;
    for (int i = 0; i < options_.steps; ++i) {
      const double t = from + i * h;
      Taken taken = take(t, h, u, slope_.defined() ? slope_ : evaluate(t, u));
      accept(t, h, u, taken);
      u = taken.u;
    }
    if (!torch::isfinite(u.detach()).all().item<bool>()) {
      throw no_solution("u is not finite at t = {:g}: take more steps, or an adaptive solver", to);
    }
    return u;
  }

  Tensor advance_adaptively(double from, double to, Tensor u) {
    if (!slope_.defined()) slope_ = evaluate(from, u);
    if (step_size_ == 0) step_size_ = first_step(from, to, u, slope_);
    const double direction = to > from ? 1 : -1;
    double t = from;
    bool was_rejected = false;
    while ((to - t) * direction > 0) {
      const bool is_last = step_size_ >= std::abs(to - t);
      const double h = is_last ? to - t : direction * step_size_;
      check_step(t, h, to - from);
      Taken taken = take(t, h, u, slope_);
      const double error = error_of(taken, u);
      if (error <= 1) {
        const double most = was_rejected ? 1 : kMostFactor;
        const double next = std::abs(h) * std::min(most, factor_of(error));
        step_size_ = is_last ? std::max(step_size_, next) : next;  // one cut short says little
        accept(t, h, u, taken);
        u = taken.u;
        t = is_last ? to : t + h;
        if (!slope_.defined() && !is_last) slope_ = evaluate(t, u);
      } else {
        ++counts_.rejected;
        step_size_ = std::abs(h) * std::max(kLeastFactor, factor_of(error));
      }
      was_rejected = !(error <= 1);
      is_finite_ = std::isfinite(error);
    }
    return u;
  }

  // The root mean square of the error over what is allowed; not finite where u or f are not.
  double error_of(const Taken& taken, const Tensor& u) const {
    const torch::NoGradGuard no_grad;
    const Tensor size = torch::maximum(u.abs(), taken.u.abs());
    return root_mean_square(taken.error / (options_.atol + options_.rtol * size));
  }

  double factor_of(double error) const {
    if (error == 0) return kMostFactor;
    if (!std::isfinite(error)) return kLeastFactor;
    return kSafety * std::pow(error, -1.0 / (tableau_.error_order + 1));
  }

  void check_step(double t, double h, double interval) const {
    if (counts_.accepted + counts_.rejected >= options_.max_steps) {
      throw no_solution(
          "{} steps were not enough, and t is {:g}: take larger tolerances or another solver; the problem "
          "may be stiff",
          options_.max_steps, t);
    }
    const double least = 10 * std::numeric_limits<double>::epsilon() * std::max(std::abs(t), std::abs(interval));
    if (std::abs(h) >= least) return;
    if (!is_finite_) throw no_solution("u or f(t, u) is not finite behind t = {:g}: look at the right-hand side", t);
    throw no_solution(
        "the step underflows at t = {:g}: u may have no end there, or the tolerances are below what its "
        "type can hold; take larger ones",
        t);
  }

  // Hairer et al., p. 169.
  double first_step(double from, double to, const Tensor& u, const Tensor& slope) {
    const torch::NoGradGuard no_grad;
    const Tensor scale = options_.atol + options_.rtol * u.abs();
    const double size = root_mean_square(u / scale), speed = root_mean_square(slope / scale);
    if (!std::isfinite(speed) || !std::isfinite(root_mean_square(u))) {
      throw no_solution("u or f(t, u) is not finite at t = {:g}, where it begins: look at both", from);
    }
    const double interval = std::abs(to - from);
    const double guess =
        std::min(interval, size < 1e-5 || speed < 1e-5 || !std::isfinite(size) ? 1e-6 : 0.01 * size / speed);
    const double h = to > from ? guess : -guess;
    const Tensor change = evaluate(from + h, at::add(u, slope, h)) - slope;
    const double bend = root_mean_square(change / scale) / guess;
    const double fastest = std::max(speed, bend);
    double second =
        fastest <= 1e-15 ? std::max(1e-6, guess * 1e-3) : std::pow(0.01 / fastest, 1.0 / (tableau_.error_order + 1));
    if (!std::isfinite(bend)) second = guess;
    return std::min({100 * guess, second, interval});
  }

  const Function& f_;
  const Options& options_;
  const Tableau& tableau_;
  Counts counts_;
  bool keeps_steps_ = false;
  std::vector<Step> steps_;
  Tensor slope_;          // f where the last step ended; undefined: not known
  double step_size_ = 0;  // of the next step; 0: not chosen yet
  bool is_finite_ = true;
};

std::vector<Tensor> values_at(Integration& integration, const Tensor& u0, const std::vector<double>& times) {
  std::vector<Tensor> values = {u0};
  for (size_t i = 1; i < times.size(); ++i) {
    values.push_back(integration.advance(times[i - 1], times[i], values.back()));
  }
  return values;
}

// What a backward pass needs, and what a forward pass has counted.
struct Record {
  Function f;
  std::vector<double> times;
  Options options;
  std::vector<std::vector<Step>> steps;  // between two times
  std::vector<Tensor> values;            // at each time, detached
  Counts counts;
};

// The gradients of <output, gradient> by u and by the parameters; zeros where there is none.
variable_list pull_back(const Tensor& output, const Tensor& u, const std::vector<Tensor>& parameters,
                        const Tensor& gradient) {
  variable_list inputs = {u};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  variable_list result = output.requires_grad()
                             ? torch::autograd::grad({output}, inputs, {gradient}, false, false, true)
                             : variable_list(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!result[i].defined()) result[i] = torch::zeros_like(inputs[i]);
  }
  return result;
}

// Turns gradients of all values into those of u0 and the parameters, by `step_back` over each interval.
using Back = std::function<void(size_t interval, Tensor& adjoint, std::vector<Tensor>& sums)>;

variable_list walk_back(const Record& record, const variable_list& gradients, const Back& step_back) {
  Tensor adjoint = torch::zeros_like(record.values.front());
  std::vector<Tensor> sums;
  for (const Tensor& parameter : record.options.parameters) sums.push_back(torch::zeros_like(parameter));
  for (size_t i = record.times.size(); i-- > 0;) {
    if (gradients[i].defined()) adjoint = adjoint + gradients[i];
    if (i > 0) step_back(i, adjoint, sums);
  }
  variable_list result = {adjoint};
  result.insert(result.end(), sums.begin(), sums.end());
  return result;
}

void recompute_back(const Record& record, size_t interval, Tensor& adjoint, std::vector<Tensor>& sums) {
  const std::vector<Step>& steps = record.steps[interval - 1];
  Options fixed = record.options;
  fixed.steps = 1;  // no error estimates
  Integration integration(record.f, fixed);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const torch::AutoGradMode with_grad(true);
    const Tensor u = step->u.detach().requires_grad_(true);
    const Tensor end = integration.step_again({step->t, step->h, u});
    const variable_list pulled = pull_back(end, u, fixed.parameters, adjoint);
    adjoint = pulled[0];
    for (size_t p = 0; p < sums.size(); ++p) sums[p] += pulled[p + 1];
  }
}

// u, its adjoint a and the parameters' gradients as one vector: u' = f, a' = -a df/du, g' = -a df/dp.
class Augmented {
 public:
  Augmented(const Record& record, const Tensor& u, const Tensor& adjoint, const std::vector<Tensor>& sums)
      : record_(record), u_size_(u.numel()), u_sizes_(u.sizes().vec()) {
    std::vector<Tensor> parts = {u.reshape({-1}), adjoint.reshape({-1})};
    for (const Tensor& sum : sums) parts.push_back(sum.reshape({-1}).to(u.scalar_type()));
    state_ = torch::cat(parts);
  }

  void advance(double from, double to) {
    const torch::NoGradGuard no_grad;
    const Function f = [this](double t, const Tensor& state) { return slope(t, state); };
    Integration integration(f, record_.options);
    state_ = integration.advance(from, to, state_);
  }

  void read(Tensor& adjoint, std::vector<Tensor>& sums) const {
    adjoint = part(state_, 1);
    int64_t at = 2 * u_size_;
    for (Tensor& sum : sums) {
      sum = state_.narrow(0, at, sum.numel()).view_as(sum).to(sum.scalar_type());
      at += sum.numel();
    }
  }

 private:
  Tensor part(const Tensor& state, int64_t which) const {
    return state.narrow(0, which * u_size_, u_size_).view(u_sizes_);
  }

  Tensor slope(double t, const Tensor& state) const {
    const torch::AutoGradMode with_grad(true);
    const Tensor u = part(state, 0).detach().requires_grad_(true);
    const Tensor f = record_.f(t, u);
    std::vector<Tensor> parts = {f.detach().reshape({-1})};
    for (const Tensor& pulled : pull_back(f, u, record_.options.parameters, -part(state, 1))) {
      parts.push_back(pulled.reshape({-1}).to(state.scalar_type()));
    }
    return torch::cat(parts);
  }

  const Record& record_;
  int64_t u_size_;
  std::vector<int64_t> u_sizes_;
  Tensor state_;
};

void adjoint_back(const Record& record, size_t interval, Tensor& adjoint, std::vector<Tensor>& sums) {
  Augmented augmented(record, record.values[interval], adjoint, sums);
  augmented.advance(record.times[interval], record.times[interval - 1]);
  augmented.read(adjoint, sums);
}

struct SolveFunction : torch::autograd::Function<SolveFunction> {
  // `inputs`: u0 and the parameters.
  static variable_list forward(AutogradContext* context, at::TensorList inputs, const std::shared_ptr<Record>& record) {
    Integration integration(record->f, record->options);
    const bool recomputes = record->options.gradient == Gradient::kRecompute;
    if (recomputes) integration.keep_steps();
    variable_list values = {inputs[0].clone()};
    size_t kept = 0;
    for (size_t i = 1; i < record->times.size(); ++i) {
      values.push_back(integration.advance(record->times[i - 1], record->times[i], values.back()));
      record->steps.emplace_back(integration.steps().begin() + static_cast<std::ptrdiff_t>(kept),
                                 integration.steps().end());
      kept = integration.steps().size();
    }
    for (const Tensor& value : values) record->values.push_back(value.detach());
    record->counts = integration.counts();
    context->saved_data["record"] = torch::IValue::make_capsule(c10::make_intrusive<Holder>(record));
    return values;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto holder = c10::static_intrusive_pointer_cast<Holder>(context->saved_data["record"].toCapsule());
    const Record& record = *holder->record;
    const auto back = record.options.gradient == Gradient::kRecompute ? recompute_back : adjoint_back;
    const auto step_back = [&](size_t interval, Tensor& adjoint, std::vector<Tensor>& sums) {
      back(record, interval, adjoint, sums);
    };
    variable_list result = named(record.options.name, [&] { return walk_back(record, gradients, step_back); });
    result.emplace_back();  // of the record
    return result;
  }

  struct Holder : torch::CustomClassHolder {
    explicit Holder(std::shared_ptr<Record> of) : record(std::move(of)) {}
    std::shared_ptr<Record> record;
  };
};

void check_tolerance(const char* name, double value) {
  if (value >= 0 && std::isfinite(value)) return;
  throw Error::make("{} {:g} cannot be: give a number of at least 0", name, value);
}

void check(const Tensor& u0, const std::vector<double>& times, const Options& options) {
  const Tableau& tableau = find_tableau(options.method);
  if (!u0.defined() || (u0.scalar_type() != torch::kFloat && u0.scalar_type() != torch::kDouble)) {
    throw Error("u0 must be a tensor of floats or doubles");
  }
  if (times.empty()) throw Error("there are no times to solve for: give one or more");
  for (size_t i = 0; i < times.size(); ++i) {
    const bool is_ordered = i < 2 ? i == 0 || times[i] != times[i - 1]
                                  : times[i] != times[i - 1] && (times[i] > times[i - 1]) == (times[1] > times[0]);
    if (!std::isfinite(times[i]) || !is_ordered) {
      throw Error::make("time {} is {:g}: times must be finite and rise or fall from each to the next", i, times[i]);
    }
  }
  if (options.steps < 0)
    throw Error::make("{} steps cannot be taken: give at least 1, or 0 for adaptive ones", options.steps);
  if (options.steps > 0) return;
  if (!tableau.has_error()) {
    throw Error::make("solver '{}' has no estimate of its error: give a number of steps, or choose one of {}",
                      tableau.name, fmt::join(adaptive_names(), ", "));
  }
  check_tolerance("rtol", options.rtol);
  check_tolerance("atol", options.atol);
  if (options.rtol >= 1) throw Error::make("rtol {:g} asks for nothing: give a number below 1", options.rtol);
  if (options.rtol == 0 && options.atol == 0) throw Error("a tolerance of 0 cannot be met: give rtol or atol above 0");
  if (options.max_steps < 1)
    throw Error::make("{} steps cannot be enough: give max_steps of at least 1", options.max_steps);
}

Solution solve(const Function& f, const Tensor& u0, const std::vector<double>& times, const Options& options) {
  check(u0, times, options);
  if (options.gradient == Gradient::kStored || !torch::GradMode::is_enabled()) {
    Integration integration(f, options);
    std::vector<Tensor> values = values_at(integration, u0, times);
    return {std::move(values), integration.counts()};
  }
  const auto record = std::make_shared<Record>(Record{f, times, options, {}, {}, {}});
  std::vector<Tensor> inputs = {u0};
  inputs.insert(inputs.end(), options.parameters.begin(), options.parameters.end());
  std::vector<Tensor> values = SolveFunction::apply(at::TensorList(inputs), record);
  return {std::move(values), record->counts};
}

}  // namespace

Solution integrate(const Function& f, const Tensor& u0, const std::vector<double>& times, const Options& options) {
  return named(options.name, [&] { return solve(f, u0, times, options); });
}

}  // namespace quench::solver
