// What the lanes of a wave ask for together, on the host where WEIR_LANES is defined: for every access of the text how many cycles of shared
// memory or of a first cache it takes, and how many sectors of device memory it touches. One block of WEIR_LANES is looked at.
#if defined(WEIR_HOST) && defined(WEIR_LANES)
#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <vector>
namespace weir {

enum Kind : u32 { SHARED_READ, SHARED_WRITE, GLOBAL_READ, GLOBAL_WRITE, GLOBAL_READ_ONCE };
// What one place of the text has asked for since somebody looked. `cycles` of shared memory or of a first cache: NVIDIA's data stage returns
// 128 bytes a cycle from 32 banks, so lanes are served by groups that ask for as many bytes (twice as many lanes where they ask for the same by
// twos, n and n ^ 1 or n and n ^ 2), and a group again where one bank has two words of it; a cache looks for four lines a cycle (NVIDIA's developers
// about CC 7.0 and later: forums.developer.nvidia.com, 77228 and 49571). Sectors and lines of device memory, words of either; sectors that a first cache
// had to fetch, with one to SHARED_BY blocks on a multiprocessor (caches.h; none where so many have no room).
static const u32 SHARED_BY = 4;
struct Asked {
  u64 site;
  u32 kind, bytes;
  u64 requests, lanes, cycles, lines, sectors, words, missed[SHARED_BY];
};
struct Request {
  u64 site, address;
  u32 thread, kind, bytes, epoch, order;
};
static std::vector<Request> requests;
static std::unordered_map<u64, Asked> sites;
// Products of matrices that a thread has begun since the barrier: lanes of a wave begin them together.
static std::vector<u32> epochs;
// Accesses of a thread since the barrier.
static std::vector<u32> orders;

// Whether what is read of device memory is not kept by first caches.
static bool once;
static u64 looked, all_blocks;
static bool looked_at() { return (state.block * 2654435761u >> 16) % WEIR_LANES == 0; }

// The caller's place stands for the access: whoever calls this is inlined.
static __attribute__((noinline)) void asked(Kind kind, u64 address, u32 bytes) {
  if (kind == GLOBAL_READ && once) kind = GLOBAL_READ_ONCE;
  if (looked_at())
    requests.push_back({(u64)(uintptr_t)__builtin_return_address(0), address, state.thread, kind, bytes, epochs[state.thread], orders[state.thread]++});
}

// Different numbers in a list, which is sorted.
static u64 different(std::vector<u64> &list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list.size();
}
// Cycles of the lanes begin .. end, a group.
static u64 cycles_of(const Request *begin, const Request *end) {
  std::vector<u64> words;
  for (const Request *r = begin; r < end; r++)
    for (u64 word = r->address / 4; word <= (r->address + r->bytes - 1) / 4; word++) words.push_back(word);
  different(words);
  u64 banks[32] = {0};
  for (u64 word : words) banks[word % 32]++;
  return *std::max_element(banks, banks + 32);
}
// Whether lanes n and n ^ `by` ask for the same, all of them that are there.
static bool same_by(const Request *begin, const Request *end, u32 by) {
  u64 at[32] = {0};
  for (const Request *r = begin; r < end; r++) at[r->thread % 32] = r->address + 1;
  for (u32 k = 0; k < 32; k++)
    if (at[k] && at[k ^ by] && at[k] != at[k ^ by]) return false;
  return true;
}

static void ask_cache(const Request *begin, const Request *end, const std::vector<u64> &sectors);
static void settle_turns();
static void start_caches();

// One access of a wave, lanes in order.
static void served(const Request *begin, const Request *end) {
  Asked &sum = sites[begin->site * 8 + begin->kind];
  sum.site = begin->site;
  sum.kind = begin->kind;
  sum.bytes = begin->bytes;
  sum.requests++;
  sum.lanes += end - begin;
  bool reads = begin->kind % 2 == 0;
  u32 together = begin->bytes >= 16 ? 8 : begin->bytes >= 8 ? 16 : 32;
  if (together < 32 && reads && (same_by(begin, end, 1) || same_by(begin, end, 2))) together *= 2;
  u64 cycles = 0;
  for (const Request *r = begin; r < end;) {
    const Request *next = r;
    while (next < end && next->thread % 32 / together == r->thread % 32 / together) next++;
    cycles += cycles_of(r, next);
    r = next;
  }
  std::vector<u64> words, sectors, lines;
  for (const Request *r = begin; r < end; r++)
    for (u64 word = r->address / 4; word <= (r->address + r->bytes - 1) / 4; word++) {
      words.push_back(word);
      sectors.push_back(word / 8);
      lines.push_back(word / 32);
    }
  sum.words += different(words);
  if (begin->kind >= GLOBAL_READ) {
    sum.sectors += different(sectors);
    u64 n = different(lines);
    sum.lines += n;
    if (reads) ask_cache(begin, end, sectors);
    cycles = std::max(cycles, (n + 3) / 4);
  }
  sum.cycles += cycles;
}

// Between two barriers: the n-th access of a place by each lane since its last product belongs together.
static void settle_lanes() {
  struct Key {
    u64 site;
    u32 kind, wave, epoch, turn;
    bool operator<(const Key &o) const {
      return std::tie(site, kind, wave, epoch, turn) < std::tie(o.site, o.kind, o.wave, o.epoch, o.turn);
    }
    bool operator==(const Key &o) const { return !(*this < o) && !(o < *this); }
  };
  struct Turn {
    u32 epoch, count;
  };
  std::unordered_map<u64, std::vector<Turn>> turns;
  std::vector<std::pair<Key, Request>> sorted;
  sorted.reserve(requests.size());
  for (const Request &r : requests) {
    auto &of = turns[r.site * 8 + r.kind];
    if (of.empty()) of.resize(epochs.size(), {~0u, 0});
    Turn &turn = of[r.thread];
    if (turn.epoch != r.epoch) turn = {r.epoch, 0};
    sorted.push_back({{r.site, r.kind, r.thread / 32, r.epoch, turn.count++}, r});
  }
  std::sort(sorted.begin(), sorted.end(), [](auto &x, auto &y) { return x.first < y.first || (x.first == y.first && x.second.thread < y.second.thread); });
  std::vector<Request> one;
  for (size_t k = 0; k < sorted.size();) {
    one.clear();
    size_t end = k;
    while (end < sorted.size() && sorted[end].first == sorted[k].first) one.push_back(sorted[end++].second);
    served(one.data(), one.data() + one.size());
    k = end;
  }
  requests.clear();
  std::fill(epochs.begin(), epochs.end(), 0);
  std::fill(orders.begin(), orders.end(), 0);
  settle_turns();
}

// Before a launch. One that failed has left what nobody took.
static void start_lanes(u32 threads) {
  epochs.assign(threads, 0);
  orders.assign(threads, 0);
  requests.clear();
  sites.clear();
  once = false;
  looked = all_blocks = 0;
  start_caches();
}

} // namespace weir
#define ASKED(kind, address, bytes) weir::asked(weir::kind, address, bytes)
// By accesses of 16 bytes at most.
#define ASKED_RUN(kind, address, bytes)                                                                                                   \
  for (u64 b = 0; b < (bytes); b += 16) ASKED(kind, (address) + b, (bytes) - b < 16 ? (bytes) - b : 16)
#define ASKS __attribute__((always_inline)) inline
#define START_LANES(threads) weir::start_lanes(threads)
#define NEXT_BLOCK() weir::next_block(weir::state.shared_bytes)
#define SETTLE_CACHES() weir::settle_caches(weir::state.shared_bytes)
#define NEXT_PRODUCT(thread) weir::epochs[thread]++
#define SETTLE_LANES() weir::settle_lanes()
#define READ_ONCE(reads) weir::once = true, reads, weir::once = false

// What was asked for since the last call: how many places, of which the first `most` are told. Places are offsets in the image.
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];
extern "C" u64 weir_asked(weir::Asked *to, u64 most) {
  u64 count = 0;
  for (auto &place : weir::sites) {
    if (count < most) {
      to[count] = place.second;
      to[count].site -= (u64)(uintptr_t)__ehdr_start;
    }
    count++;
  }
  if (count <= most) weir::sites.clear();
  return count;
}
// Blocks that were looked at since the last call, and all of them.
extern "C" void weir_looked(u64 *looked, u64 *all) {
  *looked = weir::looked;
  *all = weir::all_blocks;
  weir::looked = weir::all_blocks = 0;
}
#elif defined(WEIR_HOST)
#define ASKED(kind, address, bytes)
#define ASKED_RUN(kind, address, bytes)
#define ASKS
#define START_LANES(threads)
#define NEXT_BLOCK()
#define SETTLE_CACHES()
#define NEXT_PRODUCT(thread)
#define SETTLE_LANES()
#define READ_ONCE(reads) reads
#endif
