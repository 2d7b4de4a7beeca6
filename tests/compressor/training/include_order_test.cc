// A torch wheel brings headers of a protobuf and an fmt of its own: quench_include_last keeps them behind the system's.
// stand_in/ is such a wheel, whose own ones do not compile.
#include <fmt/format.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>
#include <stand_in_torch.h>

namespace {

TEST(IncludeOrder, SystemsHeadersComeBeforeTorchs) {
  EXPECT_EQ(fmt::format("{}", kStandIn), "7") << "what only torch has is found";
  EXPECT_GE(GOOGLE_PROTOBUF_VERSION, 3012000);
}

}  // namespace
