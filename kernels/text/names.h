// The names of prelude.h on the host.
#if defined(WEIR_HOST)
#if defined(WEIR_LANES)
// The place of an access is that of the text that asks for it.
#define DEVICE static inline __attribute__((always_inline))
#define METHOD inline __attribute__((always_inline))
#else
#define DEVICE static inline
#define METHOD inline
#endif
#define LAMBDA [&]
#if defined(WEIR_UNCHECKED)
// Sums of a product in registers. Under watch the text would be too long for the compiler.
#define UNROLL _Pragma("GCC unroll 8")
#else
#define UNROLL
#endif
#define UNROLL_SOME
#define UNROLL_TWO
#define UNROLL_NOT
#define KERNEL(name) static void name
#define KERNEL_OF_WIDE_ROWS KERNEL
#define KERNEL_OF_FOUR KERNEL
#define EXPORT(name)                                                                                                                       \
  extern "C" void weir_kernel_##name(const weir::Raw *a) { weir::call(name, a); }                                                          \
  extern "C" u32 weir_arity_##name() { return weir::arity(name); }                                                                         \
  extern "C" u64 weir_written_##name() { return weir::arguments<weir::Writes>(name); }                                                     \
  extern "C" u64 weir_handed_##name() { return weir::arguments<weir::Handed>(name); }
#if defined(WEIR_UNCHECKED)
// Plain pointers: nothing is checked or counted, ten times as fast.
#define IN(T) const T *
#define OUT(T) T *
#define HANDED(T) T *
#define LOCAL(T) T *
template <class T> static inline T *shared_at(u32 bytes) { return (T *)(weir::state.shared + bytes); }
#define COUNT(what)
#else
#define IN(T) weir::Global<const T>
#define OUT(T) weir::Global<T>
#define HANDED(T) weir::Global<T, true>
#define LOCAL(T) weir::Local<T>
template <class T> static inline weir::Local<T> shared_at(u32 bytes) { return {bytes}; }
#define COUNT(what) weir::what++
// N numbers that stand together, at a multiple of their bytes (16 at most).
template <int N, class T, class A> DEVICE void load_run(T *x, const A &a, u64 at) { a.template read_run<N>(x, at); }
template <int N, class T, class A> DEVICE void store_run(const A &a, u64 at, const T *x) { a.template write_run<N>(at, x); }
#endif
static inline u32 thread() { return weir::state.thread; }
static inline u32 thread_anew() { return thread(); }
template <class A> DEVICE u32 read_anew(const A &a, u32 at) { return a[at]; }
static inline float larger(float a, float b) { return __builtin_fmaxf(a, b); }
static inline double larger(double a, double b) { return __builtin_fmax(a, b); }
static inline u32 block() { return weir::state.block; }
static inline u32 blocks() { return weir::state.run->grid; }
static inline u32 uniform(u32 x) { return x; }
static inline u32 block_anew() { return block(); }
static inline u32 blocks_anew() { return blocks(); }
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
template <bool HANDED> static inline u32 atomic_add(const weir::Global<u32, HANDED> &a, u64 k, u32 value) {
  if (k >= a.count) weir::fault("atomic sum out of bounds", k, a.count);
  u64 at = a.address(k);
  if (a.of(at).written[at / 4 % 4] == 0) weir::fault("atomic sum into memory that nobody wrote", k, a.count);
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
// What units for special functions return, with the largest errors that their makers name (one ulp, two ulps): the worst that can be, in a
// direction that the argument's last bits decide.
static inline float disturbed(float y, float x, u32 most) {
  if (y > 0.0f && y < 1.17549435e-38f) return 0.0f;
  if (!(y > 0.0f && y < 1e38f)) return y;
  return from_bits(to_bits(y) + (to_bits(x) * 2654435761u >> 7) % 2 * 2 * most - most);
}
static inline float estimate(float x) { return disturbed(1.0f / x, x, 1); }
static inline float power_of_two(float x) { return disturbed(__builtin_exp2f(x), x, 2); }
#define COUNT_ACTIVATION() COUNT(activations)
#endif
