// Matrix products of a block: rows of a tile times a weight matrix in device memory. Every element is one fixed sequence of fused
// multiply-adds over k from zero, whatever rows stand beside it; what is added to it and where it goes is the caller's last word.

// Rows are spread over LANES_R groups of threads, columns over the others; a thread makes TR x TC elements at a time.
#define LANES_C 16
#define LANES_R (THREADS / LANES_C)
#define TC 4

// C[r][c] = sum_k a(r, k) w[k w_stride + c] for r < rows, c0 <= c < c1; `done(r, c, sum)` for each, by one thread. K rows of w.
template <class T, int TR, class A, class W, class Done>
DEVICE void product_of(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, A a, Done done) {
  u32 tr = thread() / LANES_C, tc = thread() % LANES_C;
  for (u32 r0 = tr; r0 < rows; r0 += LANES_R * TR) {
    for (u32 cb = c0; cb < c1; cb += LANES_C * TC) {
      T sum[TR][TC], part[TR][TC];
UNROLL
      for (int i = 0; i < TR; i++)
UNROLL
        for (int j = 0; j < TC; j++) sum[i][j] = T(0);
      for (u32 kb = 0; kb < inputs; kb += K_BLOCK) {
        u32 end = kb + K_BLOCK < inputs ? kb + K_BLOCK : inputs;
UNROLL
        for (int i = 0; i < TR; i++)
UNROLL
          for (int j = 0; j < TC; j++) part[i][j] = T(0);
UNROLL_SOME
        for (u32 k = kb; k < end; k++) {
          T x[TR], y[TC];
UNROLL
          for (int i = 0; i < TR; i++) {
            u32 r = r0 + i * LANES_R;
            x[i] = r < rows ? a(r, k) : T(0);
          }
UNROLL
          for (int j = 0; j < TC; j++) {
            u32 c = cb + tc + j * LANES_C;
            y[j] = c < c1 ? w[u64(k) * w_stride + c] : T(0);
          }
UNROLL
          for (int i = 0; i < TR; i++)
UNROLL
            for (int j = 0; j < TC; j++) part[i][j] = fma_(x[i], y[j], part[i][j]);
        }
UNROLL
        for (int i = 0; i < TR; i++)
UNROLL
          for (int j = 0; j < TC; j++) sum[i][j] += part[i][j];
      }
UNROLL
      for (int i = 0; i < TR; i++)
UNROLL
        for (int j = 0; j < TC; j++) {
          u32 r = r0 + i * LANES_R, c = cb + tc + j * LANES_C;
          if (r < rows && c < c1) done(r, c, sum[i][j]);
        }
    }
  }
}

// A left factor in shared memory. Rows lie PAD numbers further apart than they are wide (all widths are multiples of 16): else rows of one
// column, which lanes of a wave read together, would share a bank of that memory.
#define PAD 4
struct Factors {
  enum { WHOLE = false };
  LOCAL(real) at;
  u32 stride;
};
// One that has room for ROWS rows: if they fill tiles of matrix units, rows behind the last are read too, whatever stands there, because no
// other row sees them. (Not on the host, whose memory is watched for reads of what nobody wrote.)
template <u32 ROWS> struct FactorsOf {
#if defined(WEIR_HOST)
  enum { WHOLE = false };
#else
  enum { WHOLE = ROWS % 16 == 0 };
#endif
  LOCAL(real) at;
  u32 stride;
};
// One in device memory.
struct FarFactors {
  enum { WHOLE = false };
  HANDED(const real) at;
  u32 stride;
};

// As `product_of`, by accesses four numbers wide. A thread makes TR x 4 elements, of rows LR apart and of columns that stand together; LC
// groups of columns: 8 where the columns are no multiple of 64. Rows that are not there repeat the last one. Widths are multiples of 16.
template <int TR, int LC, class A, class W, class Done>
DEVICE void product_rows(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, const A &a, Done done) {
  const u32 LR = THREADS / LC;
  u32 tr = thread_anew() / LC, tc = thread_anew() % LC * 4;
  for (u32 r0 = tr; r0 < rows; r0 += LR * TR) {
    u32 row[TR];
UNROLL
    for (int i = 0; i < TR; i++) {
      u32 r = r0 + i * LR;
      row[i] = (r < rows ? r : rows - 1) * a.stride;
    }
    for (u32 c = c0 + tc; c < c1; c += LC * 4) {
      real sum[TR][4], part[TR][4];
UNROLL
      for (int i = 0; i < TR; i++)
UNROLL
        for (int j = 0; j < 4; j++) sum[i][j] = real(0);
UNROLL_NOT
      for (u32 kb = 0; kb < inputs; kb += K_BLOCK) {
UNROLL
        for (int i = 0; i < TR; i++)
UNROLL
          for (int j = 0; j < 4; j++) part[i][j] = real(0);
UNROLL_TWO
        for (u32 kk = 0; kk < K_BLOCK; kk += 4) {
          real x[TR][4];
UNROLL
          for (int i = 0; i < TR; i++) load<4>(x[i], a.at, row[i] + kb + kk);
UNROLL
          for (u32 k = 0; k < 4; k++) {
            real y[4];
            load<4>(y, w, u64(kb + kk + k) * w_stride + c);
UNROLL
            for (int i = 0; i < TR; i++)
UNROLL
              for (int j = 0; j < 4; j++) part[i][j] = fma_(x[i][k], y[j], part[i][j]);
          }
        }
UNROLL
        for (int i = 0; i < TR; i++)
UNROLL
          for (int j = 0; j < 4; j++) sum[i][j] += part[i][j];
      }
UNROLL
      for (int i = 0; i < TR; i++)
        if (r0 + i * LR < rows) done(r0 + i * LR, c, Sums<4>{{sum[i][0], sum[i][1], sum[i][2], sum[i][3]}});
    }
  }
}

// A product with weights that matrix units may multiply. TR: rows of a thread; LC: groups of columns, of a plain product.
template <int TR, int LC = LANES_C, int TALL = 2, class A, class W, class Done>
DEVICE void product(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, const A &a, Done done) {
#if PRODUCTS != PLAIN
  tensor_product<TR, TALL, false, false>(rows, inputs, c0, c1, w, w_stride, a, done);
#else
  product_rows<TR, LC>(rows, inputs, c0, c1, w, w_stride, a, done);
#endif
}

// The same of AP columns, with weights whose columns lie apart.
#define COLUMNS_APART (TENSOR_CORES && AP % 32 == 0)
template <int TR, int LC, class A, class W, class Done>
DEVICE void product_apart(u32 rows, u32 inputs, W w, const A &a, Done done) {
#if PRODUCTS != PLAIN
  tensor_product<TR, 1, false, false, COLUMNS_APART>(rows, inputs, 0, AP, w, AP, a, done);
#else
  product_rows<TR, LC>(rows, inputs, 0, AP, w, AP, a, done);
#endif
}

// The same of few rows: matrix units have tiles of 16 columns, so that there is work for all waves, and weights in the order for them.
template <int TR, int LC = LANES_C, class A, class W, class Done>
DEVICE void product_of_few(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, const A &a, Done done) {
#if PRODUCTS != PLAIN
  tensor_product<1, 1, true, false>(rows, inputs, c0, c1, w, w_stride, a, done);
#else
  product_rows<TR, LC>(rows, inputs, c0, c1, w, w_stride, a, done);
#endif
}

// The same of rows that fill two tiles: both by the wave that has read their weights, which are as many bytes as first caches hold.
template <int TR, int LC = LANES_C, class A, class W, class Done>
DEVICE void product_of_pairs(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, const A &a, Done done) {
#if TENSOR_CORES
  tensor_product<1, 2, true, false>(rows, inputs, c0, c1, w, w_stride, a, done);
#else
  product<TR, LC, 1>(rows, inputs, c0, c1, w, w_stride, a, done);
#endif
}

// What becomes of pre-activations in columns of two uses: `begin` adds to them what does not depend on the product, `done` has the activations and
// their slopes in columns before `border`, `rest` those from there on, with what `early` has asked for before the activations (Sums of the same width).
template <class B, class F, class G, class E> struct Parted {
  u32 border;
  B begin;
  F done;
  G rest;
  E early;
  template <int N> METHOD void operator()(u32 r, u32 c, Sums<N> x) const {
    real slopes[N];
    if (c < border) {
      x = begin(r, c, x);
      activate<N>(x.v, slopes);
      done(r, c, x, slopes);
    } else {
      Sums<N> asked = early(r, c, x);
      x = begin(r, c, x);
      activate<N>(x.v, slopes);
      rest(r, c, x, slopes, asked);
    }
  }
};

// Products of columns of two uses, border - c0 and c1 - border of them, either of which may be none, and their activations. Matrix units make all of
// them in one go, of halves those of both uses together where the first has twice as many (HALF_AS_MANY); plain products, whose threads have other
// columns, one after the other.
template <int TR, int TR_REST, int LC_REST, int TALL, bool HALF_AS_MANY, bool ROWS_ANEW = false, class A, class W, class Begin, class Done, class Rest, class Early>
DEVICE void product_of_two(u32 rows, u32 inputs, u32 c0, u32 border, u32 c1, W w, u32 w_stride, const A &a, Begin begin, Done done, Rest rest, Early early) {
#if PRODUCTS == F16X3
  if (HALF_AS_MANY) {
    tensor_product_of_two<TALL, ROWS_ANEW>(rows, inputs, border, w, w_stride, a, LAMBDA(u32 r, bool both, u32 c, Sums<4> *x, u32 more, Sums<2> *y) {
      real v[12], slopes[12];
      Sums<2> asked[2];
      bool some = c0 < border, others = border < c1;
UNROLL
      for (int i = 0; i < 2; i++)
        if (others) asked[i] = early(i && both ? r + 8 : r, more, y[i]);
UNROLL
      for (int i = 0; i < 2; i++) {
        u32 row = i && both ? r + 8 : r;
        if (some) x[i] = begin(row, c, x[i]);
        if (others) y[i] = begin(row, more, y[i]);
UNROLL
        for (int j = 0; j < 6; j++) v[6 * i + j] = j < 4 ? x[i].v[j] : y[i].v[j - 4];
      }
      if (FactorsOf<16>::WHOLE || both)
        activate<12>(v, slopes);
      else
        activate<6>(v, slopes);
UNROLL
      for (int i = 0; i < 2; i++) {
        if (i && !both) continue;
UNROLL
        for (int j = 0; j < 6; j++) (j < 4 ? x[i].v[j] : y[i].v[j - 4]) = v[6 * i + j];
        if (some) done(r + 8 * i, c, x[i], slopes + 6 * i);
        if (others) rest(r + 8 * i, more, y[i], slopes + 6 * i + 4, asked[i]);
      }
    });
    return;
  }
#endif
#if PRODUCTS != PLAIN
  tensor_product<TR, TALL, false, ROWS_ANEW>(rows, inputs, c0, c1, w, w_stride, a, Parted<Begin, Done, Rest, Early>{border, begin, done, rest, early});
#else
  product_rows<TR, LANES_C>(rows, inputs, c0, border, w, w_stride, a, LAMBDA(u32 r, u32 c, auto x) {
    real slopes[x.N];
    x = begin(r, c, x);
    activate<x.N>(x.v, slopes);
    done(r, c, x, slopes);
  });
  product_rows<TR_REST, LC_REST>(rows, inputs, border, c1, w, w_stride, a, LAMBDA(u32 r, u32 c, auto x) {
    real slopes[x.N];
    auto asked = early(r, c, x);
    x = begin(r, c, x);
    activate<x.N>(x.v, slopes);
    rest(r, c, x, slopes, asked);
  });
#endif
}

// Where inputs or columns are the EC numbers of an edge that angles see, which are no multiple of 16 in some models. FEW: `product_of_few`.
template <int TR, int LC, bool FEW, int TALL = 2, class A, class W, class Done>
DEVICE void product_seen(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, const A &a, Done done) {
#if EC % 16
  product_of<real, 1>(rows, inputs, c0, c1, w, w_stride, LAMBDA(u32 r, u32 k) { return real(a.at[r * a.stride + k]); }, alone(done));
#else
  if (FEW)
    product_of_few<TR, LC>(rows, inputs, c0, c1, w, w_stride, a, done);
  else
    product<PRODUCTS != PLAIN ? 2 : TR, LC, TALL>(rows, inputs, c0, c1, w, w_stride, a, done);
#endif
}
