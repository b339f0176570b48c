// What compiled kernels ask of the emulated device, by PTX's instructions (ptx.h) and AMD's functions (amd.h). Always looked at is what hardware asks
// for: places at multiples of their bytes, inside an argument or the block's shared memory; nothing that is read as never changing
// (`ld.global.nc`) is written in the launch; lanes of a wave are at the same instruction where they exchange numbers or wait (the text wants no
// less of `shfl`, which hardware would have wait for late ones). Without WEIR_UNCHECKED every access is under the watch of memory too (watch.h),
// by the rules of arrays that threads hand each other: what compilers made of all other arrays is seen here. Lines are those of what was compiled.
#include <limits>
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;
namespace machine {
using weir::state;

// A register's bits as another kind of number.
template <class T, class R> static inline T get(R from) {
  if constexpr (std::is_floating_point<T>::value || std::is_floating_point<R>::value) {
    static_assert(sizeof(T) == sizeof(R), "a number of another width than its register");
    T x;
    memcpy(&x, &from, sizeof x);
    return x;
  } else {
    return (T)from;
  }
}
template <class R, class T> static inline void set(R &to, T x) { to = get<R>(x); }

[[noreturn]] __attribute__((noinline)) static void fault(u32 line, const char *what) {
  if (!state.failed) {
    snprintf(state.run->fault, sizeof state.run->fault, "line %u: %s, thread %u of block %u", line, what, state.thread, state.block);
    state.failed = true;
  }
  throw weir::Fault{};
}

// The launch's arguments, and which of them were read as never changing, and written.
static const weir::Raw *arguments;
static u32 argument_count, launch_seen;
static u64 constant, changed;
// The one that was last found.
static const weir::Raw nowhere = {}, *found = &nowhere;
// Places in shared memory are as far from zero as on a device that keeps a kilobyte of it.
const u64 SHARED = 1024;

// Where lanes are when they meet. Two places take turns, so that a lane which goes on does not overwrite what others have yet to see.
struct Met {
  u32 line, count;
  u32 bits[6];
};
static Met met[2][weir::MOST_THREADS];
static u32 meetings[weir::MOST_THREADS];
// Barriers in the same way.
static u32 barriers[2][weir::MOST_THREADS], turns[weir::MOST_THREADS];

static void begin(const weir::Raw *args, u32 count, u32 wave, char *shared) {
  u32 t = state.thread;
  if (launch_seen != state.launch) {
    launch_seen = state.launch;
    constant = changed = 0;
    arguments = args, argument_count = count;
    found = &nowhere;
    if (count > 64) fault(0, "more than 64 arguments");
    if (state.run->threads % wave) fault(0, "a wave that is not whole");
  }
  meetings[t] = turns[t] = 0;
  for (u32 k = 0; k < 2; k++) met[k][t].count = 0;
  // Nothing is there when a block begins: every bit set is no number.
  if (t == 0) memset(shared, 255, state.shared_bytes);
}

__attribute__((noinline)) static void find(u32 line, u64 address, u32 bytes) {
  for (u32 k = 0; k < argument_count; k++) {
    const weir::Raw &a = arguments[k];
    if (address >= a.value && bytes <= a.bytes && address - a.value <= a.bytes - bytes) {
      found = &a;
      return;
    }
  }
  fault(line, "device memory of no argument");
}

enum How { READ, READ_ONLY, WRITE };
#if defined(WEIR_UNCHECKED)
template <class T> static inline void watched(u32, const weir::Raw &, How, u64, u32) {}
static inline void watched_shared(u32, How, u64, u32) {}
static inline void watched_sum(u32, const weir::Raw &, u64) {}
#else
// Does what the watch looks at, and tells the line of a fault that it finds.
template <class F> static void told(u32 line, F f) {
  bool late = state.failed;
  try {
    f();
  } catch (const weir::Fault &) {
    size_t n = strlen(state.run->fault);
    if (!late) snprintf(state.run->fault + n, sizeof state.run->fault - n, ", line %u", line);
    throw;
  }
}
template <class T> static void watched(u32 line, const weir::Raw &a, How how, u64 address, u32 bytes) {
  weir::Global<T, true> array = {(T *)(uintptr_t)a.value, a.bytes / sizeof(T), a.words};
  told(line, [&] {
    for (u64 at = address & ~u64(3); at < address + bytes; at += 4) {
      if (how == WRITE)
        array.writes(array.of(at), at / 4 % 4, array.PART, (at - a.value) / sizeof(T));
      else
        array.reads(array.of(at), at / 4 % 4, array.PART, (at - a.value) / sizeof(T));
    }
  });
}
// Reading what nobody has written is no fault: rows of a tile that are not there may be anything (`FactorsOf`). It is no number, and nobody else
// may write it before the barrier. Parts of words are not looked at.
static void watched_shared(u32 line, How how, u64 offset, u32 bytes) {
  if (bytes < 4) return;
  told(line, [&] {
    for (u64 word = offset / 4; word < (offset + bytes) / 4; word++) {
      weir::LocalWords &w = state.local[word / 4];
      u32 k = word % 4;
      if (how == WRITE) {
        weir::Local<u32>::writes(w, k, word);
      } else if (w.written[k] >= state.start) {
        weir::Local<u32>::reads(w, k, word);
      } else {
        w.reader[k] = w.read[k] == state.now && w.reader[k] != state.thread ? weir::MANY : state.thread;
        w.read[k] = state.now;
      }
    }
  });
  weir::shared_bytes += bytes;
}
static void watched_sum(u32 line, const weir::Raw &a, u64 address) {
  weir::Global<u32, true> array = {(u32 *)(uintptr_t)a.value, a.bytes / 4, a.words};
  if (array.of(address).written[address / 4 % 4] == 0) fault(line, "atomic sum into memory that nobody wrote");
}
#endif
template <How how> static inline void touch(u32 line) {
  const u64 bit = u64(1) << (found - arguments);
  if (how == READ_ONLY) constant |= bit;
  if (how == WRITE) changed |= bit;
  if (how != READ && constant & changed) fault(line, "an argument is written that is read as never changing");
}
template <How how> static inline char *global(u32 line, u64 address, u32 bytes, u32 align) {
  if (address % align) fault(line, "device memory not at a multiple of its bytes");
  if (address - found->value > found->bytes || found->bytes - (address - found->value) < bytes) find(line, address, bytes);
  touch<how>(line);
  if (bytes < 4)
    watched<u16>(line, *found, how, address, bytes);
  else
    watched<u32>(line, *found, how, address, bytes);
  return (char *)(uintptr_t)address;
}
template <How how> static inline char *shared(u32 line, u64 address, u32 bytes, u32 align) {
  if (address % align) fault(line, "shared memory not at a multiple of its bytes");
  u64 offset = address - SHARED;
  if (address < SHARED || offset > state.shared_bytes || state.shared_bytes - offset < bytes) fault(line, "shared memory out of bounds");
  watched_shared(line, how, offset, bytes);
  return state.shared + offset;
}

// All threads of a block, and all lanes of a wave at the same barrier of the text.
static void wait_for_all(u32 line, u32 wave) {
  u32 t = state.thread, turn = turns[t] ^= 1;
  barriers[turn][t] = line;
  weir::barrier_();
  if (barriers[turn][t / wave * wave] != line) fault(line, "lanes of a wave are at different barriers");
}

// All lanes of a wave, at the same instruction.
static const Met *meet(u32 line, const u32 *bits, u32 count, u32 wave) {
  if (state.failed) throw weir::Fault{};
  u32 t = state.thread, first = t / wave * wave, n = ++meetings[t];
  Met &mine = met[n & 1][t];
  mine.line = line, mine.count = n;
  for (u32 k = 0; k < count; k++) mine.bits[k] = bits[k];
  weir::yield(false);
  if (state.failed) throw weir::Fault{};
  const Met *all = met[n & 1] + first;
  for (u32 lane = 0; lane < wave; lane++)
    if (all[lane].line != line || all[lane].count != n) fault(line, "lanes of a wave are not together");
  return all;
}

// Before a sum of whole numbers, in which any thread of any block may take part.
static void sums(u32 line, u64 address) {
  if (address % 4) fault(line, "device memory not at a multiple of its bytes");
  find(line, address, 4);
  touch<WRITE>(line);
  watched_sum(line, *found, address);
}

} // namespace machine
