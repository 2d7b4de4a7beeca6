// The passes that make a plan, in the order in which they run (Draft::build).
#pragma once

#include "runtime/plan/draft.h"

namespace quench::rt {

// Makes values and steps of the graph's live nodes; what is known is computed and becomes a constant.
Status walk_graph(Draft& draft);

// Drops steps whose outputs nobody reads, and unused values from steps' outputs.
Status remove_dead_steps(Draft& draft);

// Moves a residual Add and an activation into the epilogue of the step that makes their input, where its kernel takes
// them.
Status fuse_steps(Draft& draft);

// Gives every value a layout, inserts conversions, and turns steps that move no byte into aliases.
Status assign_layouts(Draft& draft);

// Calls prepare and pack, and lets go of constants that no step reads when it runs.
Status prepare_steps(Draft& draft);

// Decides what runs in place and where everything lies in the arena.
Status place_values(Draft& draft);

}  // namespace quench::rt
