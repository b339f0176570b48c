// PTX's instructions, for kernels that were made from PTX (write.rs).
namespace machine {

static const float NOTHING = get<float>(~0u);
static const double NOTHING_DOUBLE = get<double>(~u64(0));
// A number in memory that others see as other numbers.
template <class T> using May __attribute__((may_alias)) = T;

template <class T> static inline T times(T a, T b) { return T(u32(a) * u32(b)); }
template <class T> static inline T upper_half(T a, T b) {
  if constexpr (sizeof(T) == 8)
    return T((unsigned __int128)a * b >> 64);
  else
    return T((std::is_signed<T>::value ? u64(i64(a) * i64(b)) : u64(a) * u64(b)) >> 8 * sizeof(T));
}
template <class T> static inline T fused(T a, T b, T c) {
  if constexpr (sizeof(T) == 4)
    return __builtin_fmaf(a, b, c);
  else
    return __builtin_fma(a, b, c);
}
// Over zero all ones (the manual leaves them open).
template <class T> static inline T over(T a, T b) {
  if (b == 0) return T(~T(0));
  // The least number's negative is itself.
  return std::is_signed<T>::value && b == T(-1) ? T(0 - u64(a)) : T(a / b);
}
template <class T> static inline T rest(T a, T b) { return b == 0 ? a : std::is_signed<T>::value && b == T(-1) ? T(0) : T(a % b); }
template <class T> static inline T inverse(T a) { return T(1) / a; }
template <class T> static inline T root(T a) { return T(sizeof(T) == 4 ? __builtin_sqrtf(float(a)) : __builtin_sqrt(double(a))); }
template <class T> static inline T magnitude(T a) { return T(__builtin_fabs(double(a))); }
// Of a number and none the number.
template <class T> static inline T least(T a, T b) {
  if constexpr (std::is_floating_point<T>::value)
    return a != a ? b : b != b ? a : a == b ? (__builtin_signbit(a) ? a : b) : a < b ? a : b;
  else
    return a < b ? a : b;
}
template <class T> static inline T most(T a, T b) {
  if constexpr (std::is_floating_point<T>::value)
    return a != a ? b : b != b ? a : a == b ? (__builtin_signbit(a) ? b : a) : a > b ? a : b;
  else
    return a > b ? a : b;
}
// Shifts by more than the width leave nothing, or the sign.
template <class T> static inline T left(T a, u32 by) { return by >= 8 * sizeof(T) ? T(0) : T(u64(a) << by); }
template <class T> static inline T right(T a, u32 by) {
  const u32 most = 8 * sizeof(T) - 1;
  return by <= most ? T(a >> by) : std::is_signed<T>::value ? T(a >> most) : T(0);
}
// The lowest `count` bits of a, in b from bit `from` on.
template <class T> static inline T inserted(T a, T b, u32 from, u32 count) {
  const u32 width = 8 * sizeof(T);
  from &= 255, count &= 255;
  if (from >= width || count == 0) return b;
  u64 ones = count >= 64 ? ~u64(0) : (u64(1) << count) - 1, mask = ones << from;
  return T((b & ~mask) | (u64(a) << from & mask));
}
// Each byte one of the eight of b and a, or eight times its sign.
template <class T> static inline u32 bytes_of(u32 a, u32 b, u32 which) {
  u64 all = u64(b) << 32 | a;
  u32 out = 0;
  for (u32 k = 0; k < 4; k++) {
    u32 w = which >> 4 * k & 15, byte = u32(all >> 8 * (w & 7)) & 255;
    if (w & 8) byte = byte & 128 ? 255 : 0;
    out |= byte << 8 * k;
  }
  return out;
}
// The nearest whole number that there is; of no number the highest bit where one of both has 64, else 0.
template <class T, class F> static inline T towards_zero(F x) {
  const F low = F(std::numeric_limits<T>::min()), high = F(std::numeric_limits<T>::max());
  if (x != x) return sizeof(F) == 8 || sizeof(T) == 8 ? T(u64(1) << (8 * sizeof(T) - 1)) : T(0);
  return x <= low ? std::numeric_limits<T>::min() : x >= high ? std::numeric_limits<T>::max() : T(x);
}
// Units for special functions: as inexact as they may be (names.h), and what is below normal numbers is zero on both sides.
static inline float flushed(float x) { return x > -1.17549435e-38f && x < 1.17549435e-38f ? __builtin_copysignf(0.0f, x) : x; }
template <class T> static inline float power(float x) { return flushed(power_of_two(flushed(x))); }
template <class T> static inline float estimated(float x) { return flushed(estimate(flushed(x))); }

const u32 WAVE = 32;
// Copies on their way.
struct Copy {
  u32 to;
  u64 from;
};
struct Copies {
  u32 count;
  Copy all[64];
};
static Copies copies[weir::MOST_THREADS];

static void begin_ptx(const weir::Raw *args, u32 count) {
  copies[state.thread].count = 0;
  begin(args, count, WAVE, state.shared);
}
static void end(u32 line) {
  if (copies[state.thread].count) fault(line, "a thread ends with copies on their way");
}

static u32 added(u32 line, u64 address, u32 value) {
  sums(line, address);
  char *p = (char *)(uintptr_t)address;
  u32 old = *(May<u32> *)p;
  *(May<u32> *)p = old + value;
  return old;
}

// `shfl.sync.idx`: what lane `from` of each segment has.
static u32 of_lane(u32 line, u32 value, u32 from, u32 bounds, u32 members, bool &there) {
  if (members != ~0u) fault(line, "a part of a wave exchanges numbers");
  const Met *all = meet(line, &value, 1, WAVE);
  u32 lane = state.thread % 32, segment = bounds >> 8 & 31, last = (lane & segment) | (bounds & 31 & ~segment);
  u32 j = (lane & segment) | (from & 31 & ~segment);
  there = j <= last;
  return all[there ? j : lane].bits[0];
}

// `mma.m16n8k8` in TF32: lanes hold a tile as the manual's section on it says; bits behind TF32's are left out.
struct Tile {
  float d[4];
};
struct Left {
  u32 a[4];
};
struct Right {
  u32 b[2];
};
// `factors` are x and y of the depth k: of the left factor the group of four lanes is the row, of the right one the column.
template <u32 DEPTHS, class Factors> static inline Tile tile_product(u32 line, Left a, Right b, Tile c, Factors factors) {
  u32 bits[6] = {a.a[0], a.a[1], a.a[2], a.a[3], b.b[0], b.b[1]};
  const Met *all = meet(line, bits, 6, WAVE);
  u32 lane = state.thread % 32;
  Tile d;
  for (u32 i = 0; i < 4; i++) {
    u32 row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
    double products[DEPTHS];
    for (u32 k = 0; k < DEPTHS; k++) products[k] = factors(all + row % 8 * 4, row / 8, all + column * 4, k);
    d.d[i] = weir::cut_sum<DEPTHS / 2>(weir::cut_sum<DEPTHS / 2>(c.d[i], products), products + DEPTHS / 2);
  }
  return d;
}
static Tile product(u32 line, Left a, Right b, Tile c) {
  return tile_product<8>(line, a, b, c, [](const Met *left, u32 lower, const Met *right, u32 k) {
    // The place in the group is the depth.
    u32 x = left[k % 4].bits[lower + k / 4 * 2], y = right[k % 4].bits[4 + k / 4];
    float p = get<float>(x), q = get<float>(y);
    return double(p == p ? get<float>(x & 0xffffe000u) : p) * double(q == q ? get<float>(y & 0xffffe000u) : q);
  });
}
// `mma.m16n8k16` of halves, two in a register: of eight depths a lane has two that follow each other, the next eight are in the next register.
static Tile product_of_halves(u32 line, Left a, Right b, Tile c) {
  return tile_product<16>(line, a, b, c, [](const Met *left, u32 lower, const Met *right, u32 k) {
    u32 x = left[k % 8 / 2].bits[lower + k / 8 * 2] >> k % 2 * 16, y = right[k % 8 / 2].bits[4 + k / 8] >> k % 2 * 16;
    return weir::half(x & 0xffff) * weir::half(y & 0xffff);
  });
}
// The nearest half of a number, ties to even; two of them, the second in the lower bits.
static inline u32 half_of(float x) {
  u32 sign = get<u32>(x) >> 16 & 0x8000;
  double a = __builtin_fabs(double(x));
  if (a != a) return 0x7fff;
  if (a >= 65520.0) return sign | 0x7c00;
  int e;
  __builtin_frexp(a, &e);
  // Multiples of 2^-24 below 2^-14, of 2^-10 of the power of two else.
  int unit = a == 0.0 || e - 11 < -24 ? -24 : e - 11;
  u32 m = u32(__builtin_rint(__builtin_ldexp(a, -unit)));
  // What is rounded up to the next power of two is the next exponent's 1024.
  return sign | (m + (unit == -24 ? 0 : u32(unit + 24) << 10));
}
static inline u32 two_halves(float high, float low) { return half_of(high) << 16 | half_of(low); }
static inline float of_half(u16 h) { return float(weir::half(h)); }

// `cp.async`, as late as can be: until then the place holds no number.
static void copy_later(u32 line, u64 to, u64 from) {
  Copies &mine = copies[state.thread];
  memset(shared<WRITE>(line, to, 16, 16), 255, 16);
  global<READ>(line, from, 16, 16);
  if (mine.count == 64) fault(line, "too many copies on their way");
  mine.all[mine.count++] = {u32(to), from};
}
static void copies_arrive(u32 line) {
  Copies &mine = copies[state.thread];
  for (u32 k = 0; k < mine.count; k++) memcpy(shared<WRITE>(line, mine.all[k].to, 16, 16), global<READ>(line, mine.all[k].from, 16, 16), 16);
  mine.count = 0;
}

} // namespace machine
