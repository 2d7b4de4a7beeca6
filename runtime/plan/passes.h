// The passes that make a plan, in the order in which they run; see plan.h.
#pragma once

#include "runtime/plan/plan.h"

namespace quench::rt {

// Drops steps whose outputs nobody reads, and unused values from steps' outputs.
Status remove_dead_steps(Plan& plan);

// Moves a residual Add and an activation into the epilogue of the step that makes their input, where its kernel takes
// them.
Status fuse_steps(Plan& plan);

// Gives every value a layout, inserts conversions, and turns steps that move no byte into aliases.
Status assign_layouts(Plan& plan);

// Calls prepare and pack, and lets go of constants that no step reads when it runs.
Status prepare_steps(Plan& plan);

// Decides what runs in place and where everything lies in the arena.
Status place_values(Plan& plan);

}  // namespace quench::rt
