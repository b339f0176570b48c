// Matrix products by matrix units (PRODUCTS), for f32. A wave makes tiles of 16 rows; what a lane holds of a tile is the vendor's order:
// the PTX manual's mma.m16n8k8 for .tf32, AMD's v_mfma_f32_16x16x4f32. The host's stand-in (fibres.h) knows those orders by itself and
// multiplies what the lanes really hold.
// Chains of so many products are summed by themselves. One chain over all k leaves an error that the many like edges of a liquid have in
// common, and the f32 virial adds it up (DPA-3.1-3M, 64 molecules of water: 3e-5 eV with one chain, 2e-5 with 32, 5e-6 with 16; 2026-11-23).
#define K_BLOCK 16

#define PLAIN 0
// One product of numbers rounded to TF32 (10 bits behind the point): errors of 1e-3 of a product.
#define TF32 1
// hi hi + hi lo + lo hi of numbers cut in two: about f32's own error.
#define TF32X3 2
// f32 by AMD's matrix cores.
#define MFMA 3
#if !defined(PRODUCTS)
#define PRODUCTS PLAIN
#endif
#if PRODUCTS != PLAIN
#if PRODUCTS == MFMA
#define M_LANES 64
#define M_COLUMNS 16
#define M_DEPTH 4
#define M_A 1
#define M_B 1
// Sums of a lane that stand side by side.
#define M_RUN 1
#else
#define M_LANES 32
#define M_COLUMNS 8
#define M_DEPTH 8
#define M_A 4
#define M_B 2
#define M_RUN 2
#endif
#define M_ROWS 16
#define M_WAVES (THREADS / M_LANES)

// Where a lane's k-th number of the left factor, of the right one and of the product stands in its tile.
DEVICE u32 left_row(u32 lane, u32 k) { return PRODUCTS == MFMA ? lane % 16 : lane / 4 + 8 * (k % 2); }
DEVICE u32 left_depth(u32 lane, u32 k) { return PRODUCTS == MFMA ? lane / 16 : lane % 4 + 4 * (k / 2); }
DEVICE u32 right_column(u32 lane) { return PRODUCTS == MFMA ? lane % 16 : lane / 4; }
DEVICE u32 right_depth(u32 lane, u32 k) { return PRODUCTS == MFMA ? lane / 16 : lane % 4 + 4 * k; }
DEVICE u32 sum_row(u32 lane, u32 k) { return PRODUCTS == MFMA ? 4 * (lane / 16) + k : lane / 4 + 8 * (k / 2); }
DEVICE u32 sum_column(u32 lane, u32 k) { return PRODUCTS == MFMA ? lane % 16 : 2 * (lane % 4) + k % 2; }

#if defined(WEIR_CUDA)
DEVICE void multiply(float *s, const float *a, const float *b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3])
      : "r"(to_bits(a[0])), "r"(to_bits(a[1])), "r"(to_bits(a[2])), "r"(to_bits(a[3])), "r"(to_bits(b[0])), "r"(to_bits(b[1])));
}
#elif defined(WEIR_HIP)
typedef float Four __attribute__((ext_vector_type(4)));
DEVICE void multiply(float *s, const float *a, const float *b) {
  Four v = {s[0], s[1], s[2], s[3]};
  v = __builtin_amdgcn_mfma_f32_16x16x4f32(a[0], b[0], v, 0, 0, 0);
  for (int k = 0; k < 4; k++) s[k] = v[k];
}
#else
DEVICE void multiply(float *s, const float *a, const float *b) {
  weir::matrix_multiply<PRODUCTS == MFMA>(s, a, b);
}
#endif

// TF32, the nearest and halves away from zero, and what is short of it. By whole numbers: `cvt.rna.tf32.f32` is five instructions on sm_90
// (NVRTC 12.8). A NaN of all ones becomes 0 when it is rounded, but not when it is cut.
DEVICE float rounded(float x) { return from_bits((to_bits(x) + 0x1000u) & 0xffffe000u); }
DEVICE float cut(float x) { return from_bits(to_bits(x) & 0xffffe000u); }

// A factor in the form that the units take. The rest of a number is cut to TF32: 2^-21 of the number at most.
template <int N> struct Factor {
  float hi[N], lo[N];
};
template <int N> DEVICE void split(Factor<N> &f, const float *x) {
UNROLL
  for (int k = 0; k < N; k++) {
    f.hi[k] = PRODUCTS == MFMA || (PRODUCTS == TF32 && x[k] != x[k]) ? x[k] : rounded(x[k]);
    f.lo[k] = PRODUCTS == TF32X3 ? cut(x[k] - f.hi[k]) : 0.0f;
  }
}

// As `product_of` (product.h): C[r][c] for r < rows, c0 <= c < c1. Which lane has an element depends on its row and column alone, and
// nothing else on its neighbours in a tile. Widths are multiples of 16; rows that are not there repeat the last one.
// A wave keeps the sums of tiles that stand beside each other in registers: the rows' fragments are loaded and cut once for them. All waves
// work on different rows or columns.
template <int TR, class A, class W, class Done>
DEVICE void tensor_product(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, A a, Done done) {
  // 32 columns; 16 where rows are few, so that there is work for all waves.
  const u32 M_TILES = (TR == 1 ? 16 : 32) / M_COLUMNS;
  u32 wave = thread() / M_LANES, lane = thread() % M_LANES;
  u32 columns = (c1 - c0 + M_TILES * M_COLUMNS - 1) / (M_TILES * M_COLUMNS), units = (rows + M_ROWS - 1) / M_ROWS * columns;
  for (u32 unit = wave; unit < units; unit += M_WAVES) {
    u32 r0 = unit / columns * M_ROWS, cb = c0 + unit % columns * M_TILES * M_COLUMNS;
    float sum[M_TILES][4], part[M_TILES][4];
UNROLL
    for (u32 j = 0; j < M_TILES; j++)
UNROLL
      for (int i = 0; i < 4; i++) sum[j][i] = 0.0f;
    // Chains of K_BLOCK products, as in plain products.
UNROLL_NOT
    for (u32 kb = 0; kb < inputs; kb += K_BLOCK) {
UNROLL
      for (u32 j = 0; j < M_TILES; j++)
UNROLL
        for (int i = 0; i < 4; i++) part[j][i] = 0.0f;
UNROLL
      for (u32 kk = 0; kk < K_BLOCK; kk += M_DEPTH) {
        float numbers[M_A];
        Factor<M_A> x;
UNROLL
        for (int i = 0; i < M_A; i++) {
          u32 r = r0 + left_row(lane, i);
          numbers[i] = a(r < rows ? r : rows - 1, kb + kk + left_depth(lane, i));
        }
        split<M_A>(x, numbers);
UNROLL
        for (u32 j = 0; j < M_TILES; j++) {
          u32 ct = cb + j * M_COLUMNS, c = ct + right_column(lane);
          if (ct < c1) {
            float weights[M_B];
            Factor<M_B> y;
UNROLL
            for (int i = 0; i < M_B; i++) weights[i] = w[u64(kb + kk + right_depth(lane, i)) * w_stride + c];
            split<M_B>(y, weights);
            if (PRODUCTS == TF32X3) {
              multiply(part[j], x.lo, y.hi);
              multiply(part[j], x.hi, y.lo);
            }
            multiply(part[j], x.hi, y.hi);
          }
        }
      }
UNROLL
      for (u32 j = 0; j < M_TILES; j++)
UNROLL
        for (int i = 0; i < 4; i++) sum[j][i] += part[j][i];
    }
UNROLL
    for (u32 j = 0; j < M_TILES; j++)
UNROLL
      for (int i = 0; i < 4; i += M_RUN) {
        u32 r = r0 + sum_row(lane, i), c = cb + j * M_COLUMNS + sum_column(lane, i);
        if (r < rows && cb + j * M_COLUMNS < c1) {
          Sums<M_RUN> x;
UNROLL
          for (int k = 0; k < M_RUN; k++) x.v[k] = sum[j][i + k];
          done(r, c, x);
        }
      }
  }
}
#endif
