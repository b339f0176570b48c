// The emulated device: a block's threads are fibres (fibres.h), memory is checked and counted (watch.h). Read only where WEIR_HOST is defined.
#if defined(WEIR_HOST)
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__SANITIZE_ADDRESS__)
#define WEIR_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_ASAN
#endif
#endif
#if defined(WEIR_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
typedef uint32_t u32;
typedef uint64_t u64;
typedef uint16_t u16;

namespace weir {

// An argument as the driver passes it: a number's bits, or an address with its extent and the place of what happened to it (watch.h).
struct Raw {
  u64 value, bytes, words;
};
struct Counts {
  u64 read_bytes, written_bytes, fma, activations, shared_bytes, block_bytes, phase_bytes;
};
// What one launch needs and tells. `time`: the first that the launch may use, then the first that it left (watch.h).
struct Run {
  u32 grid, threads, shared, wave, time, pad;
  const Raw *args;
  Counts counts;
  char fault[256];
};

struct Fault {};
struct LocalWords;
// `launch`, `start` and `now`: times of the launch's begin, of the block's, and of the last barrier. `copies`: those to shared memory that are on their way
// (access.h).
struct State {
  Run *run;
  u32 block, thread, launch, start, now, shared_bytes;
  char *shared;
  LocalWords *local;
  u32 copies;
  bool failed;
};
static State state;
// Nobody else knows where these are, so that loops keep them in registers.
static u64 read_bytes, written_bytes, fma, activations, shared_bytes, block_bytes, phase_bytes;

[[noreturn]] __attribute__((noinline)) static void fault(const char *what, u64 at, u64 count) {
  if (!state.failed) {
    snprintf(state.run->fault, sizeof state.run->fault, "%s: element %llu of %llu, thread %u of block %u", what,
             (unsigned long long)at, (unsigned long long)count, state.thread, state.block);
    state.failed = true;
  }
  throw Fault{};
}

} // namespace weir
#endif
