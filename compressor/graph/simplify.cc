#include "compressor/graph/simplify.h"

namespace quench::graph {

// Far more than any exporter's graph asks for; a chain of Ifs, each of which decides the next, may ask for one pass each.
constexpr int kMostPasses = 100;

Report simplify(OnnxModel& model, const Options& options) {
  Report report;
  // Its bindings name values of the graph, and what looks unused may be trained.
  if (model.proto.training_info_size() != 0) return report;
  fix_inputs(model, report);
  bool is_changed = true;
  for (int pass = 0; is_changed && pass < kMostPasses; ++pass) {
    is_changed = move_constants(model, report);
    is_changed |= inline_branches(model, report);
    is_changed |= bypass_nodes(model, report);
    is_changed |= remove_unused(model, report);
    is_changed |= fold_constants(model, report, options);
    is_changed |= fold_batch_normalization(model, report, options);
    is_changed |= share_initializers(model, report);
    if (!is_changed) is_changed = reduce_batch_normalization(model, report, options);
  }
  return report;
}

}  // namespace quench::graph
