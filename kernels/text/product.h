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
template <int TR, class A, class W, class Done>
DEVICE void product(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, A a, Done done) {
#if PRODUCTS != PLAIN
  tensor_product(rows, inputs, c0, c1, w, w_stride, a, done);
#else
  product_of<real, TR>(rows, inputs, c0, c1, w, w_stride, a, done);
#endif
}
