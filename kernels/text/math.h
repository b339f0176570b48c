// Elementary functions of our own, so that no device library is needed and all targets round alike; activations (specification 3).

// exp(r) - 1 for |r| <= ln 2 / 2 + a little: Taylor's polynomial, whose first left-out term is below an ulp there.
DEVICE double expm1_small(double r) {
  double p = 1.0 / 6227020800.0;
  p = fma_(p, r, 1.0 / 479001600.0);
  p = fma_(p, r, 1.0 / 39916800.0);
  p = fma_(p, r, 1.0 / 3628800.0);
  p = fma_(p, r, 1.0 / 362880.0);
  p = fma_(p, r, 1.0 / 40320.0);
  p = fma_(p, r, 1.0 / 5040.0);
  p = fma_(p, r, 1.0 / 720.0);
  p = fma_(p, r, 1.0 / 120.0);
  p = fma_(p, r, 1.0 / 24.0);
  p = fma_(p, r, 1.0 / 6.0);
  p = fma_(p, r, 0.5);
  return fma_(p * r, r, r);
}
DEVICE float expm1_small(float r) {
  float p = 1.0f / 5040.0f;
  p = fma_(p, r, 1.0f / 720.0f);
  p = fma_(p, r, 1.0f / 120.0f);
  p = fma_(p, r, 1.0f / 24.0f);
  p = fma_(p, r, 1.0f / 6.0f);
  p = fma_(p, r, 0.5f);
  return fma_(p * r, r, r);
}

// e^x: 2^k e^r with r = x - k ln 2. Clamped where the result is 0 or infinite in double precision.
DEVICE double exp_(double x) {
  x = x < -740.0 ? -740.0 : x > 709.0 ? 709.0 : x;
  const double magic = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer
  double k = fma_(x, 1.4426950408889634074, magic) - magic;
  double r = fma_(-k, 6.93147180369123816490e-01, x);
  r = fma_(-k, 1.90821492927058770002e-10, r);
  // Two factors, because 2^k alone may be below the normal numbers.
  int n = (int)k, half = n / 2;
  double a = from_bits((u64)(half + 1023) << 52), b = from_bits((u64)(n - half + 1023) << 52);
  return (1.0 + expm1_small(r)) * a * b;
}
// Between 2^-126 and 2^126, so that 2^k goes into the exponent as it stands: the low bits of x + magic are k.
DEVICE float exp_(float x) {
  x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
  const float magic = 12582912.0f; // 1.5 * 2^23
  float t = fma_(x, 1.44269504f, magic), k = t - magic;
  float r = fma_(-k, 6.93145752e-01f, x);
  r = fma_(-k, 1.42860677e-06f, r);
  return x != x ? x : from_bits(to_bits(1.0f + expm1_small(r)) + (to_bits(t) << 23));
}

DEVICE double sigmoid_(double x) { return reciprocal(1.0 + exp_(-x)); }
// By two instructions of the units for special functions, whose errors (three ulps of a number below 1) are as small as those of f32 sums: 2^x
// is 0 or infinite at the ends, and so the sigmoid 1 or 0.
DEVICE float sigmoid_(float x) { return estimate(1.0f + power_of_two(-1.44269504f * x)); }

template <class T> DEVICE T tanh_(T x) {
  T u = x < T(0) ? -x : x, t;
  if (u < T(0.17)) {
    T e = expm1_small(u + u);
    t = e * reciprocal(e + T(2));
  } else {
    // Beyond 20 the result is 1 in either precision.
    t = T(1) - T(2) * reciprocal(exp_(u > T(20) ? T(40) : u + u) + T(1));
  }
  return x < T(0) ? -t : t;
}

// ln(1 + t) for 0 <= t <= 1, through 2 artanh(t / (2 + t)).
template <class T> DEVICE T log1p_(T t) {
  T s = t * reciprocal(T(2) + t), q = s * s, p = T(0);
  for (int k = 37; k >= 1; k -= 2) p = fma_(p, q, T(1) / T(k));
  return T(2) * s * p;
}

// IEEE half by hand: nearest, ties to even; normal and subnormal. Too large a number becomes infinite.
DEVICE float of_half(u16 h) {
  u32 sign = u32(h & 0x8000u) << 16, e = (h >> 10) & 31u, m = h & 1023u;
  if (e == 0) {
    float f = float(m) * 5.9604644775390625e-08f;
    return sign ? -f : f;
  }
  return from_bits(u32(sign | (e == 31 ? 0x7f800000u | (m << 13) : ((e + 112u) << 23) | (m << 13))));
}
DEVICE u16 half_of(float x) {
  u32 b = to_bits(x), sign = (b >> 16) & 0x8000u, a = b & 0x7fffffffu;
  if (a >= 0x47800000u) return u16(sign | 0x7c00u);
  if (a < 0x38800000u) {
    // Below 2^-14: adding 1/2 rounds to multiples of 2^-24.
    u32 r = to_bits(from_bits(a) + 0.5f) - 0x3f000000u;
    return u16(sign | r);
  }
  u32 r = a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u;
  return u16(sign | (r >> 13));
}

// Value and slope of an activation. The value of what is no number is none, for that is how products tell of halves that are too large. `kind` is a constant of the source for the descriptor, a number for the fitting net.
enum { LINEAR = 0, TANH = 1, RELU = 2, RELU6 = 3, SIGMOID = 4, SOFTPLUS = 5, GELU = 6, SILU = 7, SILUT = 8 };
template <class T> struct Both {
  T value, slope;
};
template <class T> DEVICE Both<T> silu(T x) {
  T s = sigmoid_(x), value = x * s;
  return {value, fma_(value, T(1) - s, s)};
}
// silu below the threshold, tanh(k (x - threshold)) + c0 from there on, where k and c0 are silu's slope and value. tanh(z) is 2 sigmoid(2 z) - 1:
// one sigmoid serves both, without a branch that lanes of a wave would take apart.
template <class T> DEVICE Both<T> silut(T x, T threshold, T k, T c0) {
  bool beyond = x >= threshold;
  T s = sigmoid_(beyond ? (k + k) * (x - threshold) : x), part = (beyond ? T(4) * k : x) * s;
  return {beyond ? fma_(T(2), s, c0 - T(1)) : part, fma_(part, T(1) - s, beyond ? T(0) : s)};
}
template <class T> DEVICE Both<T> activation(int kind, double threshold, T x) {
  COUNT_ACTIVATION();
  if (kind == SILU) return silu(x);
  if (kind == SILUT) {
    double s = sigmoid_(threshold);
    return silut(x, T(threshold), T(s + threshold * s * (1.0 - s)), T(threshold * s));
  }
  if (kind == TANH) {
    T t = tanh_(x);
    return {t, T(1) - t * t};
  }
  if (kind == RELU) return {x <= T(0) ? T(0) : x, x > T(0) ? T(1) : T(0)};
  if (kind == RELU6) return {x < T(0) ? T(0) : x > T(6) ? T(6) : x, x > T(0) && x < T(6) ? T(1) : T(0)};
  if (kind == SIGMOID) {
    T s = sigmoid_(x);
    return {s, s * (T(1) - s)};
  }
  if (kind == SOFTPLUS) return {(x > T(0) ? x : T(0)) + log1p_(exp_(x > T(0) ? -x : x)), sigmoid_(x)};
  if (kind == GELU) {
    const T a = T(0.7978845608028654), b = T(0.044715);
    T t = tanh_(a * (x + b * x * x * x)), inner = a * (T(1) + T(3) * b * x * x);
    return {T(0.5) * x * (T(1) + t), T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * inner};
  }
  return {x, T(1)};
}

// The descriptor's, with its constants.
DEVICE Both<real> act(real x) {
#if ACTIVATION == 8
  COUNT_ACTIVATION();
  return silut(x, real(ACTIVATION_THRESHOLD), real(ACTIVATION_SLOPE), real(ACTIVATION_OFFSET));
#else
  return activation<real>(ACTIVATION, ACTIVATION_THRESHOLD, x);
#endif
}
// Of N pre-activations: values in place, and slopes. Most are below silut's threshold, where it is silu, with half of the instructions: a thread
// takes the long way only where one of its numbers is not. Same bits either way.
template <int N> DEVICE void activate(real *x, real *slope) {
#if ACTIVATION == 8
  // By pairs: one after the other they would wait for each other.
  real most[N];
UNROLL
  for (int j = 0; j < N; j++) most[j] = x[j];
UNROLL
  for (int n = N; n > 1; n -= n / 2)
UNROLL
    for (int j = 0; j < n / 2; j++) most[j] = larger(most[j], most[n - 1 - j]);
  if (!(most[0] >= real(ACTIVATION_THRESHOLD))) {
UNROLL
    for (int j = 0; j < N; j++) {
      COUNT_ACTIVATION();
      Both<real> z = silu(x[j]);
      x[j] = z.value;
      slope[j] = z.slope;
    }
    return;
  }
#endif
UNROLL
  for (int j = 0; j < N; j++) {
    Both<real> z = act(x[j]);
    x[j] = z.value;
    slope[j] = z.slope;
  }
}
// Values alone.
template <int N> DEVICE void activate(real *x) {
  real slope[N];
  activate<N>(x, slope);
}
