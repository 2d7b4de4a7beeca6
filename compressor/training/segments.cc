#include "compressor/training/segments.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

namespace quench::training {
namespace {

using Slots = std::set<int>;

bool contains(const std::vector<int>& slots, int slot) {
  return std::find(slots.begin(), slots.end(), slot) != slots.end();
}

Slots without(Slots slots, int slot) {
  slots.erase(slot);
  return slots;
}

class Cutter {
 public:
  Cutter(const std::vector<SegmentNode>& nodes, const std::vector<int>& inputs, const std::vector<int>& outputs)
      : nodes_(nodes), alive_(nodes.size() + 1) {
    Slots alive(outputs.begin(), outputs.end());
    const Slots known = all_made(inputs);
    for (const int output : outputs) last_use_[output] = nodes.size();
    alive_.back() = alive;
    for (size_t i = nodes.size(); i-- > 0;) {
      for (const int output : nodes[i].outputs) alive.erase(output);
      for (const int input : nodes[i].inputs) {
        if (!known.contains(input)) continue;
        alive.insert(input);
        last_use_.emplace(input, i);
      }
      alive_[i] = alive;
    }
  }

  std::vector<Segment> cut() const {
    std::vector<Segment> segments;
    size_t done = 0;
    for (const std::vector<AdditiveStep>& row : rows()) {
      cut_plainly(done, row.front().first, segments);
      done = row.back().last;
      segments.push_back(segment(row.front().first, done));
      segments.back().steps = row;
    }
    cut_plainly(done, nodes_.size(), segments);
    return segments;
  }

 private:
  Slots all_made(const std::vector<int>& inputs) const {
    Slots made(inputs.begin(), inputs.end());
    for (const SegmentNode& node : nodes_) made.insert(node.outputs.begin(), node.outputs.end());
    made.erase(-1);
    return made;
  }

  // The shortest step that ends with the node `sum`; it has more nodes than that one.
  std::optional<AdditiveStep> step_to(size_t sum) const {
    const SegmentNode& node = nodes_[sum];
    if (node.has_shape_of_sum.size() != 2 || node.inputs[0] == node.inputs[1]) return std::nullopt;
    for (const size_t which : {0, 1}) {
      const int before = node.inputs[which], after = node.outputs[0];
      const auto last = last_use_.find(before);
      if (!node.has_shape_of_sum[which] || last == last_use_.end() || last->second != sum) continue;
      const Slots others = without(alive_[sum + 1], after);
      for (size_t first = sum; first-- > 0;) {
        if (contains(nodes_[first].inputs, before) || contains(nodes_[first].outputs, before)) break;
        if (without(alive_[first], before) != others) continue;
        return AdditiveStep{first, sum + 1, before, after, node.inputs[1 - which]};
      }
    }
    return std::nullopt;
  }

  std::vector<std::vector<AdditiveStep>> rows() const {
    std::vector<std::vector<AdditiveStep>> rows;
    size_t end = 0;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const std::optional<AdditiveStep> step = step_to(i);
      if (!step || step->first < end) continue;
      if (rows.empty() || step->first != end) rows.emplace_back();
      rows.back().push_back(*step);
      end = step->last;
    }
    std::erase_if(rows, [](const auto& row) { return row.size() < 2; });  // which saves nothing
    return rows;
  }

  void cut_plainly(size_t first, size_t last, std::vector<Segment>& segments) const {
    if (first == last) return;
    const double size = std::sqrt(static_cast<double>(nodes_.size()));
    const size_t count =
        std::max<size_t>(1, static_cast<size_t>(std::lround(static_cast<double>(last - first) / size)));
    size_t begin = first;
    for (size_t i = 1; i <= count; ++i) {
      const size_t wish = first + (last - first) * i / count;
      const size_t end = i == count ? last : quietest(wish, (last - first) / count / 2, begin + 1, last - 1);
      if (end <= begin) continue;
      segments.push_back(segment(begin, end));
      begin = end;
    }
  }

  // Where the fewest values are alive within `reach` of `wish`, the nearest such place.
  size_t quietest(size_t wish, size_t reach, size_t least, size_t most) const {
    size_t best = std::clamp(wish, least, std::max(least, most));
    for (size_t away = 0; away <= reach; ++away) {
      for (const size_t place : {wish + away, wish >= away ? wish - away : size_t{0}}) {
        if (place >= least && place <= most && alive_[place].size() < alive_[best].size()) best = place;
      }
    }
    return best;
  }

  Segment segment(size_t first, size_t last) const {
    Segment result{first, last, {}, {}, {}};
    for (size_t i = first; i < last; ++i) {
      for (const int input : nodes_[i].inputs) {
        if (alive_[first].contains(input) && !contains(result.reads, input)) result.reads.push_back(input);
      }
      for (const int output : nodes_[i].outputs) {
        if (alive_[last].contains(output)) result.makes.push_back(output);
      }
    }
    return result;
  }

  const std::vector<SegmentNode>& nodes_;
  std::vector<Slots> alive_;        // in front of each node, and behind the last
  std::map<int, size_t> last_use_;  // the number of nodes: it is an output
};

}  // namespace

std::vector<Segment> cut_into_segments(const std::vector<SegmentNode>& nodes, const std::vector<int>& inputs,
                                       const std::vector<int>& outputs) {
  return Cutter(nodes, inputs, outputs).cut();
}

}  // namespace quench::training
