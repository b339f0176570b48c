// What first caches of multiprocessors find and what they fetch from the second, on the host where WEIR_LANES is defined: lines of 128 bytes, sectors of
// 32, the line goes that nobody has asked for longest. Accesses of waves that were looked at (lanes.h) are taken in the order of their turns, those
// of several blocks by turns, each from another part of its work on: blocks that share a multiprocessor are not in step.
#if defined(WEIR_HOST) && defined(WEIR_LANES)
#include <list>
namespace weir {

// A line that a wave asks for, by sectors.
struct Sectors {
  u64 place, line;
  u32 mask, order, wave;
  // Not kept.
  bool once;
};
// Since the barrier, and of whole blocks.
static std::vector<Sectors> sectors_asked;
static std::vector<std::vector<Sectors>> blocks_asked;
// Blocks that are looked at together: every number of blocks that may share a multiprocessor divides it.
static const u32 TOGETHER = 12;

// Bytes of a first cache beside `count` blocks of so much shared memory, which is the same memory: NVIDIA's of 9.0, which divides it in these ways;
// kernels that need much ask for one of the last two (backends/src/gpu/native/divide.rs).
static u64 first_cache(u32 count, u64 shared) {
  const u64 all = 256, ways[] = {0, 8, 16, 32, 64, 100, 132, 164, 196, 228}, much = 16 << 10, less = 196;
  for (u64 way : ways)
    if (count * (shared + 1024) <= way << 10 && (shared < much || way >= less)) return (all - way) << 10;
  return 0;
}

struct FirstCache {
  struct Line {
    u64 line;
    u32 held;
  };
  u64 lines;
  std::list<Line> kept;
  std::unordered_map<u64, std::list<Line>::iterator> at;
  // Sectors that were not there.
  u32 fetch(const Sectors &s) {
    auto found = at.find(s.line);
    if (found == at.end() && s.once) return __builtin_popcount(s.mask);
    if (found != at.end()) {
      kept.splice(kept.begin(), kept, found->second);
      u32 missed = s.mask & ~kept.front().held;
      kept.front().held |= s.mask;
      return __builtin_popcount(missed);
    }
    kept.push_front({s.line, s.mask});
    at[s.line] = kept.begin();
    if (kept.size() > lines) {
      at.erase(kept.back().line);
      kept.pop_back();
    }
    return __builtin_popcount(s.mask);
  }
};

// Where in its work a block begins: the golden section puts blocks apart from each other whatever their work repeats.
static double begins(size_t block) { return block * 0.6180339887 - (size_t)(block * 0.6180339887); }

// Of the blocks that were looked at, `count` on a multiprocessor.
static void cached(u32 count, u64 shared) {
  u64 bytes = first_cache(count, shared);
  if (!bytes) return;
  for (size_t from = 0; from < blocks_asked.size(); from += count) {
    FirstCache cache{bytes / 128};
    size_t n = std::min<size_t>(count, blocks_asked.size() - from), longest = 0;
    for (size_t b = 0; b < n; b++) longest = std::max(longest, blocks_asked[from + b].size());
    for (size_t k = 0; k < longest; k++)
      for (size_t b = 0; b < n; b++) {
        const auto &asked = blocks_asked[from + b];
        if (k >= asked.size()) continue;
        const Sectors &s = asked[(k + size_t(begins(b) * asked.size())) % asked.size()];
        sites[s.place].missed[count - 1] += cache.fetch(s);
      }
  }
}
static void settle_caches(u64 shared) {
  for (u32 count = 1; count <= SHARED_BY; count++) cached(count, shared);
  blocks_asked.clear();
}

// A wave's access, whose lanes come in order.
static void ask_cache(const Request *begin, const Request *end, const std::vector<u64> &sectors) {
  u32 order = ~0u;
  for (const Request *r = begin; r < end; r++) order = std::min(order, r->order);
  for (size_t k = 0; k < sectors.size();) {
    Sectors s{begin->site * 8 + begin->kind, sectors[k] / 4, 0, order, begin->thread / 32, begin->kind == GLOBAL_READ_ONCE};
    for (; k < sectors.size() && sectors[k] / 4 == s.line; k++) s.mask |= 1u << sectors[k] % 4;
    sectors_asked.push_back(s);
  }
}
// At a barrier.
static void settle_turns() {
  std::stable_sort(sectors_asked.begin(), sectors_asked.end(), [](auto &x, auto &y) { return std::tie(x.order, x.wave) < std::tie(y.order, y.wave); });
  if (!sectors_asked.empty()) blocks_asked.back().insert(blocks_asked.back().end(), sectors_asked.begin(), sectors_asked.end());
  sectors_asked.clear();
}
// Before a launch.
static void start_caches() {
  sectors_asked.clear();
  blocks_asked.clear();
}
// Before a block.
static void next_block(u64 shared) {
  all_blocks++;
  if (!looked_at()) return;
  looked++;
  if (blocks_asked.size() == TOGETHER) settle_caches(shared);
  blocks_asked.emplace_back();
}

} // namespace weir
#endif
