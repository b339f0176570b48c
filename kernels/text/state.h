// How states (features that enter a layer) lie in memory: in the compute type, or in fewer bits. Adjoints are always `real`.
#if STORE == 0
typedef real stored;
DEVICE real unpack(stored x) { return x; }
DEVICE stored pack(real x) { return x; }
#elif STORE == 1
typedef float stored;
DEVICE real unpack(stored x) { return real(x); }
DEVICE stored pack(real x) { return float(x); }
#elif STORE == 2
// Too large a number becomes infinite, which `beyond` tells.
typedef u16 stored;
DEVICE real unpack(stored h) { return real(of_half(h)); }
DEVICE stored pack(real x) { return half_of(float(x)); }
#else
typedef u16 stored;
DEVICE real unpack(stored h) { return real(from_bits(u32(h) << 16)); }
DEVICE stored pack(real x) {
  u32 b = to_bits(float(x));
  // Of all ones would become zero.
  if (x != x) return 0x7fc0;
  return stored((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}
#endif

// Largest magnitude that a form holds.
DEVICE bool beyond(real x) {
#if STORE == 2
  return !(x < real(65520) && x > real(-65520));
#else
  return false;
#endif
}

// N states that stand together.
template <int N> DEVICE void load_stored(real *x, IN(stored) a, u64 at) {
  stored s[N];
  load<N>(s, a, at);
UNROLL
  for (int k = 0; k < N; k++) x[k] = unpack(s[k]);
}
template <int N> DEVICE void store_packed(OUT(stored) a, u64 at, const real *x, OUT(u16) too_large) {
  stored s[N];
UNROLL
  for (int k = 0; k < N; k++) {
    if (beyond(x[k])) too_large[0] = 1;
    s[k] = pack(x[k]);
  }
  store<N>(a, at, s);
}
