// What a file says of its images: as text and back, presets, and what is no such text.
#include "compressor/data/preprocessing.h"

#include <gtest/gtest.h>

#include "compressor/data/image.h"
#include "formats/error.h"

namespace quench::data {
namespace {

TEST(Preprocessing, ComesBackFromItsText) {
  DatasetOptions options;
  EXPECT_EQ(to_text(options), "");
  options.scale = 1.0f / 255;
  options.mean = {0.1f, 1e-20f, 3};
  options.std = {0.7f};
  options.layout = Layout::kNhwc;
  options.bgr = true;
  const DatasetOptions again = preprocessing_from(to_text(options));
  EXPECT_EQ(again.scale, options.scale);
  EXPECT_EQ(again.mean, options.mean);
  EXPECT_EQ(again.std, options.std);
  EXPECT_EQ(again.layout, options.layout);
  EXPECT_TRUE(again.bgr);
  EXPECT_EQ(to_text(preprocessing_from("order=rgb layout=nchw")), "layout=nchw");
}

TEST(Preprocessing, TextThatMeansNothingIsRefused) {
  for (const char* text :
       {"mean", "mean=", "mean=1,,2", "mean=1,", "mean=nan", "mean=inf", "mean=1e999", "std=0", "std=-1", "scale=x",
        "layout=hwc", "order=brg", "size=3", "=1", "scale=1  order=bgr", "mean=1;std=1"}) {
    EXPECT_THROW(preprocessing_from(text), Error) << text;
  }
  std::string many = "mean=1";
  for (int i = 0; i < 10000; ++i) many += ",1";
  EXPECT_THROW(preprocessing_from(many), Error);
}

TEST(Preprocessing, PresetsAreWhatTheirModelsWereTrainedWith) {
  const auto converted = [](const char* name, std::vector<uint8_t> pixel) {
    DatasetOptions options = *preset(name);
    options.model_input = {1, 3, 1, 1};
    std::vector<float> values(3);
    ImageTarget(options, 1, 1).convert(Image{1, 1, std::move(pixel)}, values);
    return values;
  };
  const std::vector<float> imagenet = converted("imagenet", {255, 0, 51});
  EXPECT_NEAR(imagenet[0], (1 - 0.485) / 0.229, 1e-5);
  EXPECT_NEAR(imagenet[1], -0.456 / 0.224, 1e-5);
  EXPECT_NEAR(imagenet[2], (0.2 - 0.406) / 0.225, 1e-5);
  EXPECT_NEAR(converted("signed", {255, 0, 0})[0], 1, 1e-6);
  EXPECT_NEAR(converted("signed", {255, 0, 0})[1], -1, 1e-6);
  EXPECT_EQ(converted("bytes", {255, 7, 0}), (std::vector<float>{255, 7, 0}));
  const std::vector<float> caffe = converted("caffe", {255, 7, 0});
  EXPECT_NEAR(caffe[0], 0 - 103.939, 1e-4);  // blue first
  EXPECT_NEAR(caffe[1], 7 - 116.779, 1e-4);
  EXPECT_NEAR(caffe[2], 255 - 123.68, 1e-4);
  EXPECT_FALSE(preset("Imagenet"));
  for (const std::string& name : preset_names()) EXPECT_TRUE(preset(name)) << name;
}

}  // namespace
}  // namespace quench::data
