// Adjoint of the angles of a centre (specification 7.5), with the rows and blocks of angle.h. Messages and slopes are computed again, but
// for the slopes of the second map: the forward pass leaves them, or `angle_forward` has made them again (ONLY_SLOPES).

// Columns of a message whose products with the adjoint of S one lane sums: those that it has of a row.
#if PRODUCTS == PLAIN
#define DOT 4
#elif PRODUCTS == MFMA
#define DOT 2
#elif ANGLES_OF_BOTH
#define DOT 4
#else
#define DOT 8
#endif
#define DOTS (EP / DOT)
#define DOTSS (DOTS + (ANGLES_OF_BOTH ? 2 : PAD))
// Rows of a thread; lanes of matrix units always have DOT columns.
#define TR_BACK (PRODUCTS == PLAIN || TR_OF(R_ANGLE_BACK) > 1 ? TR_OF(R_ANGLE_BACK) : 2)
// Tiles below each other: two on sm_100a, where a third would put a register into memory (NVRTC 12.8), else three, which centres with 23 angle
// edges fill.
#if defined(WEIR_CUDA) && __CUDA_ARCH__ >= 1000
#define TILES_BACK 2
#else
#define TILES_BACK (TILES_OF(R_ANGLE_BACK) < 3 ? TILES_OF(R_ANGLE_BACK) : 3)
#endif

// Adjoints of the rows' pre-activations into `bars`, from the messages made again, the adjoint `s` of S and that of the angles; of B . S_bar of
// each row the sums over DOT columns into `dots`.
DEVICE void adjoints(AngleRows q, u32 wa, u32 m, u64 angle, IN(real) weight, const FactorsOf<R_ANGLE_BACK> &a, LOCAL(real) own, IN(real) others,
                     LOCAL(real) s, LOCAL(real) own_v, LOCAL(real) others_v, IN(real) r_angle, HANDED(real) a_bar, LOCAL(real) dots,
                     LOCAL(real) bars) {
  product_of_two<TR_BACK, TR_WIDE(R_ANGLE_BACK), 8, TILES_BACK, ANGLES_OF_BOTH>(
      rows_of(q), AP, 0, EP, wa, weight, WA, a, LAMBDA(u32 r, u32 c, auto x) {
        u32 e = edge_in(q, r), f = r - e * q.span;
        plus(x, own, e * WAS + c);
        plus(x, others, (q.f0 + f) * OTHERS + c);
        return x;
      },
      LAMBDA(u32 r, u32 c, auto x, real *slopes) {
        u32 e = edge_in(q, r), f = r - e * q.span;
        real t[x.N], dot = real(0), both = real(own_v[e]) * others_v[f];
        load<x.N>(t, s, e * EPS + c);
UNROLL
        for (int j = 0; j < x.N; j++) {
          dot = fma_(x.v[j], t[j], dot);
          slopes[j] *= t[j] * both;
        }
        store<x.N>(bars, r * WAS + c, slopes);
        dots[r * DOTSS + c / DOT] = dot;
      },
      LAMBDA(u32 r, u32 c, auto x, real *slopes, auto up) {
        real scale[x.N];
        load<x.N>(scale, r_angle, c - EP);
UNROLL
        for (int j = 0; j < x.N; j++) up.v[j] = slopes[j] * (scale[j] * up.v[j]);
        store<x.N>(bars, r * WAS + c, up.v);
      },
      LAMBDA(u32 r, u32 c, auto up) {
        load_once<up.N>(up.v, a_bar, (first_of(q, angle, m) + r) * AP + c - EP);
        return up;
      });
}

// Other edges go to so many threads in turn, by their number; sums over them are made by each and joined in order. A constant of the widths: as
// many as there are threads for, in no more room than eight messages have for each receiving edge.
#define PARTS_OF_F parts_of_f(THREADS * 4 / WA, 8 * EP / WA)
DEVICE constexpr u32 parts_of_f(u32 threads, u32 room) { return threads < 1 || room < 1 ? 1 : threads < room ? threads : room; }
// Numbers of the place that receiving edges are staged in, for two products, and sums over f are left in.
#define ROOM larger_of(2 * R_OWN * EPS, PARTS_OF_F * R_SECOND * WA)
DEVICE constexpr u32 larger_of(u32 a, u32 b) { return a > b ? a : b; }

// The thread's number where thread `first` is number 0.
DEVICE u32 thread_from(u32 first) { return (thread_anew() + 2 * THREADS - first) % THREADS; }

// Who does what few threads do beside the product of the rows' adjoints: all of it the wave that has no tile of it where tiles are three, as for most
// centres of proteins and water; else a wave each. The first thread of the n-th such work.
DEVICE u32 beside_product(u32 n, u32 rows) {
#if PRODUCTS == PLAIN
  return n * 32;
#else
  return (M_WAVES - 1 - turn_of_waves() % M_WAVES) * M_LANES + (rows > 3 * M_ROWS ? n * 32 : 0);
#endif
}

// Other edges whose rows are asked for together. Two would not leave registers for as many waves of plain products, nor on gfx90a and gfx942.
#define OTHERS_ASKED (TENSOR_CORES ? 2 : 1)
// Adjoints of N receiving edges (`rows`, `span` rows each) in four columns: over a part's other edges from `first` on into `sum`; over the receiving
// edges into the adjoints of the other edges' projections (`all_bars`), which go on or begin. GOES_ON: they do (products of halves have registers for a
// text of their own for that, without branches).
template <int N, bool GOES_ON> DEVICE void sum_some(real (*sum)[4], u32 first, u32 span, bool goes_on, LOCAL(real) rows, OUT(real) all_bars, u32 wa) {
UNROLL_NOT
  for (u32 f = first; f < span; f += OTHERS_ASKED * PARTS_OF_F) {
    real all[OTHERS_ASKED][4], z[OTHERS_ASKED][N][4];
UNROLL
    for (u32 g = 0; g < OTHERS_ASKED; g++) {
      u32 at = f + g * PARTS_OF_F;
      if (g && at >= span) continue;
UNROLL
      for (int j = 0; j < 4; j++) all[g][j] = real(0);
      if (GOES_ON)
        load_once<4>(all[g], all_bars, at * wa);
      else if (goes_on)
        load<4>(all[g], all_bars, at * wa);
UNROLL
      for (u32 i = 0; i < N; i++) load<4>(z[g][i], rows, (i * span + at) * WAS);
    }
UNROLL
    for (u32 g = 0; g < OTHERS_ASKED; g++) {
      u32 at = f + g * PARTS_OF_F;
      if (g && at >= span) continue;
UNROLL
      for (u32 i = 0; i < N; i++)
UNROLL
        for (int j = 0; j < 4; j++) {
          sum[i][j] += z[g][i][j];
          all[g][j] += z[g][i][j];
        }
      store<4>(all_bars, at * wa, all[g]);
    }
  }
}

// Sums of the rows' adjoints: over receiving edges into those of the other edges' projections (`other_bar`, from the block's first receiving
// edge on), over f into `parts` (part, receiving edge, column; they go on where f0).
DEVICE void sum_bars(AngleRows q, u32 wa, u32 pair, LOCAL(real) bars, LOCAL(real) parts, OUT(real) other_bar) {
  const u32 PARTS = PARTS_OF_F;
  for (u32 at = thread_anew() * 4; at < PARTS * wa; at += THREADS * 4) {
    u32 part = row_at(at, wa), c = at - part * wa, first = (part + PARTS - q.f0 % PARTS) % PARTS;
    OUT(real) all_bars = other_bar + (u64(pair + q.f0) * wa + c);
    for (u32 e = 0; e < q.edges; e += 2) {
      bool two = e + 1 < q.edges, goes_on = q.k + e;
      real sum[2][4];
UNROLL
      for (u32 i = 0; i < 2; i++) {
UNROLL
        for (int j = 0; j < 4; j++) sum[i][j] = real(0);
        if (q.f0 && (!i || two)) load<4>(sum[i], parts, (part * q.edges + e + i) * wa + c);
      }
      LOCAL(real) rows = bars + e * q.span * WAS + c;
      const bool APART = PRODUCTS == F16X3;
      if (two)
        APART && goes_on ? sum_some<2, APART>(sum, first, q.span, true, rows, all_bars, wa) : sum_some<2, false>(sum, first, q.span, goes_on, rows, all_bars, wa);
      else
        APART && goes_on ? sum_some<1, APART>(sum, first, q.span, true, rows, all_bars, wa) : sum_some<1, false>(sum, first, q.span, goes_on, rows, all_bars, wa);
UNROLL
      for (u32 i = 0; i < 2; i++)
        if (!i || two) store<4>(parts, (part * q.edges + e + i) * wa + c, sum[i]);
    }
  }
}

// B . S_bar of the rows, from the sums over DOT columns in their order: what S owes to the switch values.
template <class Y> DEVICE void join_dots(Y y, u32 rows, LOCAL(real) dots) {
  const int W = DOTSS % 4 ? 2 : 4;
  for (u32 r = thread_anew(); r < rows; r += THREADS) {
    real x = real(0);
UNROLL_TWO
    for (u32 d = 0; d < DOTS; d += W) {
      real part[W];
      load<W>(part, dots, r * DOTSS + d);
UNROLL
      for (int j = 0; j < W; j++) x += part[j];
    }
    y[r] = double(x) * ANGLE_ROOT;
  }
}

// Asks for what the angles of the receiving edges from k on are owed, as many as may go together: a line by each thread, more need not be.
DEVICE void ask_for_rows(HANDED(const real) a_bar, u64 angle, u32 k, const Fit &fit, u32 m) {
  u32 left = receiving(m) - k, at = thread_anew() * LINE;
  if (at < (left < fit.edges ? left : fit.edges) * m * AP) ask_ahead(a_bar, (angle + u64(k) * m) * AP + at);
}

// Adjoints of the second map's pre-activations for `some` receiving edges; `second` (slopes of the map) and `e_bar` begin with the first of them.
DEVICE void adjoint_of_sums(LOCAL(real) staged, u32 some, IN(real) second, IN(real) e_bar, IN(real) r_second) {
UNROLL_NOT
  for (u32 at = thread_anew() * 4; at < some * EP; at += THREADS * 4) {
    u32 r = at / EP, c = at % EP;
    real x[4], up[4], scale[4];
    load<4>(x, second, at);
    load<4>(up, e_bar, at);
    load<4>(scale, r_second, c);
UNROLL
    for (int j = 0; j < 4; j++) x[j] *= scale[j] * up[j];
    store<4>(staged, r * EPS + c, x);
  }
}

// Adjoint of a tile's angles. In: adjoint of the edges leaving the layer (none where `starts`: the angles of the layer above do not
// reach the energy) and of the angles. Out: a_bar in place, adjoints of the angle edges as receiving ones (EC wide), of their projections
// as the other edge, of the centre's columns, of v; s_bar of edges outside the angle set, where they have one. The block with the rest of
// a centre's receiving edges leaves its sums over receiving edges apart: `apart` angle edges behind those of the first in `other_bar`, in `centre_second` (wa wide) and a
// column further in `geometry_bar`.
KERNEL_OF_WIDE_ROWS(angle_backward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle, IN(u32) first_pair,
                       IN(real) geometry, IN(double) vector, IN(double) distance, u32 first, IN(stored) state, u32 first_edges, IN(stored) edges, IN(real) edge_weight, IN(real) edge_bias,
                       IN(real) angle_weight, IN(real) centre, u32 wc, u32 wd, IN(real) weight, IN(real) adjoint, u32 wa,
                       IN(real) own_weight, IN(real) own_adjoint, IN(real) other, IN(real) r_angle, double keep, IN(real) linear2, IN(real) linear2_adjoint,
                       IN(real) bias2, IN(real) r_second, u32 where, IN(real) second, IN(real) e_bar, HANDED(real) a_bar, OUT(real) own_bar, OUT(real) other_bar,
                       u32 apart, OUT(real) s_bar, OUT(real) centre_bar, OUT(real) centre_second, OUT(double) geometry_bar) {
  AngleCentre t = angle_centre_of(first_centre, turns, first_edge, angle_edges, first_angle, first_pair);
  u32 from = t.from, m = t.m;
  if (has_the_rest() && !receiving(m)) return;
  u32 pair = t.pair - first_receiving(m);
  u64 angle = t.angle;
  // What S owes to the switch values of each row, and sums of it over other edges in eight parts for each of R_OWN receiving edges.
  LOCAL(double) y = shared_at<double>(0);
  LOCAL(double) v_sums = y + R_ANGLE_BACK;
  LOCAL(real) a = shared_at<real>(8 * (R_ANGLE_BACK + 8 * R_OWN));
  LOCAL(real) bars = a + R_ANGLE_BACK * APS;
  LOCAL(real) dots = bars + R_ANGLE_BACK * WAS;
  LOCAL(real) room = dots + R_ANGLE_BACK * DOTSS;
  // Of R_OWN receiving edges: adjoints of S, projections, and in their place the adjoints of those, once the last row of an edge has seen its
  // projections; and the sums of adjoints for the centre.
  LOCAL(real) s = room + ROOM;
  LOCAL(real) own = s + R_OWN * EPS;
  LOCAL(real) bar = own;
  LOCAL(real) sum = own + R_OWN * WAS;
  LOCAL(real) others_v = sum + WA;
  LOCAL(real) own_v = others_v + R_ANGLE_BACK;
  bool updates = wa > EP;
  // Of this centre.
  IN(real) others = other + u64(pair) * OTHERS;
  for (u32 c = thread_anew(); c < wa; c += THREADS) sum[c] = real(0);
  bool ahead = AHEAD && !first && m <= R_ANGLE_BACK;
  Fit fit = fit_of(R_ANGLE_BACK, m);
  fit = {uniform(fit.edges), uniform(fit.inverse)};
  if (ahead && m) stage_ahead(a, 0, group_at(0, fit, m, R_OWN, R_SECOND), angle, m, state);
  if (updates) ask_for_rows(a_bar, angle, 0, fit, m);
  for (u32 k = 0; k < receiving(m);) {
    if (k % R_OWN == 0) {
      u32 some = receiving(m) - k < R_OWN ? receiving(m) - k : R_OWN, tile_edge = read_anew(first_edge, first_centre);
      LOCAL(real) staged = room + R_OWN * EPS;
      adjoint_of_sums(staged, some, second + u64(pair + first_receiving(m) + second_before(where, first_pair, first_centre) + k) * EP,
                      e_bar + u64(from + k - tile_edge) * EP, r_second);
      for (u32 e = thread_anew(); e < some; e += THREADS) own_v[e] = geometry[u64(from + k + e) * G + G_V];
      project_own<R_OWN < 8 ? 1 : 2, 32>(own, room, some, from + k, first_edges, edges, tile_edge, geometry, edge_weight, edge_bias, wa,
                                         own_weight, centre, u64(in_turn(first_centre, turns)) * wc + wd);
      product_of_few<R_OWN < 16 ? 1 : 2>(
          some, EP, 0, EP, linear2_adjoint, EP, Factors{staged, EPS},
          LAMBDA(u32 r, u32 c, auto x) { store<x.N>(s, r * EPS + c, x.v); });
    }
    u32 g = uniform(group_at(k, fit, m, R_OWN, R_SECOND));
    if (updates) ask_for_rows(a_bar, angle, k + g, fit, m);
    for (u32 f0 = 0; f0 < m; f0 += R_ANGLE_BACK) {
      AngleRows q = angle_rows(k, g, f0, m - f0 < R_ANGLE_BACK ? m - f0 : R_ANGLE_BACK, m, fit);
      take_rows(ahead, a, y, others_v, q, from, angle, m, first, state, geometry, vector, distance, angle_weight);
      adjoints(q, wa, m, angle, weight, FactorsOf<R_ANGLE_BACK>{a, APS}, own + k % R_OWN * WAS, others, s + k % R_OWN * EPS, own_v + k % R_OWN, others_v, r_angle,
               a_bar, dots, bars);
      barrier();
      ask_for_next(ahead, fit, R_OWN, R_SECOND, a, q, angle, m, state);
      join_dots(y, rows_of(q), dots);
      sum_bars(q, wa, pair + (has_the_rest() ? apart : 0), bars, room, other_bar);
      barrier();
      // v of the other edges, a thread each; of the receiving ones, eight threads each (their number divides that of the rows, so a part is
      // the same sum however many rows there are).
      for (u32 f = thread_from(beside_product(0, rows_of(q))); f < q.span; f += THREADS) {
        u64 at = u64(from - first_receiving(m) + f0 + f) * GB + 5 + has_the_rest();
        double x = geometry_bar[at];
UNROLL_NOT
        for (u32 e = 0; e < g; e++) x = fma_(y[e * q.span + f], double(real(own_v[k % R_OWN + e])), x);
        geometry_bar[at] = x;
      }
      for (u32 at = thread_from(beside_product(1, rows_of(q))); at < g * 8; at += THREADS) {
        u32 to = k % R_OWN * 8 + at;
        double x = f0 ? double(v_sums[to]) : 0.0;
UNROLL_NOT
        for (u32 f = at % 8; f < q.span; f += 8) x = fma_(y[at / 8 * q.span + f], double(real(others_v[f])), x);
        v_sums[to] = x;
      }
      if (f0 + q.span == m)
        for (u32 at = thread_from(beside_product(2, rows_of(q))) * 4; at < g * wa; at += THREADS * 4) {
          u32 e = row_at(at, wa), c = at - e * wa;
          real x[4], z[4];
          load<4>(x, room, at);
          for (u32 i = 1; i < PARTS_OF_F; i++) {
            load<4>(z, room, i * g * wa + at);
UNROLL
            for (int j = 0; j < 4; j++) x[j] += z[j];
          }
          store<4>(bar, (k % R_OWN + e) * WAS + c, x);
        }
      product_apart<TR_WIDE(R_ANGLE_BACK), 8>(
          rows_of(q), wa, adjoint, FactorsOf<R_ANGLE_BACK>{bars, WAS},
          with_early(
              LAMBDA(u32 r, u32 c, auto old) {
                if (updates) load<old.N>(old.v, a_bar, (first_of(q, angle, m) + r) * AP + c);
                return old;
              },
              LAMBDA(u32 r, u32 c, auto x, auto old) {
                if (updates) {
UNROLL
                  for (int j = 0; j < x.N; j++) x.v[j] = fma_(real(keep), old.v[j], x.v[j]);
                }
                store<x.N>(a_bar, (first_of(q, angle, m) + r) * AP + c, x.v);
              }));
      barrier();
    }
    k += g;
    if (k % R_OWN && k < receiving(m)) continue;
    // The adjoints of those that were projected together are there.
    u32 k0 = (k - 1) / R_OWN * R_OWN, some = k - k0;
    for (u32 e = thread_from(THREADS / 4); e < some; e += THREADS) {
      double x = geometry_bar[u64(from + k0 + e) * GB + 4];
UNROLL_NOT
      for (u32 i = 0; i < 8; i++) x += v_sums[e * 8 + i];
      geometry_bar[u64(from + k0 + e) * GB + 4] = x;
    }
    for (u32 c = thread_anew(); c < wa; c += THREADS) {
      real x = sum[c];
      for (u32 e = 0; e < some; e++) x += real(bar[e * WAS + c]);
      sum[c] = x;
    }
    product_seen<TR_WIDE(R_OWN), 8, true>(
        some, wa, 0, EC, own_adjoint, EC, Factors{bar, WAS},
        LAMBDA(u32 r, u32 c, auto x) { store<x.N>(own_bar, u64(pair + first_receiving(m) + k0 + r) * EC + c, x.v); });
    barrier();
  }
  u32 i = in_turn(first_centre, turns);
  for (u32 c = thread_anew(); c < wa; c += THREADS) {
    if (has_the_rest())
      centre_second[u64(i) * wa + c] = sum[c];
    else
      centre_bar[u64(i) * wc + wd + c] = sum[c];
  }
#if !SMOOTH
  if (first_receiving(m) + receiving(m) < m) return;
  u32 ne = read_anew(first_edge, i + 1) - from;
  // Edges outside the angle set: the second map reads their own feature.
  u32 tile_edge = read_anew(first_edge, first_centre);
  for (u32 k0 = receiving(m); k0 < ne; k0 += R_SECOND) {
    u32 some = ne - k0 < R_SECOND ? ne - k0 : R_SECOND;
    barrier();
    stage_edges(room, some, from + k0, first_edges, edges, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product_of_few<1>(
        some, EP, 0, EP, linear2, EP, Factors{room, EPS},
        each(LAMBDA(u32 r, u32 c, real x) {
          s[r * EPS + c] = r_second[c] * e_bar[u64(from + k0 + r - tile_edge) * EP + c] * act(x + bias2[c]).slope;
        }));
    barrier();
    product_of_few<1>(
        some, EP, 0, EP, linear2_adjoint, EP, Factors{s, EPS},
        LAMBDA(u32 r, u32 c, auto x) { store<x.N>(s_bar, u64(from + k0 + r - tile_edge) * EP + c, x.v); });
  }
#endif
}
EXPORT(angle_backward)
