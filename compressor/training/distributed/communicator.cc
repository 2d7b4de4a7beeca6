#include "compressor/training/distributed/communicator.h"

#include <fmt/ranges.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <utility>

#include "formats/error.h"

// What torch was built with; c10d's headers of a backend also need those of the library behind it.
#if defined(USE_C10D_GLOO) && __has_include(<gloo/algorithm.h>)
#define QUENCH_HAS_GLOO 1
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#if defined(USE_C10D_NCCL) && __has_include(<nccl.h>)
#define QUENCH_HAS_NCCL 1
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace quench::training {

// One of c10d's process groups; they have no base class that is the same in every version of torch.
struct CommunicatorBackend {
  std::function<void(torch::Tensor&)> all_reduce_sum;
  std::function<void(torch::Tensor&, int root)> broadcast;
  torch::Device device;  // where it wants its tensors
};

namespace {

using torch::Tensor;

// A message of this size is long enough for the time that it takes to be that of its bytes.
constexpr int64_t kBucketBytes = int64_t{25} << 20;

struct Place {
  int rank = 0;
  int size = 1;
  std::string host;
  uint16_t port = 0;
  std::optional<std::string> interface;  // unset: that which leads to host
};

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

int64_t whole_number(const char* name, const std::string& text, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    throw Error::make("the environment variable {} is '{}': it must be a whole number from {} to {}", name, text, least,
                      most);
  }
  return value;
}

std::string required(const char* name, int size) {
  const auto value = variable(name);
  if (!value) {
    throw Error::make(
        "the environment variable WORLD_SIZE is {} and {} is not set: set WORLD_SIZE, RANK and MASTER_ADDR (torchrun "
        "does), or none of them to train in one process",
        size, name);
  }
  return *value;
}

Place read_environment() {
  const auto size = variable("WORLD_SIZE");
  if (!size && variable("RANK")) {
    throw Error(
        "the environment variable RANK is set and WORLD_SIZE is not: set both (torchrun does), or none of them");
  }
  Place place;
  place.size = static_cast<int>(whole_number("WORLD_SIZE", size.value_or("1"), 1, 1 << 16));
  const std::string rank = place.size == 1 ? variable("RANK").value_or("0") : required("RANK", place.size);
  place.rank = static_cast<int>(whole_number("RANK", rank, 0, place.size - 1));
  if (place.size == 1) return place;
  place.host = required("MASTER_ADDR", place.size);
  place.port = static_cast<uint16_t>(
      whole_number("MASTER_PORT", variable("MASTER_PORT").value_or("29500"), 1, std::numeric_limits<uint16_t>::max()));
  place.interface = variable("GLOO_SOCKET_IFNAME");
  if (place.interface && if_nametoindex(place.interface->c_str()) == 0) {
    throw Error::make("the environment variable GLOO_SOCKET_IFNAME is '{}': this machine has no such network interface",
                      *place.interface);
  }
  return place;
}

// The first line of what torch says, without a backtrace or the place in its sources.
std::string reason(const std::exception& error) {
  std::string_view text = error.what();
  text = text.substr(0, text.find('\n'));
  if (text.starts_with("[/") || text.starts_with("[.")) {
    if (const size_t end = text.find("] "); end != text.npos) text.remove_prefix(end + 2);
  }
  return std::string(text);
}

using Store = c10::intrusive_ptr<c10d::Store>;

Store open_store(const Place& place, const Timeouts& timeouts) {
  // torchrun serves a store of its own at MASTER_PORT, which outlives the processes that it starts anew.
  const bool is_served = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  const std::string attempt = variable("TORCHELASTIC_RESTART_COUNT").value_or("0");
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = place.rank == 0 && !is_served;
  options.numWorkers = static_cast<size_t>(place.size);
  options.waitWorkers = false;  // meet() waits, and can say for whom
  options.timeout = timeouts.arrival;
  try {
    return c10::make_intrusive<c10d::PrefixStore>("quench/" + attempt,
                                                  c10::make_intrusive<c10d::TCPStore>(place.host, options));
  } catch (const std::exception& error) {
    throw Error::make(
        "rank {} of {} cannot {} {}:{} ({}): {}", place.rank, place.size,
        options.isServer ? "serve the others at" : "reach rank 0 at", place.host, place.port, reason(error),
        options.isServer ? "MASTER_ADDR must be an address of rank 0's machine, and MASTER_PORT a free port"
                         : "see whether rank 0 runs, and that MASTER_ADDR and MASTER_PORT lead there");
  }
}

std::vector<int> missing_ranks(const Place& place, const Store& store, const std::vector<std::string>& keys) {
  std::vector<int> missing;
  for (int rank = 0; rank < place.size; ++rank) {
    if (!store->check({keys[static_cast<size_t>(rank)]})) missing.push_back(rank);
  }
  return missing;
}

// Returns once all ranks have come to the store.
void meet(const Place& place, const Timeouts& timeouts, const Store& store) {
  std::vector<std::string> keys;
  for (int rank = 0; rank < place.size; ++rank) keys.push_back(fmt::format("rank/{}", rank));
  std::vector<int> missing;
  try {
    if (store->add(keys[static_cast<size_t>(place.rank)], 1) > 1) {
      throw Error::make("another process has rank {} of {}, too: give each a RANK of its own", place.rank, place.size);
    }
    try {
      return store->wait(keys, timeouts.arrival);
    } catch (const std::exception&) {
      missing = missing_ranks(place, store, keys);
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error::make("rank {} of {} lost contact with rank 0 at {}:{} while it waited for the others: {}", place.rank,
                      place.size, place.host, place.port, reason(error));
  }
  throw Error::make("rank {} of {} waited {} s at {}:{} for {} {}: see why they did not come", place.rank, place.size,
                    timeouts.arrival.count(), place.host, place.port, missing.size() == 1 ? "rank" : "ranks",
                    fmt::join(missing, ", "));
}

template <typename ProcessGroup>
std::unique_ptr<CommunicatorBackend> wrap(c10::intrusive_ptr<ProcessGroup> group, const torch::Device& device) {
  const auto all_reduce_sum = [group](Tensor& tensor) {
    std::vector<Tensor> tensors{tensor};
    group->allreduce(tensors)->wait();
  };
  const auto broadcast = [group](Tensor& tensor, int root) {
    std::vector<Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    group->broadcast(tensors, options)->wait();
  };
  return std::make_unique<CommunicatorBackend>(CommunicatorBackend{all_reduce_sum, broadcast, device});
}

#ifdef QUENCH_HAS_GLOO
// This machine's address on the way to rank 0's. Connecting a UDP socket sends nothing, it only chooses the route.
std::string own_address(const Place& place) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(place.host.c_str(), std::to_string(place.port).c_str(), &hints, &found);
  if (code != 0) {
    throw Error::make("the environment variable MASTER_ADDR is '{}', which is not found: {}", place.host,
                      gai_strerror(code));
  }
  std::string address;
  for (const addrinfo* next = found; next != nullptr && address.empty(); next = next->ai_next) {
    const int file = socket(next->ai_family, next->ai_socktype | SOCK_CLOEXEC, next->ai_protocol);
    if (file < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof(own);
    char text[NI_MAXHOST];
    auto* const any = reinterpret_cast<sockaddr*>(&own);
    if (connect(file, next->ai_addr, next->ai_addrlen) == 0 && getsockname(file, any, &length) == 0 &&
        getnameinfo(any, length, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      address = text;
    }
    close(file);
  }
  freeaddrinfo(found);
  if (address.empty()) throw Error::make("no network interface of this machine leads to MASTER_ADDR {}", place.host);
  return address;
}

// Gloo writes to sockets whose other end may have died; its threads inherit that this shall not end the process.
class WithoutBrokenPipes {
 public:
  WithoutBrokenPipes() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &before_);
  }
  ~WithoutBrokenPipes() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutBrokenPipes(const WithoutBrokenPipes&) = delete;
  WithoutBrokenPipes& operator=(const WithoutBrokenPipes&) = delete;

 private:
  sigset_t before_{};
};

std::unique_ptr<CommunicatorBackend> make_gloo(const Place& place, const Timeouts& timeouts, const Store& store) {
  const WithoutBrokenPipes without;
  auto options = c10d::ProcessGroupGloo::Options::create(timeouts.exchange);
  options->threads = 1;
  options->devices.push_back(place.interface ? c10d::ProcessGroupGloo::createDeviceForInterface(*place.interface)
                                             : c10d::ProcessGroupGloo::createDeviceForHostname(own_address(place)));
  return wrap(c10::make_intrusive<c10d::ProcessGroupGloo>(store, place.rank, place.size, options), torch::kCPU);
}
#endif

#ifdef QUENCH_HAS_NCCL
std::unique_ptr<CommunicatorBackend> make_nccl(const Place& place, const torch::Device& device,
                                               const Timeouts& timeouts, const Store& store) {
  // wait() then returns after the exchange, or throws when it has taken too long; the older name is that of torch
  // before 2.2.
  setenv("NCCL_BLOCKING_WAIT", "1", 0);
  setenv("TORCH_NCCL_BLOCKING_WAIT", "1", 0);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeouts.exchange;
  return wrap(c10::make_intrusive<c10d::ProcessGroupNCCL>(store, place.rank, place.size, options), device);
}
#endif

std::unique_ptr<CommunicatorBackend> make_backend([[maybe_unused]] const Place& place,
                                                  [[maybe_unused]] const torch::Device& device,
                                                  [[maybe_unused]] const Timeouts& timeouts,
                                                  [[maybe_unused]] const Store& store) {
#ifdef QUENCH_HAS_NCCL
  if (device.is_cuda()) return make_nccl(place, device, timeouts, store);
#endif
#ifdef QUENCH_HAS_GLOO
  return make_gloo(place, timeouts, store);
#else
  throw Error::make(
      "the environment variable WORLD_SIZE is {}, but this build trains on {} in one process only: build it where the "
      "headers of Gloo (libgloo-dev) or, for GPUs, of NCCL are installed",
      place.size, device.str());
#endif
}

// Tensors of one type, as many as fit into a message; one that is larger has its own.
struct Bucket {
  std::vector<Tensor> tensors;
  int64_t bytes = 0;

  bool takes(const Tensor& tensor) const {
    return tensor.scalar_type() == tensors.front().scalar_type() &&
           bytes + static_cast<int64_t>(tensor.nbytes()) <= kBucketBytes;
  }
};

std::vector<Bucket> into_buckets(const std::vector<Tensor>& tensors) {
  std::vector<Bucket> buckets;
  for (const Tensor& tensor : tensors) {
    auto bucket = std::find_if(buckets.begin(), buckets.end(), [&](const Bucket& b) { return b.takes(tensor); });
    if (bucket == buckets.end()) bucket = buckets.insert(buckets.end(), Bucket{});
    bucket->tensors.push_back(tensor);
    bucket->bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return buckets;
}

Tensor flatten(const Bucket& bucket, const torch::Device& device) {
  std::vector<Tensor> parts;
  for (const Tensor& tensor : bucket.tensors) parts.push_back(tensor.reshape({-1}));
  return torch::cat(parts).to(device);
}

void unflatten(const Tensor& flat, const Bucket& bucket) {
  int64_t at = 0;
  for (const Tensor& tensor : bucket.tensors) {
    tensor.copy_(flat.narrow(0, at, tensor.numel()).view(tensor.sizes()));
    at += tensor.numel();
  }
}

struct AllReduceBackward : torch::autograd::Node {
  explicit AllReduceBackward(Communicator& communicator) : communicator_(communicator) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    const Tensor& gradient = gradients.at(0);
    return {gradient.defined() ? communicator_.all_reduce_sum_differentiable(gradient) : gradient};
  }

  Communicator& communicator_;
};

}  // namespace

std::unique_ptr<Communicator> Communicator::from_environment(const torch::Device& device, const Timeouts& timeouts) {
  const Place place = read_environment();
  if (place.size == 1) return std::unique_ptr<Communicator>(new Communicator(0, 1, nullptr));
  const Store store = open_store(place, timeouts);
  meet(place, timeouts, store);
  std::unique_ptr<CommunicatorBackend> backend;
  try {
    backend = make_backend(place, device, timeouts, store);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error::make(
        "rank {} of {} cannot connect to the others: {}; if the machines do not reach each other through the network "
        "interface that leads to MASTER_ADDR, name the right one in GLOO_SOCKET_IFNAME",
        place.rank, place.size, reason(error));
  }
  std::unique_ptr<Communicator> communicator(new Communicator(place.rank, place.size, std::move(backend)));
  communicator->barrier();  // rank 0 serves the store, and might else end before the others have used it
  return communicator;
}

torch::Device Communicator::own_device(const torch::Device& device) {
  if (!device.is_cuda() || device.has_index()) return device;
  const int64_t index = whole_number("LOCAL_RANK", variable("LOCAL_RANK").value_or("0"), 0,
                                     std::numeric_limits<torch::DeviceIndex>::max());
  return {device.type(), static_cast<torch::DeviceIndex>(index)};
}

Communicator::Communicator(int rank, int size, std::unique_ptr<CommunicatorBackend> backend)
    : rank_(rank), size_(size), backend_(std::move(backend)) {}

Communicator::~Communicator() = default;

void Communicator::all_reduce_sum(const std::vector<Tensor>& tensors) {
  if (is_alone()) return;
  const torch::NoGradGuard no_grad;
  for (const Bucket& bucket : into_buckets(tensors)) {
    Tensor flat = flatten(bucket, backend_->device);
    attempt("an all-reduce", [&] { backend_->all_reduce_sum(flat); });
    unflatten(flat, bucket);
  }
}

void Communicator::broadcast(const std::vector<Tensor>& tensors, int root) {
  if (is_alone()) return;
  const torch::NoGradGuard no_grad;
  const std::vector<Bucket> buckets = into_buckets(tensors);
  const auto send = [&](Tensor& flat) { attempt("a broadcast", [&] { backend_->broadcast(flat, root); }); };
  // Messages of different lengths would end the process inside of Gloo.
  int64_t bytes = 0;
  for (const Bucket& bucket : buckets) bytes += bucket.bytes;
  const Tensor own = torch::tensor({static_cast<int64_t>(tensors.size()), bytes});
  Tensor roots = own.clone().to(backend_->device);
  send(roots);
  roots = roots.cpu();
  if (!roots.equal(own)) {
    throw Error::make(
        "rank {} of {} has {} tensors of {} bytes where rank {} has {} of {}: start all ranks with the same model and "
        "options",
        rank_, size_, tensors.size(), bytes, root, roots[0].item<int64_t>(), roots[1].item<int64_t>());
  }
  for (const Bucket& bucket : buckets) {
    const Tensor flat = flatten(bucket, backend_->device);
    Tensor as_bytes = flat.view(torch::kByte);
    send(as_bytes);
    unflatten(flat, bucket);
  }
}

int64_t Communicator::of_leader(int64_t value) {
  Tensor shared = torch::tensor({value}, torch::kInt64);
  broadcast({shared});
  return shared.item<int64_t>();
}

void Communicator::barrier() {
  if (is_alone()) return;
  Tensor one = torch::ones({1}, backend_->device);
  attempt("a barrier", [&] { backend_->all_reduce_sum(one); });
}

Tensor Communicator::all_reduce_sum_differentiable(const Tensor& tensor) {
  if (is_alone()) return tensor;
  Tensor sum = tensor.detach().clone(torch::MemoryFormat::Contiguous);
  all_reduce_sum({sum});
  if (torch::autograd::compute_requires_grad(tensor)) {
    const std::shared_ptr<AllReduceBackward> node(new AllReduceBackward(*this), torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(tensor));
    torch::autograd::set_history(sum, node);
  }
  return sum;
}

void Communicator::attempt(const char* what, const std::function<void()>& exchange) const {
  try {
    exchange();
  } catch (const std::exception& error) {
    throw Error::make(
        "rank {} of {} lost contact with another rank during {}: {}; see why that one ended, and start all of them "
        "again",
        rank_, size_, what, reason(error));
  }
}

}  // namespace quench::training
