// What a run was asked for, option by option. A checkpoint keeps it, and a run goes on from a checkpoint only if it is
// asked for the same; the option that is not is named.
//
//     RunKey key = run_key(options);
//     key.add("an epoch of", "391 batches");                        // what else must be the same
//     checkpoint.texts.merge(key.to_texts());
//     std::string difference = key.difference(checkpoint.texts);    // "--mean 0.5, not 0.4"; empty: none
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compressor/training/tune_options.h"

namespace quench::training {

class RunKey {
 public:
  // In the order in which differences are looked for.
  void add(std::string name, std::string value) { options_.emplace_back(std::move(name), std::move(value)); }

  void add(const RunKey& more) { options_.insert(options_.end(), more.options_.begin(), more.options_.end()); }

  std::map<std::string, std::string> to_texts() const;
  // From the run that left `texts` to this one. Texts of other names do not matter.
  std::string difference(const std::map<std::string, std::string>& texts) const;

 private:
  std::vector<std::pair<std::string, std::string>> options_;
};

// `network`: what else makes the network that is trained. It comes before the options, some of which follow from it.
RunKey run_key(const LoopOptions& options, const RunKey& network = {});
RunKey run_key(const TuneOptions& options);

}  // namespace quench::training
