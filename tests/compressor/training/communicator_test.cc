// Several processes of communicator_peer on this machine; what they compute is checked there.
#include "compressor/training/distributed/communicator.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "formats/error.h"

namespace quench::training {
namespace {

using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

constexpr const char* kVariables[] = {"WORLD_SIZE",
                                      "RANK",
                                      "LOCAL_RANK",
                                      "MASTER_ADDR",
                                      "MASTER_PORT",
                                      "GLOO_SOCKET_IFNAME",
                                      "TORCHELASTIC_USE_AGENT_STORE"};

std::string free_port() {
  const int file = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(bind(file, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(file, reinterpret_cast<sockaddr*>(&address), &length), 0);
  close(file);
  return std::to_string(ntohs(address.sin_port));
}

struct Outcome {
  int code = -1;  // exit code, or minus the signal that ended it
  std::string output;
};

struct Waiting {
  std::string arrival = "30";
  std::string exchange = "30";
};

class Peer {
 public:
  Peer(const std::string& scenario, const Waiting& waiting, const Variables& variables)
      : output_(testing::TempDir() + "communicator_peer_" + std::to_string(getpid()) + "_" + std::to_string(++count_)) {
    std::vector<std::string> environment = {"OMP_NUM_THREADS=1"};
    for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
    std::vector<std::string> arguments = {COMMUNICATOR_PEER, scenario, waiting.arrival, waiting.exchange};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const auto pointers = [](std::vector<std::string>& strings) {
      std::vector<char*> result;
      for (std::string& string : strings) result.push_back(string.data());
      result.push_back(nullptr);
      return result;
    };
    EXPECT_EQ(posix_spawn(&process_, COMMUNICATOR_PEER, &actions, nullptr, pointers(arguments).data(),
                          pointers(environment).data()),
              0);
    posix_spawn_file_actions_destroy(&actions);
  }

  void kill() const { ::kill(process_, SIGKILL); }

  Outcome wait() const {
    int status = 0;
    EXPECT_EQ(waitpid(process_, &status, 0), process_);
    std::ifstream file(output_);
    Outcome outcome{WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
                    {std::istreambuf_iterator<char>(file), {}}};
    unlink(output_.c_str());
    return outcome;
  }

 private:
  static inline int count_ = 0;
  std::string output_;
  pid_t process_ = 0;
};

Variables place(int rank, int size, const std::string& port) {
  return {{"WORLD_SIZE", std::to_string(size)},
          {"RANK", std::to_string(rank)},
          {"MASTER_ADDR", "127.0.0.1"},
          {"MASTER_PORT", port}};
}

std::vector<Peer> start(const std::string& scenario, int size, const Waiting& waiting = {}) {
  const std::string port = free_port();
  std::vector<Peer> peers;
  for (int rank = 0; rank < size; ++rank) peers.emplace_back(scenario, waiting, place(rank, size, port));
  return peers;
}

void expect_success(const std::string& scenario, int size) {
  for (const Peer& peer : start(scenario, size)) {
    const Outcome outcome = peer.wait();
    EXPECT_EQ(outcome.code, 0) << outcome.output;
  }
}

// The one line of a peer that ended with a quench::Error.
std::string error_of(const Outcome& outcome) {
  EXPECT_EQ(outcome.code, 3) << outcome.output;
  const size_t begin = outcome.output.find("error: ");
  if (begin == std::string::npos) return "";
  EXPECT_EQ(outcome.output.find('\n', begin), outcome.output.size() - 1) << "one line, the last: " << outcome.output;
  return outcome.output.substr(begin);
}

TEST(Communicator, SumsAgree) { expect_success("sums", 3); }
TEST(Communicator, BroadcastsAnyType) { expect_success("broadcasts", 2); }
TEST(Communicator, GradientsPassThroughSums) { expect_success("gradients", 2); }
TEST(SynchronizedBatchNorm, EqualsThatOfTheWholeBatchAmongTwo) { expect_success("batch_norm", 2); }
TEST(SynchronizedBatchNorm, EqualsThatOfTheWholeBatchAmongThree) { expect_success("batch_norm", 3); }

TEST(Communicator, NamesDifferingModels) {
  const auto peers = start("differing_models", 2);
  EXPECT_EQ(peers[0].wait().code, 3);
  EXPECT_THAT(error_of(peers[1].wait()), HasSubstr("rank 1 of 2 has 1 tensors of 12 bytes where rank 0 has 1 of 8"));
}

TEST(Communicator, AllReportAKilledRankAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  const auto peers = start("killed", 3);  // would wait for 30 s
  EXPECT_EQ(peers[1].wait().code, -SIGKILL);
  EXPECT_THAT(error_of(peers[0].wait()),
              HasSubstr("rank 0 of 3 lost contact with another rank during an all-reduce: "));
  EXPECT_THAT(error_of(peers[2].wait()),
              HasSubstr("rank 2 of 3 lost contact with another rank during an all-reduce: "));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(Communicator, ReportsARankThatIsSilent) {
  const auto peers = start("stalled", 2, {"30", "4"});
  EXPECT_THAT(error_of(peers[0].wait()),
              HasSubstr("rank 0 of 2 lost contact with another rank during an all-reduce: "));
  peers[1].kill();
  peers[1].wait();
}

TEST(Communicator, NamesRanksThatDoNotCome) {
  const std::string port = free_port();
  const Peer third("meet", {}, place(2, 4, port));
  const Peer first("meet", {"3", "3"}, place(0, 4, port));
  EXPECT_THAT(error_of(first.wait()), HasSubstr("rank 0 of 4 waited 3 s at 127.0.0.1:" + port + " for ranks 1, 3: "));
  EXPECT_THAT(error_of(third.wait()), HasSubstr("rank 2 of 4"));
}

TEST(Communicator, NamesARankZeroThatCannotBeReached) {
  const std::string port = free_port();
  EXPECT_THAT(error_of(Peer("meet", {"1", "1"}, place(1, 2, port)).wait()),
              HasSubstr("rank 1 of 2 cannot reach rank 0 at 127.0.0.1:" + port));
}

TEST(Communicator, NamesAPortInUse) {
  const int file = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(file, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(file, 1), 0);
  ASSERT_EQ(getsockname(file, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const std::string port = std::to_string(ntohs(address.sin6_port));
  EXPECT_THAT(error_of(Peer("meet", {"1", "1"}, place(0, 2, port)).wait()),
              HasSubstr("rank 0 of 2 cannot serve the others at 127.0.0.1:" + port));
  close(file);
}

TEST(Communicator, NamesARankThatTwoProcessesHave) {
  const std::string port = free_port();
  const Peer peers[] = {
      {"meet", {}, place(1, 3, port)}, {"meet", {}, place(1, 3, port)}, {"meet", {"3", "3"}, place(0, 3, port)}};
  std::string errors;
  for (const Peer& peer : peers) errors += error_of(peer.wait());
  EXPECT_THAT(errors, HasSubstr("another process has rank 1 of 3, too"));
}

TEST(Communicator, UsesTheNamedInterface) {
  const std::string port = free_port();
  Variables first = place(0, 2, port);
  Variables second = place(1, 2, port);
  first["GLOO_SOCKET_IFNAME"] = second["GLOO_SOCKET_IFNAME"] = "lo";
  const Peer peers[] = {{"meet", {}, first}, {"meet", {}, second}};
  for (const Peer& peer : peers) EXPECT_EQ(peer.wait().code, 0);
}

class Environment : public testing::Test {
 protected:
  Environment() { clear(); }
  ~Environment() override { clear(); }

  static void clear() {
    for (const char* name : kVariables) unsetenv(name);
  }

  // What from_environment throws under these variables; "" where it does not.
  static std::string refusal(const Variables& variables) {
    clear();
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
    try {
      EXPECT_TRUE(
          Communicator::from_environment(torch::kCPU, {std::chrono::seconds(1), std::chrono::seconds(1)})->is_alone());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Environment, OneProcessIsAlone) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_EQ(refusal({{"WORLD_SIZE", ""}}), "");
  EXPECT_EQ(refusal({{"WORLD_SIZE", "1"}}), "");
  EXPECT_EQ(refusal({{"WORLD_SIZE", "1"}, {"RANK", "0"}, {"MASTER_ADDR", "x"}}), "");
  clear();
  const auto alone = Communicator::from_environment(torch::kCPU);
  EXPECT_EQ(alone->rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  const torch::Tensor tensor = torch::full({3}, 2);
  alone->all_reduce_sum({tensor});
  alone->broadcast({tensor});
  alone->barrier();
  EXPECT_TRUE(tensor.equal(torch::full({3}, 2)));
}

TEST_F(Environment, HalfSetIsRefused) {
  EXPECT_THAT(refusal({{"RANK", "1"}}), HasSubstr("RANK is set and WORLD_SIZE is not"));
  EXPECT_THAT(refusal({{"WORLD_SIZE", "2"}}), HasSubstr("WORLD_SIZE is 2 and RANK is not set"));
  EXPECT_THAT(refusal({{"WORLD_SIZE", "2"}, {"RANK", "0"}}), HasSubstr("WORLD_SIZE is 2 and MASTER_ADDR is not set"));
}

TEST_F(Environment, SenselessValuesAreRefused) {
  const Variables good = {{"WORLD_SIZE", "2"}, {"RANK", "0"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", "29500"}};
  const auto with = [&](const std::string& name, const std::string& value) {
    Variables variables = good;
    variables[name] = value;
    return refusal(variables);
  };
  for (const char* size : {"0", "-2", "two", "2x", "99999999999999999999"}) {
    EXPECT_THAT(with("WORLD_SIZE", size), HasSubstr("WORLD_SIZE is '" + std::string(size) + "'"));
  }
  for (const char* rank : {"2", "-1", "0.5"}) {
    EXPECT_THAT(with("RANK", rank),
                HasSubstr("RANK is '" + std::string(rank) + "': it must be a whole number from 0 to 1"));
  }
  for (const char* port : {"0", "65536", "http"}) {
    EXPECT_THAT(with("MASTER_PORT", port), HasSubstr("MASTER_PORT is '" + std::string(port) + "'"));
  }
  EXPECT_THAT(with("GLOO_SOCKET_IFNAME", "nosuchinterface"), HasSubstr("GLOO_SOCKET_IFNAME is 'nosuchinterface'"));
}

TEST_F(Environment, LocalRankChoosesTheGpu) {
  const torch::Device gpu(torch::kCUDA);
  EXPECT_EQ(Communicator::own_device(gpu), torch::Device(torch::kCUDA, 0));
  setenv("LOCAL_RANK", "3", 1);
  EXPECT_EQ(Communicator::own_device(gpu), torch::Device(torch::kCUDA, 3));
  EXPECT_EQ(Communicator::own_device(torch::Device(torch::kCUDA, 1)), torch::Device(torch::kCUDA, 1));
  EXPECT_EQ(Communicator::own_device(torch::kCPU), torch::Device(torch::kCPU));
  setenv("LOCAL_RANK", "first", 1);
  EXPECT_THROW(Communicator::own_device(gpu), Error);
}

}  // namespace
}  // namespace quench::training
