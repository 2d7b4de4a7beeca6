// What the program may not overwrite, what it leaves behind, and the names that a model gives to files.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "compressor/data/npy.h"
#include "tests/compressor/cli/kill_sweep.h"
#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using quantizer::read_bytes;
using Arguments = std::vector<std::string>;

// A folder with a file of every kind that a command reads.
class Files : public testing::Test {
 protected:
  void SetUp() override {
    quantizer::write_model(folder_ / "model.onnx", quantizer::make_small_model({.channels = 8}));
    SaveOptions external;
    external.external_data = SaveOptions::ExternalData::kAlways;
    save(folder_ / "external.onnx", load(folder_ / "model.onnx"), external);
    run({"compress", at("model.onnx"), "-o", at("model.quench")});
    run({"data", "synthetic:shapes,count=8", "-o", at("data.npz")});
    const std::vector<float> images(8 * 3 * 16 * 16);
    data::write_npz(folder_ / "data.npz", {{"x", data::Array::float32({8, 3, 16, 16}, images)}});
    data::write_npy(folder_ / "image.npy", data::Array::float32({8, 3, 16, 16}, images));
    fs::create_directories(folder_ / "images");
    fs::create_directories(folder_ / "samples");
    fs::copy_file(at("data.npz"), at("samples/a.npz"));
    fs::copy_file(at("data.npz"), at("samples/b.npz"));
    fs::create_directories(folder_ / "cifar");
    write("images/a.png", "not read so far");
    write("cifar/test_batch.bin", std::string(3073, '\0'));
    write("metrics.jsonl", "{}\n");
  }

  static Outcome run(const Arguments& arguments) { return run_program(arguments); }
  std::string at(const std::string& name) const { return (folder_ / name.c_str()).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(at(name), std::ios::binary) << text;
  }
  std::map<std::string, std::string> all_files() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / ""))
      if (entry.is_regular_file()) files[entry.path().string()] = read_bytes(entry.path());
    return files;
  }

  // Other names of a file: as it is, by "..", by a link, by a hard link.
  std::vector<std::string> names_of(const std::string& file) const {
    const std::string suffix = fs::path(file).extension().string();
    fs::remove(folder_ / "link");
    const std::string soft = at("soft" + suffix), hard = at("hard" + suffix);
    fs::remove(soft);
    fs::remove(hard);
    fs::create_symlink(file, soft);
    fs::create_hard_link(file, hard);
    return {file, at("images/../" + fs::relative(file, folder_ / "").string()), soft, hard};
  }

  quantizer::TemporaryFolder folder_;
};

// A command with OUT where an output goes, and the files that it reads.
struct Row {
  Arguments command;
  std::vector<std::string> reads;
};

TEST_F(Files, NoCommandOverwritesWhatItReads) {
  const std::string onnx = at("model.onnx"), quench = at("model.quench"), external = at("external.onnx");
  const std::string npz = at("data.npz"), image = at("image.npy"), other = at("other.quench");
  const std::string folder = at("images"), cifar = "cifar10:" + at("cifar"), metrics = at("metrics.jsonl");
  const std::string samples = at("samples"), sample = at("samples/a.npz"), last = at("samples/b.npz");
  const std::string png = at("images/a.png"), batch = at("cifar/test_batch.bin"), weights = external + ".data";
  const std::vector<Row> table = {
      {{"check", external, "--json", "OUT"}, {external, weights}},
      {{"check", quench, "--json", "OUT"}, {quench}},
      {{"compress", onnx, "-o", "OUT"}, {onnx}},
      {{"compress", external, "-o", "OUT"}, {external, weights}},
      {{"compress", external, "-o", "OUT", "--data", npz}, {external, weights, npz}},
      {{"compress", onnx, "-o", "OUT", "--data", folder}, {onnx, png}},
      {{"compress", onnx, "-o", "OUT", "--data", cifar}, {onnx, batch}},
      {{"compress", onnx, "-o", "OUT", "--labels", metrics}, {onnx, metrics}},
      {{"compress", onnx, "-o", other, "--data", npz, "--json", "OUT"}, {onnx, npz, other}},
      {{"compress", external, "-o", other, "--json", "OUT"}, {external, weights, other}},
      {{"compress", onnx, "-o", "OUT", "--data", samples}, {onnx, sample, last}},
      {{"compress", onnx, "-o", "OUT", "--data", sample, "--data", npz}, {onnx, sample, npz}},
      {{"compress", onnx, "-o", "OUT", "--data", "image=" + npz + ":x"}, {onnx, npz}},
      {{"unpack", quench, "-o", "OUT"}, {quench}},
      {{"inspect", quench, "--json", "OUT"}, {quench}},
      {{"bench", quench, "--json", "OUT"}, {quench}},
      {{"run", quench, "--input", image, "--output", "OUT"}, {quench, image}},
      {{"run", external, "--input", image, "--output", "OUT"}, {external, weights, image}},
      {{"eval", quench, "--against", external, "--data", npz, "--json", "OUT"}, {quench, external, weights, npz}},
      {{"eval", quench, "--against", onnx, "--data", image, "--json", "OUT"}, {quench, onnx, image}},
      {{"eval", quench, "--against", onnx, "--data", folder, "--json", "OUT"}, {quench, onnx, png}},
      {{"eval", quench, "--against", onnx, "--data", samples, "--json", "OUT"}, {quench, onnx, sample, last}},
      {{"eval", quench, "--against", onnx, "--data", "image=" + folder, "--json", "OUT"}, {quench, onnx, png}},
      {{"eval", quench, "--against", onnx, "--data", "image=" + image, "--json", "OUT"}, {quench, onnx, image}},
      {{"eval", quench, "--data", cifar, "--json", "OUT"}, {quench, batch}},
      {{"eval", quench, "--reference", samples, "--data", npz, "--json", "OUT"}, {quench, sample, last, npz}},
      {{"data", npz, "-o", "OUT"}, {npz}},
      {{"data", image, "-o", "OUT"}, {image}},
      {{"plot", metrics, metrics, "-o", "OUT"}, {metrics}},
  };
  write("other.quench", "an output of the same command");
  for (const Row& row : table) {
    for (const std::string& file : row.reads) {
      for (const std::string& name : names_of(file)) {
        Arguments command = row.command;
        std::replace(command.begin(), command.end(), std::string("OUT"), name);
        const auto before = all_files();
        const Outcome outcome = run(command);
        EXPECT_EQ(outcome.code, 1) << command[0] << " " << name;
        EXPECT_NE(outcome.err.find("has another use in the command, and would be overwritten"), std::string::npos)
            << command[0] << " " << name << ": " << outcome.err;
        EXPECT_EQ(all_files(), before) << command[0] << " " << name;
      }
    }
  }
}

TEST_F(Files, ADataFileOfAnUnpackedModelIsNotTheFileThatIsRead) {
  fs::copy_file(at("model.quench"), at("x.onnx.data"));
  const Outcome outcome = run({"unpack", at("x.onnx.data"), "-o", at("x.onnx")});
  EXPECT_NE(outcome.err.find("would be overwritten"), std::string::npos) << outcome.err;
}

TEST_F(Files, OutputsOfOneRunAreDifferentFiles) {
  const Outcome outcome = run({"run", at("model.onnx"), "--input", at("image.npy"), "--output", at("image.npy")});
  EXPECT_NE(outcome.err.find("would be overwritten"), std::string::npos) << outcome.err;
  fs::create_directory(at("out"));
  fs::rename(at("image.npy"), at("out/y.npy"));  // the output's own name in that folder
  const std::string before = read_bytes(at("out/y.npy"));
  const std::string output = load(folder_ / "model.onnx").proto.graph().output(0).name();
  fs::rename(at("out/y.npy"), at("out/" + output + ".npy"));
  const Outcome again = run({"run", at("model.onnx"), "--input", at("out/" + output + ".npy"), "--output", at("out")});
  EXPECT_NE(again.err.find("would be overwritten"), std::string::npos) << again.err;
  EXPECT_EQ(read_bytes(at("out/" + output + ".npy")), before);
}

TEST_F(Files, PlacesThatCannotBeWrittenAreNamedBeforeTheWork) {
  fs::create_symlink(at("nothing"), at("dangling"));
  const std::map<std::string, std::string> reasons = {{"", "empty"},
                                                      {"/dev/stdout", "where the program's messages go"},
                                                      {"/dev/null", "this is no file"},
                                                      {at("dangling"), "a link to a file that does not exist"},
                                                      {at(std::string(256, 'x')), "File name too long"},
                                                      {at("images"), "this is a folder"},
                                                      {at("no/folder/x"), "there is no folder"}};
  for (const auto& [output, reason] : reasons) {
    const Outcome outcome = run({"compress", at("missing.onnx"), "-o", output});
    EXPECT_NE(outcome.err.find(reason), std::string::npos) << output << ": " << outcome.err;
    EXPECT_EQ(outcome.err.find("missing.onnx"), std::string::npos) << "the model was read before: " << outcome.err;
  }
  EXPECT_TRUE(fs::is_symlink(at("dangling")));
}

// A model with outputs of these names, all of them its input.
onnx::ModelProto model_with_outputs(const std::vector<std::string>& names) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("g");
  const auto declare = [](onnx::ValueInfoProto& value, const std::string& name) {
    value.set_name(name);
    value.mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
    value.mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_value(2);
  };
  declare(*graph.add_input(), "x");
  float factor = 1;
  for (const std::string& name : names) {
    onnx::TensorProto& tensor = *graph.add_initializer();
    tensor.set_name("factor " + name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    tensor.add_float_data(factor++);
    onnx::NodeProto& node = *graph.add_node();
    node.set_op_type("Mul");
    node.add_input("x");
    node.add_input("factor " + name);
    node.add_output(name);
    declare(*graph.add_output(), name);
  }
  return model;
}

TEST_F(Files, NamesOfOutputsBecomeSafeNamesAndNoTwoTheSame) {
  const std::vector<std::string> names = {"p/q",
                                          "p_q",
                                          "../../up",
                                          ".hidden",
                                          "/etc/x",
                                          "a\x1b[2J",
                                          "a\nb",
                                          "a_b",
                                          std::string("n\0m", 3),
                                          "n_m",
                                          "p_q_2",
                                          std::string(300, 'l'),
                                          std::string(301, 'l')};
  quantizer::write_model(folder_ / "outputs.onnx", model_with_outputs(names));
  data::write_npy(folder_ / "x.npy", data::Array::float32({2}, std::vector<float>{1, 2}));
  const Outcome outcome = run({"run", at("outputs.onnx"), "--input", at("x.npy"), "--output", at("out") + "/"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out.find('\x1b'), std::string::npos);
  std::set<float> values;
  for (const auto& entry : fs::directory_iterator(at("out"))) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; })) << name;
    EXPECT_FALSE(name.starts_with('.'));
    values.insert(data::read_npy(entry.path()).to_float()[0]);
  }
  EXPECT_EQ(values.size(), names.size());
  EXPECT_EQ(data::read_npy(at("out/p_q.npy")).to_float()[0], 2);  // who has a safe name keeps it
  EXPECT_EQ(data::read_npy(at("out/a_b.npy")).to_float()[0], 8);
}

// Nothing but the old file or the new one, wherever the program is killed. A folder for each, since a child that puts a
// file in its place may outlive the program a little.
TEST_F(Files, AKilledCommandLeavesNoTemporaryFile) {
  const std::map<std::string, Arguments> commands = {
      {"o.quench", {"compress", at("model.onnx"), "-o"}},
      {"o.onnx", {"unpack", at("model.quench"), "-o"}},
      {"o.npz", {"data", "synthetic:shapes,count=300", "-o"}},
      {"o.npy", {"run", at("model.onnx"), "--input", at("image.npy"), "--output"}}};
  for (const auto& [name, command] : commands) {
    for (const int signal : {SIGKILL, SIGTERM, SIGINT}) {
      const std::string folder = at(name + " " + std::to_string(signal));
      fs::create_directory(folder);
      Arguments whole = command;
      whole.push_back(folder + "/" + name);
      ASSERT_NO_FATAL_FAILURE(expect_old_or_new(whole, whole.back(), signal, 5)) << name;
    }
  }
}

TEST_F(Files, AFileBeyondTheLimitIsAnErrorAndLeavesNothing) {
  fs::create_directory(at("out"));
  const std::string command = "ulimit -f 1; exec " + std::string(QUENCH_PROGRAM) +
                              " data synthetic:shapes,count=300 -o " + at("out/o.npz") + " 2>" + at("error");
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
  EXPECT_NE(read_bytes(at("error")).find("File too large"), std::string::npos) << read_bytes(at("error"));
  EXPECT_TRUE(fs::is_empty(at("out")));
}

}  // namespace
}  // namespace quench::cli
