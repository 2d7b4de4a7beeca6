// For tests that take every coder of the table: ::testing::ValuesIn(every_coder()), coder_name.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/entropy/coder.h"

namespace quench::entropy::testing {

inline std::vector<Coder> every_coder() {
  std::vector<Coder> coders;
  for (const CoderRow& row : kCoders) coders.push_back(row.coder);
  return coders;
}

inline std::string coder_name(const ::testing::TestParamInfo<Coder>& tested) { return name_of(tested.param); }

}  // namespace quench::entropy::testing
