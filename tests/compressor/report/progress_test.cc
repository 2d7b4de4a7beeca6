#include "compressor/report/progress.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace quench::report {
namespace {

// A progress with a clock that stands still until it is set.
class ProgressTest : public testing::Test {
 protected:
  std::string written_by(bool is_terminal, const std::function<void(Progress&)>& work) {
    std::FILE* file = std::tmpfile();
    {
      Progress progress(file, is_terminal, [this] { return now_; });
      work(progress);
    }
    std::string text(static_cast<size_t>(std::ftell(file)), '\0');
    std::rewind(file);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
    std::fclose(file);
    return text;
  }

  double now_ = 100;
};

TEST_F(ProgressTest, ABarOnATerminalWithTheTimeLeft) {
  const std::string text = written_by(true, [&](Progress& progress) {
    progress.update("quantizing", 0);
    now_ += 10;
    progress.update("quantizing", 0.25);
  });
  EXPECT_EQ(text,
            "\r\033[Kquantizing   [........................]   0 %  -:-- left"
            "\r\033[Kquantizing   [######..................]  25 %  0:30 left"
            "\r\033[K");
}

TEST_F(ProgressTest, FrequentCallsPrintRarely) {
  const std::string text = written_by(true, [&](Progress& progress) {
    for (int i = 0; i <= 1000; ++i) {
      progress.update("writing", i / 1000.0);
      now_ += 0.001;
    }
  });
  EXPECT_LE(std::count(text.begin(), text.end(), '\r'), 12);
}

TEST_F(ProgressTest, ALineEveryTenSecondsInALog) {
  const std::string text = written_by(false, [&](Progress& progress) {
    progress.update("calibrating", 0);
    now_ += 9;
    progress.update("calibrating", 0.5);
    now_ += 1;
    progress.update("calibrating", 0.5);
    now_ += 1;
    progress.update("calibrating", 0.75);
    progress.update("writing", 0);
    now_ += 10;
    progress.update("writing", 1);
  });
  EXPECT_EQ(text, "calibrating 50 %, 0:10 left\nwriting 100 %, 0:00 left\n");
}

TEST_F(ProgressTest, TheTimeLeftGoesOnAfterOtherOutput) {
  const std::string text = written_by(false, [&](Progress& progress) {
    progress.update("training", 0);
    now_ += 10;
    progress.update("training", 0.25);
    progress.finish();
    now_ += 10;
    progress.update("training", 0.5);
  });
  EXPECT_EQ(text, "training 25 %, 0:30 left\ntraining 50 %, 0:20 left\n");
}

TEST_F(ProgressTest, WhatWasDoneInAnEarlierRunTookNoTimeInThisOne) {
  const std::string text = written_by(false, [&](Progress& progress) {
    progress.update("training", 0.5);
    now_ += 10;
    progress.update("training", 0.75);
  });
  EXPECT_EQ(text, "training 75 %, 0:10 left\n");
}

TEST_F(ProgressTest, AStageThatBeginsAgainIsTimedAgain) {
  const std::string text = written_by(false, [&](Progress& progress) {
    progress.update("training", 0);
    now_ += 100;
    progress.update("training", 1);
    progress.update("training", 0);
    now_ += 10;
    progress.update("training", 0.5);
  });
  EXPECT_EQ(text, "training 100 %, 0:00 left\ntraining 50 %, 0:10 left\n");
}

TEST_F(ProgressTest, AShortRunLeavesNoTraceInALog) {
  EXPECT_EQ(written_by(false, [](Progress& progress) { progress.update("writing", 1); }), "");
}

TEST_F(ProgressTest, SharesOutsideOfTheRangeAreClamped) {
  const std::string text = written_by(true, [&](Progress& progress) {
    progress.update("x", -3);
    now_ += 1;
    progress.update("x", 7);
  });
  EXPECT_NE(text.find("[........................]   0 %"), std::string::npos);
  EXPECT_NE(text.find("[########################] 100 %"), std::string::npos);
}

TEST(HumanDuration, MinutesAndHours) {
  EXPECT_EQ(human_duration(6.6), "0:07");
  EXPECT_EQ(human_duration(59.6), "1:00");
  EXPECT_EQ(human_duration(750), "12:30");
  EXPECT_EQ(human_duration(3723), "1:02:03");
  EXPECT_EQ(human_duration(-1), "-:--");
  EXPECT_EQ(human_duration(1e12), "-:--");
}

}  // namespace
}  // namespace quench::report
