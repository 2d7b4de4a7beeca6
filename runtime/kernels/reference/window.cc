#include "runtime/kernels/reference/window.h"

namespace quench::rt {

Status read_window(const InferContext& context, const Shape& input, const int64_t* kernel, Window* window) {
  QUENCH_RETURN_IF_ERROR(operators::read_window(context.attributes().view(), input.rank - 2, kernel, window));
  window->set_input(input.dims + 2, input.rank - 2);
  return Status();
}

Shape window_output_shape(const Window& window, int rank, int64_t batch, int64_t channels) {
  Shape shape;
  shape.rank = rank;
  shape[0] = batch;
  shape[1] = channels;
  for (int axis = 2; axis < rank; ++axis) shape[axis] = window.output[kSpatialAxes - rank + axis];
  return shape;
}

}  // namespace quench::rt
