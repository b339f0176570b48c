// The threads of a block on the host: fibres, which take turns.
#if defined(WEIR_HOST)
namespace weir {

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
  // At its end; at a barrier.
  bool done, waits;
  // Which of two places its next value for other lanes of the wave goes to.
  u32 turn;
  void *shadow;
};
const u32 MOST_THREADS = 1024;
static Fibre fibres[MOST_THREADS];
// Stacks of all, one behind the other. Tops are a little apart from multiples of a page: else the frames of all fibres, which come and go
// between barriers, would share few sets of the caches.
static char *stacks;
static u32 stacks_of;
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
  char *stack = stacks + t * STACK;
#if defined(WEIR_ASAN)
  // The last frames of the fibre before never returned: what they marked is void.
  __asan_unpoison_memory_region(stack, STACK);
#endif
  void **top = (void **)(((uintptr_t)(stack + STACK - t % 16 * 256)) & ~(uintptr_t)15);
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
  __sanitizer_start_switch_fiber(&home_shadow, stacks + t * STACK, STACK);
#endif
  weir_switch(&home, fibres[t].top);
#if defined(WEIR_ASAN)
  __sanitizer_finish_switch_fiber(home_shadow, nullptr, nullptr);
#endif
}

static void run_block(Run *run) {
  for (u32 t = 0; t < run->threads; t++) start(t);
  state.start = state.now;
  state.copies = 0;
  finished = 0;
  bool odd = true;
  while (finished < run->threads) {
    waiting = 0;
    for (u32 t = 0; t < run->threads; t++) fibres[t].waits = false;
    // Until everybody is at the barrier; lanes that wait for others of their wave only come again. Odd phases run backwards, so that an
    // order of threads nobody promised is not relied upon.
    for (bool more = true; more;) {
      more = false;
      for (u32 k = 0; k < run->threads; k++) {
        u32 t = odd ? k : run->threads - 1 - k;
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
    odd = !odd;
    state.now++;
    SETTLE_LANES();
  }
  if (state.copies > 0 && !state.failed) {
    snprintf(run->fault, sizeof run->fault, "block %u ended with %u copies on their way", state.block, state.copies);
    state.failed = true;
  }
  if (state.now > LAST && !state.failed) {
    snprintf(run->fault, sizeof run->fault, "more barriers than the watch of memory can number");
    state.failed = true;
  }
}

static void barrier_() {
  if (state.failed) throw Fault{};
  waiting++;
  fibres[state.thread].waits = true;
  yield(false);
  if (state.failed) throw Fault{};
}

// What a unit makes of a sum and N products, four of TF32 and eight of halves: all are cut, not rounded, to the place 24 bits below the largest of
// them, and the sum of those is cut to single precision. So do GA100's by those who took them apart (arXiv 2511.10909, 2512.07004; units since keep
// one bit more and take more products): small terms onto a large sum are lost towards zero, which no rounding averages out.
template <u32 N> static float cut_sum(float s, const double *products) {
  double x[N + 1] = {double(s)};
  u64 bits[N + 1];
  for (u32 k = 0; k < N; k++) x[k + 1] = products[k];
  memcpy(bits, x, sizeof bits);
  u32 largest = 0;
  for (u64 b : bits) largest = (b >> 52 & 0x7ff) > largest ? u32(b >> 52 & 0x7ff) : largest;
  double sum = 0.0;
  // No numbers, and those below single precision's, are added as they are.
  if (largest == 0x7ff || largest < 0x3ff - 100) {
    for (double v : x) sum += v;
    return float(sum);
  }
  for (u64 b : bits) {
    u32 below = largest - u32(b >> 52 & 0x7ff);
    double v = 0.0;
    if (below <= 24) {
      b &= ~u64(0) << (28 + below);
      memcpy(&v, &b, sizeof v);
    }
    sum += v;
  }
  // Exact so far.
  u64 whole;
  memcpy(&whole, &sum, sizeof whole);
  whole &= ~u64(0) << 29;
  memcpy(&sum, &whole, sizeof sum);
  return float(sum);
}

// Every half as a number, exact.
struct Halves {
  double of[1 << 16];
  Halves() {
    for (u32 h = 0; h < 1 << 16; h++) {
      int e = int(h >> 10 & 31), m = int(h & 1023);
      double x = e == 31 ? (m ? __builtin_nan("") : __builtin_inf()) : e == 0 ? __builtin_ldexp(m, -24) : __builtin_ldexp(1024 + m, e - 25);
      of[h] = h & 0x8000 ? -x : x;
    }
  }
};
static double half(u32 h) {
  static const Halves all;
  return all.of[h];
}
// A wave's matrix unit: s += a b, tiles spread over the lanes as the vendors' manuals say (16 x 8 x 8 in TF32 and 16 x 8 x 16 of halves by 32 lanes;
// 16 x 16 x 4 in f32 by 64).
enum Unit { TF32_UNIT, F16_UNIT, F32_UNIT };
template <Unit UNIT, bool LOOSE> static void matrix_multiply(float *s, const float *a, const float *b) {
  const u32 lanes = UNIT == F32_UNIT ? 64 : 32;
  u32 t = state.thread, first = t - t % lanes, lane = t % lanes;
  if (state.failed) throw Fault{};
  u32 turn = fibres[t].turn ^= 1;
  NEXT_PRODUCT(t);
  Shown &mine = shown[turn][t];
  memcpy(mine.a, a, (UNIT == F32_UNIT ? 1 : 4) * sizeof *a);
  memcpy(mine.b, b, (UNIT == F32_UNIT ? 1 : 2) * sizeof *b);
  yield(false);
  if (state.failed) throw Fault{};
  const Shown *all = shown[turn] + first;
  for (u32 i = 0; i < 4; i++) {
    u32 row = lane / 4 + (i / 2) * 8, column = (lane % 4) * 2 + i % 2;
    if (UNIT == F32_UNIT) {
      row = 4 * (lane / 16) + i, column = lane % 16;
      for (u32 k = 0; k < 4; k++) s[i] = __builtin_fmaf(all[16 * k + row].a[0], all[16 * k + column].b[0], s[i]);
    } else if (UNIT == F16_UNIT) {
      double products[16];
      for (u32 k = 0; k < 16; k++) {
        // Two in a register, as the manual says of a row of the left factor, and of a column of the right one: lane k / 2 of four, its
        // k / 8-th register for that row or column, the lower half first.
        u32 other = k % 8 / 2, part = k / 8, shift = k % 2 * 16, x, y;
        memcpy(&x, &all[4 * (row % 8) + other].a[row / 8 + 2 * part], 4);
        memcpy(&y, &all[4 * column + other].b[part], 4);
        products[k] = half(x >> shift & 0xffff) * half(y >> shift & 0xffff);
      }
      s[i] = cut_sum<8>(cut_sum<8>(s[i], products), products + 8);
    } else {
      double products[8];
      for (u32 k = 0; k < 8; k++) {
        float x = all[4 * (row % 8) + k % 4].a[row / 8 + 2 * (k / 4)], y = all[4 * column + k % 4].b[k / 4];
        u32 bits[2];
        memcpy(&bits[0], &x, 4);
        memcpy(&bits[1], &y, 4);
        if (LOOSE && x == x) {
          bits[0] &= 0xffffe000u;
          memcpy(&x, &bits[0], 4);
        }
        if (x == x && y == y && ((bits[0] | bits[1]) & 0x1fff)) fault("a factor that is not in TF32", i, 4);
        products[k] = double(x) * double(y);
      }
      s[i] = cut_sum<4>(cut_sum<4>(s[i], products), products + 4);
    }
  }
#if !defined(WEIR_UNCHECKED)
  fma += UNIT == F32_UNIT ? 16 : UNIT == F16_UNIT ? 64 : 32;
#endif
}

template <class P> struct From;
template <class T> struct From<T *> {
  static T *of(const Raw &r) { return (T *)(uintptr_t)r.value; }
};
template <class T, bool HANDED> struct From<Global<T, HANDED>> {
  static Global<T, HANDED> of(const Raw &r) { return {(T *)(uintptr_t)r.value, r.bytes / sizeof(T), r.words}; }
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
// Whether a kernel may write what an argument points to, a bit for each.
template <class P> struct Writes {
  enum { VALUE = false };
};
template <class T> struct Writes<T *> {
  enum { VALUE = !std::is_const<T>::value };
};
template <class T, bool HANDED> struct Writes<Global<T, HANDED>> {
  enum { VALUE = !std::is_const<T>::value };
};
// Whether it is HANDED, and may be what another such argument is too; plain pointers do not tell.
template <class P> struct Handed {
  enum { VALUE = false };
};
template <class T> struct Handed<T *> {
  enum { VALUE = !std::is_const<T>::value };
};
template <class T> struct Handed<Global<T, true>> {
  enum { VALUE = true };
};
template <template <class> class What, class... P> static u64 arguments(void (*)(P...)) {
  static_assert(sizeof...(P) <= 64, "a bit for each argument");
  u64 all = 0, bit = 1;
  for (bool is : {bool(What<P>::VALUE)...}) {
    if (is) all |= bit;
    bit <<= 1;
  }
  return all;
}
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
  state.shared_bytes = run->shared;
  read_bytes = written_bytes = fma = activations = shared_bytes = block_bytes = phase_bytes = 0;
  if (stacks_of < run->threads) {
    free(stacks);
    stacks = (char *)malloc(run->threads * STACK);
    stacks_of = run->threads;
  }
  char *shared = (char *)malloc(run->shared ? run->shared : 1);
  state.shared = shared;
  // Times never come again, whichever device runs a launch: what is known of shared memory needs no clearing.
  static u32 past = HOST + 1;
  state.launch = state.now = run->time > past ? run->time : past;
#if !defined(WEIR_UNCHECKED)
  static LocalWords *local;
  static u32 locals;
  if (locals < run->shared / 16 + 1) {
    free(local);
    locals = run->shared / 16 + 1;
    local = (LocalWords *)aligned_alloc(alignof(LocalWords), locals * sizeof(LocalWords));
    memset((void *)local, 0, locals * sizeof(LocalWords));
  }
  state.local = local;
#endif
  START_LANES(run->threads);
  for (u32 b = 0; b < run->grid && !state.failed; b++) {
    state.block = b;
    NEXT_BLOCK();
    run_block(run);
  }
  SETTLE_CACHES();
  free(shared);
  run->time = past = state.now;
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
#endif
