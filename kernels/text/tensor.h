// Matrix products by matrix units (PRODUCTS), for f32. A wave makes tiles of 16 rows; what a lane holds of a tile is the vendor's order:
// the PTX manual's mma.m16n8k8 for .tf32 and mma.m16n8k16 for .f16, AMD's v_mfma_f32_16x16x4f32. The host's stand-in (fibres.h) knows those
// orders by itself and multiplies what the lanes really hold.
// Chains of so many products are summed by themselves. One chain over all k leaves an error that the many like edges of a liquid have in
// common, and the f32 virial adds it up (DPA-3.1-3M, 64 molecules of water: 3e-5 eV with one chain, 2e-5 with 32, 5e-6 with 16; 2026-11-23).
#define K_BLOCK 16

// Factors are cut in two.
#define CUT (PRODUCTS == TF32X3 || PRODUCTS == F16X3)
// Whether all products have whole pairs of chains: no branch stands between the two of a pair then, and what both need is asked for together.
#define ALL_IN_PAIRS (NP % 32 == 0 && EP % 32 == 0 && AP % 32 == 0 && EC % 32 == 0)
// What weights are multiplied by so that halves are fine enough for them (`Writer::weights`); adjoints have a unit too, by the model (`fit`).
#define WEIGHT_UNIT (PRODUCTS == F16X3 ? 256.0f : 1.0f)
#if PRODUCTS != PLAIN
#if PRODUCTS == MFMA
#define M_LANES 64
#define M_COLUMNS 16
// Registers of a lane in one tile of the left factor, and in one of the right one; numbers of a lane in a row of a tile of the left factor.
#define M_A 1
#define M_B 1
#define M_TAKES 1
// Rows of a lane in a tile of the left factor; of a tile of sums its rows and its columns.
#define M_LEFT 1
#define M_DOWN 4
#define M_RUN 1
#else
#define M_LANES 32
#define M_COLUMNS 8
#define M_A 4
#define M_B 2
// Two halves in a register.
#define M_TAKES (PRODUCTS == F16X3 ? 4 : 2)
#define M_LEFT 2
#define M_DOWN 2
#define M_RUN 2
// Weights lie cut already and in the order in which lanes read them: for every step of M_DEPTHS depths what TF32 (or a half) has of them, then
// what is short of it, in blocks of eight columns; in a block two columns of four for each group of depths, then the other two, or where products are of
// few rows (FEW) two columns after the other (`Writer::weights`): what eight lanes read together lies in different banks either way.
#endif
#define M_ROWS 16
#define M_WAVES (THREADS / M_LANES)
// Depths of a tile.
#define M_DEPTHS (4 * M_TAKES)

// Where a lane is in a tile: its row of the left factor (one of them), its column of the right one, its group of depths; the k-th row of its
// sums, and their first column.
DEVICE u32 left_row(u32 lane, u32 k) { return PRODUCTS == MFMA ? lane % 16 : lane / 4 + 8 * k; }
DEVICE u32 right_column(u32 lane) { return PRODUCTS == MFMA ? lane % 16 : lane / 4; }
DEVICE u32 depths(u32 lane) { return PRODUCTS == MFMA ? lane / 16 : lane % 4; }
DEVICE u32 sum_row(u32 lane, u32 k) { return PRODUCTS == MFMA ? 4 * (lane / 16) + k : lane / 4 + 8 * k; }
DEVICE u32 sum_column(u32 lane) { return PRODUCTS == MFMA ? lane % 16 : 2 * (lane % 4); }

// s += a b of a tile, or s = a b where a chain STARTS. `LOOSE`: the left factor may have bits behind TF32's, which the units leave out or round
// away.
#if defined(WEIR_CUDA)
#if PRODUCTS == F16X3
#define TILE_PRODUCT "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#else
#define TILE_PRODUCT "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
#endif
template <bool LOOSE, bool STARTS> DEVICE void multiply(float *s, const float *a, const float *b) {
  if (STARTS) {
    asm volatile(TILE_PRODUCT " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
        : "=f"(s[0]), "=f"(s[1]), "=f"(s[2]), "=f"(s[3])
        : "r"(to_bits(a[0])), "r"(to_bits(a[1])), "r"(to_bits(a[2])), "r"(to_bits(a[3])), "r"(to_bits(b[0])), "r"(to_bits(b[1])), "f"(0.0f));
  } else {
    asm volatile(TILE_PRODUCT " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3])
        : "r"(to_bits(a[0])), "r"(to_bits(a[1])), "r"(to_bits(a[2])), "r"(to_bits(a[3])), "r"(to_bits(b[0])), "r"(to_bits(b[1])));
  }
}
#elif defined(WEIR_HIP)
typedef float Four __attribute__((ext_vector_type(4)));
template <bool LOOSE, bool STARTS> DEVICE void multiply(float *s, const float *a, const float *b) {
  Four v = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int k = 0; k < 4 && !STARTS; k++) v[k] = s[k];
  v = __builtin_amdgcn_mfma_f32_16x16x4f32(a[0], b[0], v, 0, 0, 0);
  for (int k = 0; k < 4; k++) s[k] = v[k];
}
#else
template <bool LOOSE, bool STARTS> DEVICE void multiply(float *s, const float *a, const float *b) {
  for (int k = 0; k < 4 && STARTS; k++) s[k] = 0.0f;
  weir::matrix_multiply<PRODUCTS == MFMA ? weir::F32_UNIT : PRODUCTS == F16X3 ? weir::F16_UNIT : weir::TF32_UNIT, LOOSE>(s, a, b);
}
#endif

// TF32, the nearest and halves away from zero. By whole numbers: `cvt.rna.tf32.f32` is five instructions on sm_90 (NVRTC 12.8). A NaN of all
// ones becomes 0, so what is short of it must be NaN.
DEVICE float rounded(float x) { return from_bits((to_bits(x) + 0x1000u) & 0xffffe000u); }

// Two halves in a register's bits, the first the lower one; and what they are.
#if defined(WEIR_CUDA)
DEVICE u32 halves_of(float x, float y) {
  u32 h;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(h) : "f"(y), "f"(x));
  return h;
}
DEVICE void of_halves(float *x, u32 h) {
  u16 low, high;
  asm("mov.b32 {%0, %1}, %2;" : "=h"(low), "=h"(high) : "r"(h));
  asm("cvt.f32.f16 %0, %1;" : "=f"(x[0]) : "h"(low));
  asm("cvt.f32.f16 %0, %1;" : "=f"(x[1]) : "h"(high));
}
#else
DEVICE u32 half_or_none(float x) { return x != x ? 0x7fffu : half_of(x); }
DEVICE u32 halves_of(float x, float y) { return half_or_none(x) | half_or_none(y) << 16; }
DEVICE void of_halves(float *x, u32 h) {
  x[0] = of_half(u16(h));
  x[1] = of_half(u16(h >> 16));
}
#endif

// Numbers of the left factor in the form that the units take, and what is short of them: of TF32 exact, with bits behind TF32's, 2^-21 of a
// number; of halves in halves. `x`: numbers of a lane in a tile, depth by depth those of its rows; halves stand in pairs of one row's depths.
template <int N> struct Factor {
  float hi[N], lo[N];
};
template <int N> DEVICE void split(Factor<N> &f, const float *x) {
UNROLL
  for (int k = 0; k < N; k++) {
#if PRODUCTS == F16X3
    // Two of one row.
    float a = x[k % 2 + k / 2 * 4], b = x[k % 2 + k / 2 * 4 + 2], near[2];
    u32 hi = halves_of(a, b);
    of_halves(near, hi);
    // A number beyond halves is infinite here and its shortfall infinite the other way, so that every sum of its row is NaN, which no activation
    // makes a number of: no step may leave out the products with what is short.
    f.hi[k] = from_bits(hi);
    f.lo[k] = from_bits(halves_of(a - near[0], b - near[1]));
#else
    f.hi[k] = PRODUCTS == MFMA || (PRODUCTS == TF32 && x[k] != x[k]) ? x[k] : rounded(x[k]);
    f.lo[k] = PRODUCTS == TF32X3 ? x[k] - f.hi[k] : 0.0f;
#endif
  }
}

// Whether what a last word asks for early waits in registers: not on sm_100a, where it would put others into memory (NVRTC 12.8).
#if defined(WEIR_CUDA) && __CUDA_ARCH__ >= 1000
#define ASKS_EARLY false
#else
#define ASKS_EARLY (PRODUCTS == F16X3)
#endif

// Which wave of a block takes the first unit of a product. Each of a multiprocessor's four schedulers has its own matrix unit and, as far as
// anybody knows, one wave of every block: if the same waves went without where units are three or two, so would the same matrix units. Blocks
// that are there together are about a hundred apart in their numbers, a multiple of four on many chips. (`product` begins a wave earlier than
// a product of four tiles of angles: with the one that three units of their 96 columns have left without.)
DEVICE u32 turn_of_waves() { return block() + block() / 128; }

// As `product_rows` (product.h): C[r][c] for r < rows, c0 <= c < c1. Which lane has an element depends on its row, its column and
// the block alone where products have the same TR and TALL, and nothing else on its neighbours in a tile. Widths are multiples of 16; rows
// that are not there repeat the last one or are anything (`WHOLE`, product.h).
//
// A wave keeps the sums of tiles that stand beside each other, and of TALL below each other, in registers. Which depth of a chain and which
// column a lane's place stands for is free as long as both factors agree: a lane has four depths in a row of the left factor, and the tiles'
// columns interlace, so that it reads the weights of all tiles by one access and hands on sums that stand together.
//
// APART: weights lie so that a lane has four columns of each half of its 32 (`RowsOfProducts::Apart`), of which `done` is told one after the other: what
// lanes of a row write together fills whole sectors of 32 bytes.
template <int TR, int TALL, bool FEW, bool ROWS_ANEW, bool APART = false, class A, class W, class Done>
DEVICE void tensor_product(u32 rows, u32 inputs, u32 c0, u32 c1, W w, u32 w_stride, const A &a, Done done) {
  // 32 columns; 16 where rows are few, so that there is work for all waves. More tiles of rows where registers allow it.
  const u32 TILES = (TR == 1 ? 16 : 32) / M_COLUMNS, WIDE = TILES * M_COLUMNS, BELOW = PRODUCTS == MFMA ? 1 : TALL;
  const u32 PIECES = APART ? 2 : 1, N = M_RUN * TILES / PIECES, STEPS = 4 / M_TAKES;
  // These units cut what they add to a sum, towards zero: a sum that went on through them would shrink by a share of its last bit with every step, all
  // of them by the same share, which shows in virials. So a step begins anew, its small terms first, and is added by an addition that rounds.
  const bool ANEW = CUT;
  // Products of halves leave registers for what is asked for ahead of its use: both chains of 32 depths in one go, and the rows of the next tile.
  const bool PAIRS = PRODUCTS == F16X3, EARLY = PAIRS && !ROWS_ANEW;
  u32 columns = (c1 - c0 + WIDE - 1) / WIDE, units = (rows + BELOW * M_ROWS - 1) / (BELOW * M_ROWS) * columns;
  for (u32 unit = (thread_anew() / M_LANES + turn_of_waves() + (TALL == 2)) % M_WAVES; unit < units; unit += M_WAVES) {
    u32 lane = thread_anew() % M_LANES;
    // By subtraction: hardly ever more than once, and a division is 25 instructions one after the other.
    u32 r0 = 0, cb = unit;
UNROLL_NOT
    for (; cb >= columns; cb -= columns) r0 += BELOW * M_ROWS;
    u32 left = rows - r0;
    cb = c0 + cb * WIDE;
    u32 column = cb + right_column(lane) * TILES;
    if (column >= c1) column = c1 - TILES;
#if PRODUCTS != MFMA
    u32 place = column / 8 * 64 + (FEW ? column / 2 % 4 * 16 : column / 2 % 2 * 32 + column / 4 % 2 * 16) + depths(lane) * 4;
#endif
    float sum[BELOW][TILES][4];
UNROLL
    for (u32 t = 0; t < BELOW; t++)
UNROLL
      for (u32 j = 0; j < TILES; j++)
UNROLL
        for (int i = 0; i < 4; i++) sum[t][j][i] = 0.0f;
    u32 c = cb + sum_column(lane) * TILES / PIECES;
    Sums<N> asked[BELOW][M_DOWN][PIECES];
UNROLL
    for (u32 t = 0; t < BELOW && ASKS_EARLY; t++)
UNROLL
      for (u32 i = 0; i < M_DOWN; i++)
UNROLL
        for (u32 p = 0; p < PIECES; p++) {
          u32 r = t * M_ROWS + sum_row(lane, i);
          asked[t][i][p] = r < left && c < c1 ? early_of<N>(done, r0 + r, c + p * WIDE / 2) : Sums<N>{};
        }
    // Chains of K_BLOCK products, as in plain products: weights first, then a tile of rows after the other. Two of them are of 32 depths, of which
    // a lane has eight that stand together, four in each chain: rows of shared memory lie four numbers apart from a multiple of 32, so eight lanes that
    // read together find eight times four banks.
    auto chain = LAMBDA(u32 here, u32 kb, u32 k) {
      float x[M_LEFT][4];
      auto read = LAMBDA(u32 t) {
UNROLL
        for (u32 i = 0; i < M_LEFT; i++) {
          u32 r = r0 + t * M_ROWS + left_row(here, i);
          load<4>(x[i], a.at, (A::WHOLE || r < rows - 1 ? r : rows - 1) * a.stride + k);
        }
      };
      float right[STEPS][TILES * M_B], rest[STEPS][TILES * M_B];
UNROLL
      for (u32 s = 0; s < STEPS; s++) {
#if PRODUCTS == MFMA
        load<TILES>(right[s], w, u64((k + s) * w_stride + column));
#else
        // Numbers of a tile stand together in registers, as the units want them, and those that eight lanes read together in memory. (By one place and
        // constants behind it: of sums of u32, which may wrap, compilers work each out anew.)
        auto from = w + u64((kb + M_DEPTHS * s) * (16 / M_DEPTHS) * w_stride + place);
UNROLL
        for (u32 j = 0; j < TILES; j += 2) {
          load<4>(right[s] + 2 * j, from, 16 * j);
          if (CUT) load<4>(rest[s] + 2 * j, from, 8 * w_stride + 16 * j);
        }
#endif
      }
      if (EARLY) read(0);
UNROLL
      for (u32 t = 0; t < BELOW; t++) {
        if (t && t * M_ROWS >= left) continue;
        float part[TILES][4];
        if (!EARLY) read(t);
UNROLL
        for (u32 s = 0; s < STEPS; s++) {
          const u32 TAKES = M_LEFT * M_TAKES;
          float numbers[TAKES];
          Factor<M_A> y;
UNROLL
          for (u32 i = 0; i < TAKES; i++) numbers[i] = x[i % M_LEFT][s * M_TAKES + i / M_LEFT];
          split<M_A>(y, numbers);
          if (EARLY && t + 1 < BELOW && (t + 1) * M_ROWS < left) read(t + 1);
UNROLL
          for (u32 j = 0; j < TILES; j++) {
            const float *b = right[s] + M_B * j;
            if (CUT)
              multiply<true, true>(part[j], y.lo, b);
            else
              s && !ANEW ? multiply<false, false>(part[j], y.hi, b) : multiply<false, true>(part[j], y.hi, b);
          }
          if (CUT) {
UNROLL
            for (u32 j = 0; j < TILES; j++) multiply<false, false>(part[j], y.hi, rest[s] + M_B * j);
UNROLL
            for (u32 j = 0; j < TILES; j++) multiply<false, false>(part[j], y.hi, right[s] + M_B * j);
          }
          if (!ANEW && s < STEPS - 1) continue;
UNROLL
          for (u32 j = 0; j < TILES; j++)
UNROLL
            for (int i = 0; i < 4; i++) sum[t][j][i] = PRODUCTS == F16X3 ? fma_(part[j][i], 1.0f / WEIGHT_UNIT, sum[t][j][i]) : sum[t][j][i] + part[j][i];
        }
      }
    };
    // Rows of the left factor wait in registers, or are found anew where that would put others into memory.
#define HERE (ROWS_ANEW ? thread_anew() % M_LANES : lane)
    if (PAIRS) {
UNROLL_NOT
      for (u32 pair = 0; pair < inputs; pair += 2 * K_BLOCK) {
        u32 here = HERE;
        bool both = ALL_IN_PAIRS || pair + 2 * K_BLOCK <= inputs;
        chain(here, pair, pair + depths(here) * (both ? 8 : 4));
        if (both) chain(here, pair + K_BLOCK, pair + 4 + depths(here) * 8);
      }
    } else {
UNROLL_NOT
      for (u32 kb = 0; kb < inputs; kb += K_BLOCK) {
        u32 here = HERE, pair = kb / 32 * 32;
        chain(here, kb, pair + 32 <= inputs ? pair + kb % 32 / 4 + depths(here) * 8 : kb + depths(here) * 4);
      }
    }
#undef HERE
UNROLL
    for (u32 t = 0; t < BELOW; t++)
UNROLL
      for (u32 i = 0; i < M_DOWN; i++) {
        u32 r = t * M_ROWS + sum_row(lane, i);
        if (r < left && c < c1) {
UNROLL
          for (u32 p = 0; p < PIECES; p++) {
            Sums<N> x;
UNROLL
            for (u32 k = 0; k < N; k++) x.v[k] = sum[t][(p * N + k) % TILES][i * M_RUN + (p * N + k) / TILES];
            if (ASKS_EARLY)
              done_of(done, r0 + r, c + p * WIDE / 2, x, asked[t][i][p]);
            else
              done(r0 + r, c + p * WIDE / 2, x);
          }
        }
      }
  }
}

// The same of columns of two uses, of which the first has twice as many as the second (`border` of them and half as many behind it): a unit has
// sixteen columns of the first and eight of the second, so that units are as many as waves or twice as many where widths are 64 and 32 or 128 and 64.
// Weights lie as lanes read them (`Writer::weights`). Columns before c0 and from c1 on are not told of: either c0 is the border, or c1, or all are there.
// `done` is told of rows r and r + 8 of a tile together and whether the second is there: activations of one row alone wait for each other.
#if PRODUCTS == F16X3
template <int TALL, bool ROWS_ANEW, class A, class W, class Done>
DEVICE void tensor_product_of_two(u32 rows, u32 inputs, u32 border, W w, u32 w_stride, const A &a, Done done) {
  const u32 WIDE = 16, MORE = 8, TILES = (WIDE + MORE) / M_COLUMNS;
  u32 columns = border / WIDE, units = (rows + TALL * M_ROWS - 1) / (TALL * M_ROWS) * columns;
  for (u32 unit = (thread_anew() / M_LANES + turn_of_waves()) % M_WAVES; unit < units; unit += M_WAVES) {
    u32 lane = thread_anew() % M_LANES, r0 = 0, part = unit;
UNROLL_NOT
    for (; part >= columns; part -= columns) r0 += TALL * M_ROWS;
    u32 left = rows - r0, place = part * (WIDE + MORE) * M_DEPTHS / 2 + lane * 4;
    u32 c = part * WIDE + sum_column(lane) * 2, more = border + part * MORE + sum_column(lane);
    float sum[TALL][TILES][4];
UNROLL
    for (u32 t = 0; t < TALL; t++)
UNROLL
      for (u32 j = 0; j < TILES; j++)
UNROLL
        for (int i = 0; i < 4; i++) sum[t][j][i] = 0.0f;
    auto chain = LAMBDA(u32 here, u32 kb, u32 k) {
      float x[M_LEFT][4], right[TILES * M_B], rest[TILES * M_B];
      auto read = LAMBDA(u32 t) {
UNROLL
        for (u32 i = 0; i < M_LEFT; i++) {
          u32 r = r0 + t * M_ROWS + left_row(here, i);
          load<4>(x[i], a.at, (A::WHOLE || r < rows - 1 ? r : rows - 1) * a.stride + k);
        }
      };
      auto from = w + u64(kb * w_stride + place), behind = w + u64(kb * w_stride + place + WIDE * M_DEPTHS / 2 - lane * 2);
      load<4>(right, from, 0);
      load<2>(right + 4, behind, 0);
      load<4>(rest, from, 8 * w_stride);
      load<2>(rest + 4, behind, 8 * w_stride);
      if (!ROWS_ANEW) read(0);
UNROLL
      for (u32 t = 0; t < TALL; t++) {
        if (t && t * M_ROWS >= left) continue;
        float part[TILES][4], numbers[8];
        Factor<M_A> y;
        if (ROWS_ANEW) read(t);
UNROLL
        for (u32 i = 0; i < 8; i++) numbers[i] = x[i % M_LEFT][i / M_LEFT];
        split<M_A>(y, numbers);
        if (!ROWS_ANEW && t + 1 < TALL && (t + 1) * M_ROWS < left) read(t + 1);
UNROLL
        for (u32 j = 0; j < TILES; j++) multiply<true, true>(part[j], y.lo, right + M_B * j);
UNROLL
        for (u32 j = 0; j < TILES; j++) multiply<false, false>(part[j], y.hi, rest + M_B * j);
UNROLL
        for (u32 j = 0; j < TILES; j++) multiply<false, false>(part[j], y.hi, right + M_B * j);
UNROLL
        for (u32 j = 0; j < TILES; j++)
UNROLL
          for (int i = 0; i < 4; i++) sum[t][j][i] = fma_(part[j][i], 1.0f / WEIGHT_UNIT, sum[t][j][i]);
      }
    };
UNROLL_NOT
    for (u32 pair = 0; pair < inputs; pair += 2 * K_BLOCK) {
      u32 here = ROWS_ANEW ? thread_anew() % M_LANES : lane;
      bool both = ALL_IN_PAIRS || pair + 2 * K_BLOCK <= inputs;
      chain(here, pair, pair + depths(here) * (both ? 8 : 4));
      if (both) chain(here, pair + K_BLOCK, pair + 4 + depths(here) * 8);
    }
UNROLL
    for (u32 t = 0; t < TALL; t++) {
      u32 r = t * M_ROWS + sum_row(lane, 0);
      if (r >= left) continue;
      Sums<4> x[2];
      Sums<2> y[2];
UNROLL
      for (u32 i = 0; i < 2; i++) {
        const float *s = sum[t][0] + i * M_RUN, *z = sum[t][1] + i * M_RUN, *w = sum[t][2] + i * M_RUN;
        x[i] = {{s[0], z[0], s[1], z[1]}};
        y[i] = {{w[0], w[1]}};
      }
      done(r0 + r, r + 8 < left, c, x, more, y);
    }
  }
}
#endif
#endif
