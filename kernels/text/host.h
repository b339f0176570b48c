// The emulated device: a block's threads are fibres, memory is checked and counted. Read only where WEIR_HOST is defined.
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

// Who touched a word of device memory: launches count from 1, 0 is never. Kept by the driver, one for every four bytes.
struct Word {
  u32 read_epoch, read_block, write_epoch, write_block, write_phase, write_thread;
  // Block and phase of the last read: for counting what caches of a multiprocessor fetch.
  u32 reader, reader_phase;
};
// The same for shared memory, within a launch; `serial` is the block's number + 1.
struct LocalWord {
  u32 serial, write_phase, write_thread, read_phase, read_thread;
};
const u32 MANY = 0xffffffffu;

// An argument as the driver passes it: a number's bits, or an address with its extent and words.
struct Raw {
  u64 value, bytes;
  Word *words;
};
struct Counts {
  u64 read_bytes, written_bytes, fma, activations, shared_bytes, block_bytes, phase_bytes;
};
// What one launch needs and tells.
struct Run {
  u32 grid, threads, shared, wave, epoch, pad;
  const Raw *args;
  Counts counts;
  char fault[256];
};

struct Fault {};
struct State {
  Run *run;
  u32 block, thread, phase, epoch, shared_bytes;
  char *shared;
  LocalWord *local;
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

template <class T> struct Global;

template <class T> struct GlobalElement {
  const Global<T> &array;
  u64 at;
  operator T() const { return array.read(at); }
  void operator=(T value) const { array.write(at, value); }
  void operator=(const GlobalElement &other) const { array.write(at, T(other)); }
  void operator+=(T value) const { array.write(at, array.read(at) + value); }
};

// Device memory from an address on.
template <class T> struct Global {
  T *data;
  u64 count;
  Word *words;
  // Address within a word, for numbers of two bytes.
  u64 word(u64 at) const { return ((u64)(uintptr_t)(data + at) - ((u64)(uintptr_t)data & ~(u64)3)) / 4; }
  typedef typename std::remove_const<T>::type Value;
  Value read(u64 at) const {
    if (at >= count) fault("read out of bounds", at, count);
    if (words) {
      for (u32 k = 0; k < (sizeof(T) + 3) / 4; k++) {
        Word &w = words[word(at) + k];
        if (w.write_epoch == 0) fault("read of memory that nobody wrote", at, count);
        u32 epoch = state.epoch;
        if (w.write_epoch == epoch) {
          if (w.write_block != state.block) fault("read of what another block of the launch writes", at, count);
          if (w.write_phase == state.phase && w.write_thread != state.thread)
            fault("read without a barrier after another thread's write", at, count);
        }
        u32 bytes = sizeof(T) < 4 ? sizeof(T) : 4;
        bool again = w.read_epoch == epoch && w.reader == state.block;
        if (!again) block_bytes += bytes;
        if (!again || w.reader_phase != state.phase) phase_bytes += bytes;
        w.reader = state.block;
        w.reader_phase = state.phase;
        if (w.read_epoch != epoch) {
          w.read_epoch = epoch;
          w.read_block = state.block;
          read_bytes += bytes;
        } else if (w.read_block != state.block) {
          w.read_block = MANY;
        }
      }
    }
    return data[at];
  }
  void write(u64 at, Value value) const {
    if (at >= count) fault("write out of bounds", at, count);
    if (words) {
      for (u32 k = 0; k < (sizeof(T) + 3) / 4; k++) {
        Word &w = words[word(at) + k];
        u32 epoch = state.epoch;
        if (w.read_epoch == epoch && w.read_block != state.block)
          fault("write of what another block of the launch reads", at, count);
        if (w.write_epoch == epoch) {
          if (sizeof(T) >= 4 && w.write_block != state.block) fault("write of what another block of the launch writes", at, count);
          if (sizeof(T) >= 4 && w.write_phase == state.phase && w.write_thread != state.thread)
            fault("two threads write without a barrier", at, count);
        } else {
          w.write_epoch = epoch;
          written_bytes += sizeof(T) < 4 ? sizeof(T) : 4;
        }
        w.write_block = state.block;
        w.write_phase = state.phase;
        w.write_thread = state.thread;
      }
    }
    const_cast<Value &>(data[at]) = value;
  }
  typename std::conditional<std::is_const<T>::value, Value, GlobalElement<T>>::type operator[](u64 at) const {
    if constexpr (std::is_const<T>::value)
      return read(at);
    else
      return GlobalElement<T>{*this, at};
  }
  Global operator+(u64 offset) const {
    if (offset > count) fault("pointer out of bounds", offset, count);
    return {data + offset, count - offset, words ? words + word(offset) : words};
  }
  operator Global<const T>() const { return {data, count, words}; }
  explicit operator bool() const { return data != nullptr; }
};

template <class T> struct Local;
template <class T> struct LocalElement {
  const Local<T> &array;
  u64 at;
  operator T() const { return array.read(at); }
  void operator=(T value) const { array.write(at, value); }
  void operator=(const LocalElement &other) const { array.write(at, T(other)); }
  void operator+=(T value) const { array.write(at, array.read(at) + value); }
};

// Shared memory from an offset on.
template <class T> struct Local {
  u32 offset;
  T *at_(u64 at) const {
    if (offset + (at + 1) * sizeof(T) > state.shared_bytes) fault("shared memory out of bounds", at, state.shared_bytes);
    return (T *)(state.shared + offset) + at;
  }
  T read(u64 at) const {
    T *p = at_(at);
    for (u32 k = 0; k < sizeof(T) / 4; k++) {
      LocalWord &w = state.local[offset / 4 + at * (sizeof(T) / 4) + k];
      if (w.serial != state.block + 1) fault("read of shared memory that nobody wrote", at, 0);
      if (w.write_phase == state.phase && w.write_thread != state.thread)
        fault("shared memory is read without a barrier after another thread's write", at, 0);
      if (w.read_phase != state.phase) {
        w.read_phase = state.phase;
        w.read_thread = state.thread;
      } else if (w.read_thread != state.thread) {
        w.read_thread = MANY;
      }
    }
    shared_bytes += sizeof(T);
    return *p;
  }
  void write(u64 at, T value) const {
    T *p = at_(at);
    for (u32 k = 0; k < sizeof(T) / 4; k++) {
      LocalWord &w = state.local[offset / 4 + at * (sizeof(T) / 4) + k];
      if (w.serial == state.block + 1) {
        if (w.write_phase == state.phase && w.write_thread != state.thread)
          fault("two threads write shared memory without a barrier", at, 0);
        if (w.read_phase == state.phase && w.read_thread != state.thread)
          fault("shared memory is written without a barrier after another thread's read", at, 0);
      } else {
        w.serial = state.block + 1;
        w.read_phase = MANY;
      }
      w.write_phase = state.phase;
      w.write_thread = state.thread;
    }
    shared_bytes += sizeof(T);
    *p = value;
  }
  LocalElement<T> operator[](u64 at) const { return {*this, at}; }
  Local operator+(u64 count) const { return {u32(offset + count * sizeof(T))}; }
};

// Fibres: a stack each; switching saves what the calling convention asks of a callee.
extern "C" void weir_switch(void **from, void *to);
#if defined(__x86_64__)
asm(R"(
.text
.type weir_switch, @function
weir_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
const size_t SAVED = 7;
#elif defined(__aarch64__)
asm(R"(
.text
.type weir_switch, %function
weir_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
const size_t SAVED = 20;
#else
#error "the emulated device knows x86-64 and aarch64"
#endif

#if defined(WEIR_ASAN)
// Frames are larger where every variable has room around it.
const size_t STACK = 1024 * 1024;
#else
const size_t STACK = 128 * 1024;
#endif
struct Fibre {
  void *top;
  char *stack;
  // At its end; at a barrier.
  bool done, waits;
  // Which of two places its next value for other lanes of the wave goes to.
  u32 turn;
  void *shadow;
};
const u32 MOST_THREADS = 1024;
static Fibre fibres[MOST_THREADS];
static void *home;
static void *home_shadow;
static const void *home_stack;
static size_t home_size;
static void (*entry)(const Raw *);
static u32 waiting, finished;
// Factors of a matrix product that the lanes of a wave show each other. Two places take turns, so that a lane which goes on does not
// overwrite what others have yet to see.
struct Shown {
  float a[4], b[2];
};
static Shown shown[2][MOST_THREADS];

static void yield(bool last) {
  Fibre &me = fibres[state.thread];
#if defined(WEIR_ASAN)
  __sanitizer_start_switch_fiber(last ? nullptr : &me.shadow, home_stack, home_size);
#endif
  weir_switch(&me.top, home);
#if defined(WEIR_ASAN)
  __sanitizer_finish_switch_fiber(me.shadow, &home_stack, &home_size);
#endif
  (void)last;
}

static void body() {
#if defined(WEIR_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &home_stack, &home_size);
#endif
  try {
    entry(state.run->args);
  } catch (const Fault &) {
  }
  fibres[state.thread].done = true;
  finished++;
  yield(true);
  abort();
}

static void start(u32 t) {
  Fibre &f = fibres[t];
  if (!f.stack) f.stack = (char *)malloc(STACK);
#if defined(WEIR_ASAN)
  // The last frames of the fibre before never returned: what they marked is void.
  __asan_unpoison_memory_region(f.stack, STACK);
#endif
  void **top = (void **)(((uintptr_t)(f.stack + STACK)) & ~(uintptr_t)15);
#if defined(__x86_64__)
  top -= SAVED + 1;
  top[SAVED - 1] = (void *)body;
#else
  top -= SAVED;
  top[11] = (void *)body;
#endif
  f.top = top;
  f.done = false;
  f.waits = false;
  f.turn = 0;
}

static void resume(u32 t) {
  state.thread = t;
#if defined(WEIR_ASAN)
  __sanitizer_start_switch_fiber(&home_shadow, fibres[t].stack, STACK);
#endif
  weir_switch(&home, fibres[t].top);
#if defined(WEIR_ASAN)
  __sanitizer_finish_switch_fiber(home_shadow, nullptr, nullptr);
#endif
}

static void run_block(Run *run) {
  for (u32 t = 0; t < run->threads; t++) start(t);
  state.phase = 1;
  finished = 0;
  while (finished < run->threads) {
    waiting = 0;
    for (u32 t = 0; t < run->threads; t++) fibres[t].waits = false;
    // Until everybody is at the barrier; lanes that wait for others of their wave only come again. Odd phases run backwards, so that an
    // order of threads nobody promised is not relied upon.
    for (bool more = true; more;) {
      more = false;
      for (u32 k = 0; k < run->threads; k++) {
        u32 t = state.phase % 2 ? k : run->threads - 1 - k;
        if (fibres[t].done || fibres[t].waits) continue;
        resume(t);
        more |= !fibres[t].done && !fibres[t].waits;
      }
    }
    if (waiting > 0 && finished > 0 && !state.failed) {
      state.thread = 0;
      snprintf(run->fault, sizeof run->fault, "%u of %u threads of block %u ended before a barrier", finished, run->threads, state.block);
      state.failed = true;
    }
    state.phase++;
  }
}

static void barrier_() {
  if (state.failed) throw Fault{};
  waiting++;
  fibres[state.thread].waits = true;
  yield(false);
  if (state.failed) throw Fault{};
}

// A wave's matrix unit: s += a b, tiles spread over the lanes as the vendors' manuals say (16 x 8 x 8 in TF32 by 32 lanes; 16 x 16 x 4 in f32
// by 64). Sums of a real unit may be rounded otherwise in their last bit.
template <bool F32> static void matrix_multiply(float *s, const float *a, const float *b) {
  const u32 lanes = F32 ? 64 : 32;
  u32 t = state.thread, first = t - t % lanes, lane = t % lanes;
  if (state.failed) throw Fault{};
  u32 turn = fibres[t].turn ^= 1;
  Shown &mine = shown[turn][t];
  for (u32 k = 0; k < (F32 ? 1 : 4); k++) mine.a[k] = a[k];
  for (u32 k = 0; k < (F32 ? 1 : 2); k++) mine.b[k] = b[k];
  yield(false);
  if (state.failed) throw Fault{};
  const Shown *all = shown[turn] + first;
  for (u32 i = 0; i < 4; i++) {
    if (F32) {
      u32 row = 4 * (lane / 16) + i, column = lane % 16;
      for (u32 k = 0; k < 4; k++) s[i] = __builtin_fmaf(all[16 * k + row].a[0], all[16 * k + column].b[0], s[i]);
    } else {
      u32 row = lane / 4 + (i / 2) * 8, column = (lane % 4) * 2 + i % 2;
      double sum = s[i];
      for (u32 k = 0; k < 8; k++) {
        float x = all[4 * (row % 8) + k % 4].a[row / 8 + 2 * (k / 4)], y = all[4 * column + k % 4].b[k / 4];
        u32 bits[2];
        memcpy(&bits[0], &x, 4);
        memcpy(&bits[1], &y, 4);
        if (x == x && y == y && ((bits[0] | bits[1]) & 0x1fff)) fault("a factor that is not in TF32", i, 4);
        sum += double(x) * double(y);
      }
      s[i] = float(sum);
    }
  }
#if !defined(WEIR_UNCHECKED)
  fma += F32 ? 16 : 32;
#endif
}

template <class P> struct From;
template <class T> struct From<T *> {
  static T *of(const Raw &r) { return (T *)(uintptr_t)r.value; }
};
template <class T> struct From<Global<T>> {
  static Global<T> of(const Raw &r) { return {(T *)(uintptr_t)r.value, r.bytes / sizeof(T), r.words}; }
};
template <> struct From<u32> {
  static u32 of(const Raw &r) { return (u32)r.value; }
};
template <> struct From<u64> {
  static u64 of(const Raw &r) { return r.value; }
};
template <> struct From<double> {
  static double of(const Raw &r) {
    double d;
    memcpy(&d, &r.value, 8);
    return d;
  }
};
template <class... P, size_t... I> static void unpack(void (*f)(P...), const Raw *a, std::index_sequence<I...>) {
  f(From<P>::of(a[I])...);
}
template <class... P> static void call(void (*f)(P...), const Raw *a) { unpack(f, a, std::index_sequence_for<P...>{}); }
template <class... P> static u32 arity(void (*)(P...)) { return sizeof...(P); }

} // namespace weir

// Runs a launch: 0, or 1 with run->fault.
extern "C" int weir_run(void (*kernel)(const weir::Raw *), weir::Run *run) {
  using namespace weir;
  if (run->threads > MOST_THREADS || run->threads == 0) {
    snprintf(run->fault, sizeof run->fault, "blocks of %u threads", run->threads);
    return 1;
  }
  entry = kernel;
  state.run = run;
  state.failed = false;
  state.epoch = run->epoch;
  state.shared_bytes = run->shared;
  read_bytes = written_bytes = fma = activations = shared_bytes = block_bytes = phase_bytes = 0;
  char *shared = (char *)malloc(run->shared ? run->shared : 1);
#if defined(WEIR_UNCHECKED)
  LocalWord *local = nullptr;
#else
  LocalWord *local = (LocalWord *)calloc(run->shared / 4 + 2, sizeof(LocalWord));
#endif
  state.shared = shared;
  state.local = local;
  for (u32 b = 0; b < run->grid && !state.failed; b++) {
    state.block = b;
    run_block(run);
  }
  free(shared);
  free(local);
  run->counts = {read_bytes, written_bytes, fma, activations, shared_bytes, block_bytes, phase_bytes};
  return state.failed;
}

#if defined(WEIR_ASAN)
// Shuts memory of the device, or opens it: a launch may touch its arguments only.
extern "C" void weir_guard(u64 address, u64 bytes, int shut) {
  if (shut)
    __asan_poison_memory_region((void *)(uintptr_t)address, bytes);
  else
    __asan_unpoison_memory_region((void *)(uintptr_t)address, bytes);
}
#endif

#define DEVICE static inline
#define LAMBDA [&]
#define UNROLL
#define UNROLL_SOME
#define UNROLL_TWO
#define UNROLL_NOT
#define KERNEL(name) static void name
#define EXPORT(name)                                                                                                                       \
  extern "C" void weir_kernel_##name(const weir::Raw *a) { weir::call(name, a); }                                                          \
  extern "C" u32 weir_arity_##name() { return weir::arity(name); }
#if defined(WEIR_UNCHECKED)
// Plain pointers: nothing is checked or counted, ten times as fast.
#define IN(T) const T *
#define OUT(T) T *
#define LOCAL(T) T *
template <class T> static inline T *shared_at(u32 bytes) { return (T *)(weir::state.shared + bytes); }
#define COUNT(what)
#else
#define IN(T) weir::Global<const T>
#define OUT(T) weir::Global<T>
#define LOCAL(T) weir::Local<T>
template <class T> static inline weir::Local<T> shared_at(u32 bytes) { return {bytes}; }
#define COUNT(what) weir::what++
#endif
static inline u32 thread() { return weir::state.thread; }
static inline u32 block() { return weir::state.block; }
static inline void barrier() { weir::barrier_(); }
static inline float fma_(float a, float b, float c) {
  COUNT(fma);
  return __builtin_fmaf(a, b, c);
}
static inline double fma_(double a, double b, double c) {
  COUNT(fma);
  return __builtin_fma(a, b, c);
}
// Sums of whole numbers: any thread of any block may take part, so only bounds and first writes are checked.
static inline u32 atomic_add(u32 *a, u64 k, u32 value) {
  u32 old = a[k];
  a[k] = old + value;
  return old;
}
static inline u32 atomic_add(const weir::Global<u32> &a, u64 k, u32 value) {
  if (k >= a.count) weir::fault("atomic sum out of bounds", k, a.count);
  weir::Word &w = a.words[a.word(k)];
  if (w.write_epoch == 0) weir::fault("atomic sum into memory that nobody wrote", k, a.count);
  u32 old = a.data[k];
  a.data[k] = old + value;
  return old;
}
static inline double sqrt_(double x) { return __builtin_sqrt(x); }
static inline float reciprocal(float x) { return 1.0f / x; }
static inline double from_bits(u64 b) {
  double d;
  memcpy(&d, &b, 8);
  return d;
}
static inline float from_bits(u32 b) {
  float d;
  memcpy(&d, &b, 4);
  return d;
}
static inline u32 to_bits(float x) {
  u32 d;
  memcpy(&d, &x, 4);
  return d;
}
#define COUNT_ACTIVATION() COUNT(activations)
#endif
