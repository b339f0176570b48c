// Numbers that stand together: read, written and handed on by one access.

// N numbers that stand together, at a multiple of their bytes (16 at most): one access, or several of 16 bytes.
#if defined(WEIR_HOST) && !defined(WEIR_UNCHECKED)
template <int N, class T, class A> DEVICE void load(T *x, const A &a, u64 at) { load_run<N>(x, a, at); }
template <int N, class T, class A> DEVICE void store(const A &a, u64 at, const T *x) { store_run<N>(a, at, x); }
#else
template <class T, int N> struct alignas(sizeof(T) * N) Access {
  T v[N];
};
template <int N, class T> DEVICE void load(T *x, const T *a, u64 at) {
  const int n = N * sizeof(T) > 16 ? 16 / sizeof(T) : N;
UNROLL
  for (int k = 0; k < N; k += n) {
    Access<T, n> q = *(const Access<T, n> *)(a + at + k);
UNROLL
    for (int i = 0; i < n; i++) x[k + i] = q.v[i];
  }
}
template <int N, class T> DEVICE void store(T *a, u64 at, const T *x) {
  const int n = N * sizeof(T) > 16 ? 16 / sizeof(T) : N;
UNROLL
  for (int k = 0; k < N; k += n) {
    Access<T, n> q;
UNROLL
    for (int i = 0; i < n; i++) q.v[i] = x[k + i];
    *(Access<T, n> *)(a + at + k) = q;
  }
}
#endif
// The same of what a block reads once before other things take its place: first caches need not keep it. Of arrays that the kernel writes.
#if defined(WEIR_CUDA) && __CUDA_ARCH__ >= 800
DEVICE void load_piece(float (*x)[2], const float *a) {
  asm volatile("ld.global.L1::no_allocate.v2.f32 {%0, %1}, [%2];" : "=f"(x[0][0]), "=f"(x[0][1]) : "l"(a) : "memory");
}
DEVICE void load_piece(float (*x)[4], const float *a) {
  asm volatile("ld.global.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x[0][0]), "=f"(x[0][1]), "=f"(x[0][2]), "=f"(x[0][3]) : "l"(a) : "memory");
}
template <int N> DEVICE void load_once(float *x, const float *a, u64 at) {
  const int n = N > 4 ? 4 : N;
UNROLL
  for (int k = 0; k < N; k += n) load_piece((float(*)[n])(x + k), a + at + k);
}
template <int N> DEVICE void load_once(double *x, const double *a, u64 at) { load<N>(x, a, at); }
#elif defined(WEIR_HOST) && !defined(WEIR_UNCHECKED)
template <int N, class T, class A> DEVICE void load_once(T *x, const A &a, u64 at) { READ_ONCE((load_run<N>(x, a, at))); }
#else
template <int N, class T> DEVICE void load_once(T *x, const T *a, u64 at) { load<N>(x, a, at); }
#endif
// Sums of a row in columns that stand together, as a product hands them to the caller's last word: where they are and what belongs to them is
// worked out once for all.
template <int n> struct Sums {
  enum { N = n };
  real v[n];
};
// Adds what stands in an array from `at` on.
template <int N, class A> DEVICE void plus(Sums<N> &x, const A &a, u64 at) {
  real y[N];
  load<N>(y, a, at);
UNROLL
  for (int k = 0; k < N; k++) x.v[k] += y[k];
}
// Rows in device memory of whose numbers a lane has eight, and eight lanes of a wave have pieces of two: by halves, in odd rows the other half
// first. Rows lie multiples of 128 bytes apart, so with the same half of both every bank of the first cache would have two words to find.
template <int N> DEVICE constexpr bool by_halves() { return N == 8 && sizeof(real) == 4; }
// Exchanges the halves of a lane's numbers in odd rows and returns where the first half stands; other widths stay as they are.
template <int N> DEVICE u32 turned(real *x, u32 r) {
  if (!by_halves<N>()) return 0;
  bool odd = r & 1;
UNROLL
  for (int j = 0; j < N / 2; j++) {
    real first = x[j], other = x[N / 2 + j];
    x[j] = odd ? other : first;
    x[N / 2 + j] = odd ? first : other;
  }
  return odd ? N / 2 : 0;
}
// The numbers of a row in that order, where `half` is what `turned` returned.
template <int N, class A> DEVICE void load_turned(real *x, const A &a, u64 at, u32 half) {
  const int H = by_halves<N>() ? N / 2 : N;
UNROLL
  for (int k = 0; k < N; k += H) load<H>(x + k, a, at + (k ? k - half : half));
}
#if defined(WEIR_CUDA)
// NVRTC 12.8 takes four numbers apart that it could store together where their place is chosen by a lane.
DEVICE void store_half(float *a, const float *x) { asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(a), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory"); }
#endif
template <int N, class A> DEVICE void store_turned(const A &a, u64 at, const real *x, u32 half) {
  const int H = by_halves<N>() ? N / 2 : N;
UNROLL
  for (int k = 0; k < N; k += H) {
#if defined(WEIR_CUDA)
    if (by_halves<N>()) {
      store_half((float *)a + at + (k ? k - half : half), (const float *)x + k);
      continue;
    }
#endif
    store<H>(a, at + (k ? k - half : half), x + k);
  }
}
// Adds what stands in such a row.
template <int N, class A> DEVICE void plus_row(Sums<N> &x, const A &a, u64 at, u32 r) {
  real y[N];
  load_turned<N>(y, a, at, by_halves<N>() && r & 1 ? N / 2 : 0);
  turned<N>(y, r);
UNROLL
  for (int k = 0; k < N; k++) x.v[k] += y[k];
}
// Writes such a row.
template <int N, class A> DEVICE void store_row(const A &a, u64 at, const real *x, u32 r) {
  real y[N];
UNROLL
  for (int k = 0; k < N; k++) y[k] = x[k];
  u32 half = turned<N>(y, r);
  store_turned<N>(a, at, y, half);
}
// A last word that needs numbers of device memory: `early` asks for them (into Sums of the same width) where the product begins, so that they are there
// when it ends.
template <class E, class F> struct WithEarly {
  E early;
  F done;
  template <int N> METHOD void operator()(u32 r, u32 c, Sums<N> x) const { done(r, c, x, early(r, c, Sums<N>{})); }
};
template <class E, class F> DEVICE WithEarly<E, F> with_early(E early, F done) { return {early, done}; }
template <int N, class D> DEVICE Sums<N> early_of(const D &, u32, u32) { return {}; }
template <int N, class E, class F> DEVICE Sums<N> early_of(const WithEarly<E, F> &d, u32 r, u32 c) { return d.early(r, c, Sums<N>{}); }
template <int N, class D> DEVICE void done_of(const D &done, u32 r, u32 c, const Sums<N> &x, const Sums<N> &) { done(r, c, x); }
template <int N, class E, class F> DEVICE void done_of(const WithEarly<E, F> &d, u32 r, u32 c, const Sums<N> &x, const Sums<N> &asked) { d.done(r, c, x, asked); }
// A last word that is told of one element at a time.
template <class F> struct Each {
  F f;
  template <int N> METHOD void operator()(u32 r, u32 c, const Sums<N> &x) const {
UNROLL
    for (int k = 0; k < N; k++) f(r, c + k, x.v[k]);
  }
};
template <class F> DEVICE Each<F> each(F f) { return {f}; }
// The other way: one sum as Sums.
template <class F> struct Alone {
  F f;
  METHOD void operator()(u32 r, u32 c, real x) const { f(r, c, Sums<1>{{x}}); }
};
template <class F> DEVICE Alone<F> alone(F f) { return {f}; }

// Numbers from k on to where all multiprocessors find them sooner than in device memory (a line of the cache of as many as LINE has), while the thread
// goes on. No more than advice.
#define LINE (128 / sizeof(real))
#if defined(WEIR_CUDA)
template <class T> DEVICE void ask_ahead(T *from, u64 k) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from + k)); }
#else
template <class A> DEVICE void ask_ahead(const A &, u64) {}
#endif

// 16 bytes from device memory to shared memory, at multiples of 16 bytes both. Tensor cores' chips make such a copy while the thread goes on
// (AHEAD, shape.h); elsewhere it is made at once. `copies_done` waits for the thread's own; others see them behind a barrier.
#if defined(WEIR_CUDA) && __CUDA_ARCH__ >= 800
template <class T> DEVICE void copy_ahead(T *to, u32 at, const T *from, u64 k) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(u32(__cvta_generic_to_shared(to + at))), "l"(from + k) : "memory");
}
DEVICE void copies_done() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#elif defined(WEIR_HOST)
// As late as can be: until then the place holds no number. (The watch tells of those who still read what it held before.)
struct Later {
  LOCAL(real) to;
  IN(real) from;
  u32 at;
  u64 k;
};
struct Waiting {
  u32 launch, block, count;
  Later copies[64];
};
static Waiting waiting_copies[THREADS];
template <class T> DEVICE void copy_ahead(LOCAL(real) to, u32 at, IN(real) from, u64 k) {
  Waiting &w = waiting_copies[thread()];
  if (w.launch != weir::state.launch || w.block != block()) w.count = 0;
  if (w.count == 64) weir::fault("too many copies on their way", w.count, 64);
  w.launch = weir::state.launch;
  w.block = block();
  Later &copy = w.copies[w.count++];
  weir::state.copies++;
  copy.to = to, copy.from = from, copy.at = at, copy.k = k;
  real none[16 / sizeof(real)];
  for (u32 j = 0; j < 16 / sizeof(real); j++) none[j] = real(__builtin_nan(""));
  store<16 / sizeof(real)>(to, at, none);
}
DEVICE void copies_done() {
  Waiting &w = waiting_copies[thread()];
  if (w.launch != weir::state.launch || w.block != block()) return;
  for (u32 c = 0; c < w.count; c++) {
    real x[16 / sizeof(real)];
    load_once<16 / sizeof(real)>(x, w.copies[c].from, w.copies[c].k);
    store<16 / sizeof(real)>(w.copies[c].to, w.copies[c].at, x);
  }
  weir::state.copies -= w.count;
  w.count = 0;
}
#else
template <class T, class A> DEVICE void copy_ahead(LOCAL(T) to, u32 at, const A &from, u64 k) {
  T x[16 / sizeof(T)];
  load<16 / sizeof(T)>(x, from, k);
  store<16 / sizeof(T)>(to, at, x);
}
DEVICE void copies_done() {}
#endif
