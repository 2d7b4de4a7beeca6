// How a graph is cut where its backward pass computes values again in place of keeping them. Nothing of torch here:
// nodes are in order, values are numbers ("slots").
#pragma once

#include <cstddef>
#include <vector>

namespace quench::training {

struct SegmentNode {
  std::vector<int> inputs, outputs;  // slots of values that nodes make or that are inputs of the graph; -1: others
  // Of a sum of two values: for each, whether it has the result's shape. Empty: it is no such sum.
  std::vector<bool> has_shape_of_sum;
};

// Nodes [first, last), whose last one adds what the others make, the residual, to `before`. They read only values that
// are there afterwards, too, so that `before` follows from `after`: it is after - residual.
struct AdditiveStep {
  size_t first = 0, last = 0;
  int before = 0, after = 0, residual = 0;
};

struct Segment {
  size_t first = 0, last = 0;     // nodes [first, last)
  std::vector<int> reads, makes;  // values from before it that it reads, and those it makes that are read after it
  std::vector<AdditiveStep>
      steps;  // two or more, one right behind the other, that make it up; empty: it is not made so
};

// All nodes, in order. Longest rows of additive steps are segments of their own; what is left comes in segments of
// about the square root of the number of nodes, cut near to where few values are alive: values inside one segment and
// the inputs of all others are then in memory at once, a multiple of that root (Chen, Xu, Zhang and Guestrin, "Training
// Deep Nets with Sublinear Memory Cost", 2016, arXiv:1604.06174). `inputs` and `outputs`: slots of the graph's.
std::vector<Segment> cut_into_segments(const std::vector<SegmentNode>& nodes, const std::vector<int>& inputs,
                                       const std::vector<int>& outputs);

}  // namespace quench::training
