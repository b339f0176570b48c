// Edges of a centre, one block a centre (specification 7.2 to 7.4 and their adjoints). Shared memory is laid out by each kernel; the
// host asks for as much with the same expressions (backends/src/gpu/launch).

// Which centre a block works on, and where its edges are.
struct Centre {
  u32 i, from, ne, m;
};
DEVICE Centre centre_of(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges) {
  u32 i = turns[first_centre + block()];
  return {i, first_edge[i], first_edge[i + 1] - first_edge[i], angle_edges[i]};
}

// Rows k0 .. k0 + rows of a centre's edge features into shared memory, EPS apart: the stored ones, or layer 0's (`first`) from geometry.
DEVICE void stage_edges(LOCAL(real) to, u32 rows, u32 e, u32 first, IN(stored) state, u32 tile_edge, IN(real) geometry,
                        IN(real) weight, IN(real) bias) {
  for (u32 at = thread_anew() * 4; at < rows * EP; at += THREADS * 4) {
    u32 r = at / EP, c = at % EP;
    real x[4];
    if (first) {
UNROLL
      for (int j = 0; j < 4; j++) x[j] = embed_edge(geometry[u64(e + r) * G + G_X], c + j, weight, bias).value;
    } else {
      load_stored<4>(x, state, u64(e + r - tile_edge) * EP + c);
    }
    store<4>(to, r * EPS + c, x);
  }
}

// Sums over a centre's edges: an edge's turn says which of so many parts it joins, and parts are joined in order at the end. A thread has four
// columns of a part. Constants of the widths, which divide all numbers of rows.
#define SUM_PARTS (MP <= THREADS ? 4 : 1)
#define MOMENT_PARTS ((EP + NP) / 2 <= THREADS ? 2 : 1)
#define BAR_PARTS (WD / 2 <= THREADS ? 2 : 1)
template <int PARTS> DEVICE real joined(LOCAL(real) parts, u32 width, u32 c) {
  real x = parts[c];
UNROLL
  for (u32 i = 1; i < PARTS; i++) x += real(parts[i * width + c]);
  return x;
}
// Threads that share a row of edge_backward's sums over columns: their sums fit into a row of features.
#define ROW_SHARE (EP >= 64 ? 16 : EP >= 32 ? 8 : 4)

// Messages of a tile's edges forward. Writes sums for the node (M3, moments; where `with_nodes`), projections of angle edges as the other
// edge of an angle, and keep e + R E1: into `partial`, which the angle kernel finishes, or `out` where there are no angles. Edges outside the
// angle set have a second message that is the same for all of them; where `r_second` is given they are finished here (512 bytes an edge
// less to move in f32).
KERNEL_OF_FOUR(edge_forward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u32) first_pair, IN(u32) neighbour,
                     IN(real) geometry, u32 first, IN(stored) state, IN(real) edge_weight,
                     IN(real) edge_bias, IN(real) nodes, IN(real) centre, u32 wc, IN(real) neighbours, u32 wd, IN(real) weight,
                     IN(real) r_edge, double keep, u32 wa, IN(real) other_weight,
                     OUT(real) other, IN(real) bias2, IN(real) r_second, u32 with_nodes, OUT(real) message_sum, OUT(real) moments, OUT(real) partial,
                     OUT(stored) out, OUT(u16) too_large) {
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  Centre t = centre_of(first_centre, turns, first_edge, angle_edges);
  LOCAL(real) e = shared_at<real>(0);
  LOCAL(real) message = e + R_EDGE * EPS;
  LOCAL(real) sum = message + R_EDGE * MPS;
  LOCAL(real) moment = sum + SUM_PARTS * MP;
  LOCAL(real) second = moment + MOMENT_PARTS * MOMENTS;
  if (r_second)
    for (u32 c = thread_anew(); c < EP; c += THREADS) second[c] = act(bias2[c]).value;
  if (with_nodes) {
    for (u32 c = thread_anew(); c < SUM_PARTS * MP + MOMENT_PARTS * MOMENTS; c += THREADS) sum[c] = real(0);
  }
  u64 ci = u64(t.i) * wc;
  for (u32 k0 = 0; k0 < t.ne; k0 += R_EDGE) {
    u32 rows = t.ne - k0 < R_EDGE ? t.ne - k0 : R_EDGE, e0 = t.from + k0;
    stage_edges(e, rows, e0, first, state, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product_of_two<TR_OF(R_EDGE), TR_OF(R_EDGE), LANES_C, TILES_OF(R_EDGE), EDGES_OF_BOTH>(
          rows, EP, with_nodes ? 0 : MP, MP, wd, weight, WD, FactorsOf<R_EDGE>{e, EPS}, LAMBDA(u32 r, u32 c, auto x) {
            plus(x, centre, ci + c);
            plus_row(x, neighbours, u64(neighbour[e0 + r]) * wd + c, r);
            return x;
          },
          LAMBDA(u32 r, u32 c, auto x, real *) { store<x.N>(message, r * MPS + c, x.v); },
          LAMBDA(u32 r, u32 c, auto x, real *, auto) {
            real scale[x.N], old[x.N];
            load<x.N>(scale, r_edge, c - MP);
            load<x.N>(old, e, r * EPS + c - MP);
UNROLL
            for (int j = 0; j < x.N; j++) x.v[j] = fma_(scale[j], x.v[j], real(keep) * old[j]);
            u64 at = u64(e0 + r - tile_edge) * EP + c - MP;
            if (wa && !(r_second && k0 + r >= t.m)) {
              store<x.N>(partial, at, x.v);
            } else {
              if (wa) {
                load<x.N>(scale, r_second, c - MP);
                load<x.N>(old, second, c - MP);
UNROLL
                for (int j = 0; j < x.N; j++) x.v[j] = fma_(scale[j], old[j], x.v[j]);
              }
              store_packed<x.N>(out, at, x.v, too_large);
            }
          },
          LAMBDA(u32, u32, auto x) { return x; });
    if (wa && k0 < t.m) {
      u32 some = t.m - k0 < rows ? t.m - k0 : rows;
      u64 pair = first_pair[t.i] - tile_pair + k0;
      product_seen<TR_WIDE(R_EDGE), 8, false>(
          some, EC, 0, wa, other_weight, WA, FactorsOf<R_EDGE>{e, EPS},
          LAMBDA(u32 r, u32 c, auto x) { store<x.N>(other, (pair + r) * OTHERS + c, x.v); });
    }
    barrier();
    if (with_nodes) {
      for (u32 at = thread_anew(); at < SUM_PARTS * (MP / 4); at += THREADS) {
        u32 part = at / (MP / 4), c = at % (MP / 4) * 4;
        real x[4];
        load<4>(x, sum, part * MP + c);
UNROLL_NOT
        for (u32 r = part; r < rows; r += SUM_PARTS) {
          real y[4], v = geometry[u64(e0 + r) * G + G_W];
          load<4>(y, message, r * MPS + c);
UNROLL
          for (int j = 0; j < 4; j++) x[j] = fma_(v, y[j], x[j]);
        }
        store<4>(sum, part * MP + c, x);
      }
      for (u32 at = thread_anew(); at < MOMENT_PARTS * ((EP + NP) / 4); at += THREADS) {
        u32 part = at / ((EP + NP) / 4), c = at % ((EP + NP) / 4) * 4;
        u32 width = c < EP ? EP : NP, to = part * MOMENTS + (c < EP ? c : 3 * EP + c - EP);
        real x[3][4];
UNROLL
        for (int a = 0; a < 3; a++) load<4>(x[a], moment, to + a * width);
        auto joins = LAMBDA(u32 r, auto numbers) {
          real y[4];
          numbers(y, r);
UNROLL
          for (int a = 0; a < 3; a++) {
            real h = geometry[u64(e0 + r) * G + G_H + a];
UNROLL
            for (int j = 0; j < 4; j++) x[a][j] = fma_(h, y[j], x[a][j]);
          }
        };
        // Rows of nodes come from all over the device: several are asked for together.
        if (c < EP) {
UNROLL_NOT
          for (u32 r = part; r < rows; r += MOMENT_PARTS) joins(r, LAMBDA(real *y, u32 r) { load<4>(y, e, r * EPS + c); });
        } else {
UNROLL_SOME
          for (u32 r = part; r < rows; r += MOMENT_PARTS) joins(r, LAMBDA(real *y, u32 r) { load<4>(y, nodes, u64(neighbour[e0 + r]) * NP + c - EP); });
        }
UNROLL
        for (int a = 0; a < 3; a++) store<4>(moment, to + a * width, x[a]);
      }
      barrier();
    }
  }
  if (with_nodes) {
    barrier();
    for (u32 c = thread_anew(); c < MP; c += THREADS) message_sum[u64(t.i) * MP + c] = joined<SUM_PARTS>(sum, MP, c);
    for (u32 c = thread_anew(); c < MOMENTS; c += THREADS) moments[u64(t.i) * MOMENTS + c] = joined<MOMENT_PARTS>(moment, MOMENTS, c);
  }
}
EXPORT(edge_forward)

// Projections of angle edges as the other edge alone, for the angle kernels of a tile.
KERNEL(edge_projections)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u32) first_pair, IN(real) geometry, u32 first,
                         IN(stored) state, IN(real) edge_weight, IN(real) edge_bias, u32 wa,
                         IN(real) other_weight, OUT(real) other) {
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  Centre t = centre_of(first_centre, turns, first_edge, angle_edges);
  LOCAL(real) e = shared_at<real>(0);
  for (u32 k0 = 0; k0 < t.m; k0 += R_EDGE) {
    u32 rows = t.m - k0 < R_EDGE ? t.m - k0 : R_EDGE;
    u64 pair = first_pair[t.i] - tile_pair + k0;
    stage_edges(e, rows, t.from + k0, first, state, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product_seen<TR_WIDE(R_EDGE), 8, false>(
        rows, EC, 0, wa, other_weight, WA, FactorsOf<R_EDGE>{e, EPS},
        LAMBDA(u32 r, u32 c, auto x) { store<x.N>(other, (pair + r) * OTHERS + c, x.v); });
    barrier();
  }
}
EXPORT(edge_projections)

// Moments of a tile's centres again (7.2), for the adjoint.
KERNEL(edge_moments)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u32) neighbour, IN(real) geometry, u32 first,
                     IN(stored) state, IN(real) edge_weight, IN(real) edge_bias, IN(real) nodes, OUT(real) moments) {
  u32 tile_edge = first_edge[first_centre];
  Centre t = centre_of(first_centre, turns, first_edge, angle_edges);
  for (u32 c = thread_anew(); c < EP + NP; c += THREADS) {
    u32 width = c < EP ? EP : NP, at = c < EP ? c : 3 * EP + c - EP;
    // In the parts of edge_forward.
    real h[MOMENT_PARTS][3];
UNROLL
    for (u32 part = 0; part < MOMENT_PARTS; part++) {
      for (int a = 0; a < 3; a++) h[part][a] = real(0);
      for (u32 e = t.from + part; e < t.from + t.ne; e += MOMENT_PARTS) {
        real g;
        if (c >= EP)
          g = nodes[u64(neighbour[e]) * NP + c - EP];
        else if (first)
          g = embed_edge(geometry[u64(e) * G + G_X], c, edge_weight, edge_bias).value;
        else
          g = unpack(state[u64(e - tile_edge) * EP + c]);
        for (int a = 0; a < 3; a++) h[part][a] = fma_(geometry[u64(e) * G + G_H + a], g, h[part][a]);
      }
    }
    for (int a = 0; a < 3; a++) {
      real x = h[0][a];
UNROLL
      for (u32 part = 1; part < MOMENT_PARTS; part++) x += h[part][a];
      moments[u64(t.i) * MOMENTS + at + a * width] = x;
    }
  }
}
EXPORT(edge_moments)

// Adjoint of a tile's edges. In: adjoints of the nodes, of the moments, of the angle edges as receiving ones (own_bar, EC wide) and of their
// projections as the other edge (other_bar), and, where edges outside the angle set feed the second map, s_bar. Joins what two blocks of the
// angle kernel left apart (angle.h), here and in the centre's columns of `angle_bar`. Turns e_bar in place (where `starts`, there is none yet), writes what is owed
// to neighbours (`owed`, rows of wd), sums for the centre's projection, adds adjoints of w and h.
KERNEL(edge_backward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u32) first_pair, IN(u32) neighbour,
                      IN(real) geometry, IN(double) exact, u32 first, IN(stored) state,
                      IN(real) edge_weight, IN(real) edge_bias, IN(real) nodes, IN(real) centre, u32 wc, IN(real) neighbours, u32 wd,
                      IN(real) weight, IN(real) adjoint, IN(real) r_message, double message_scale, IN(real) r_edge, double keep,
                      u32 wa, IN(real) other_adjoint, IN(real) own_bar, HANDED(real) other_bar, u32 apart, IN(real) centre_second, HANDED(real) angle_bar, IN(real) s_bar,
                      IN(real) node_bar, IN(real) moment_bar, u32 starts, HANDED(real) e_bar, OUT(real) owed, HANDED(real) centre_bar,
                      OUT(double) geometry_bar) {
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  Centre t = centre_of(first_centre, turns, first_edge, angle_edges);
  LOCAL(real) e = shared_at<real>(0);
  LOCAL(real) d = e + R_EDGE_BACK * EPS;
  // Message times its adjoint; later the change of the edge's adjoint.
  LOCAL(real) work = d + R_EDGE_BACK * WDS;
  LOCAL(real) sum = work + R_EDGE_BACK * (MP > EP ? MPS : EPS);
  // Adjoint of the sum of messages to the node.
  LOCAL(real) message_bar = sum + BAR_PARTS * WD;
  for (u32 c = thread_anew(); c < BAR_PARTS * wd; c += THREADS) sum[c] = real(0);
  for (u32 c = thread_anew(); c < MP; c += THREADS)
    message_bar[c] = real(message_scale * double(r_message[c]) * double(node_bar[u64(t.i) * NP + c % NP]));
  u64 ci = u64(t.i) * wc, hi = u64(t.i) * MOMENTS;
  for (u32 k0 = 0; k0 < t.ne; k0 += R_EDGE_BACK) {
    u32 rows = t.ne - k0 < R_EDGE_BACK ? t.ne - k0 : R_EDGE_BACK, e0 = t.from + k0;
    stage_edges(e, rows, e0, first, state, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product_of_two<TR_OF(R_EDGE_BACK), TR_OF(R_EDGE_BACK), LANES_C, TILES_OF(R_EDGE_BACK), EDGES_OF_BOTH>(
        rows, EP, 0, MP, wd, weight, WD, FactorsOf<R_EDGE_BACK>{e, EPS}, LAMBDA(u32 r, u32 c, auto x) {
          plus(x, centre, ci + c);
          plus_row(x, neighbours, u64(neighbour[e0 + r]) * wd + c, r);
          return x;
        },
        LAMBDA(u32 r, u32 c, auto x, real *slope) {
          real bar[x.N], w = geometry[u64(e0 + r) * G + G_W];
          load<x.N>(bar, message_bar, c);
UNROLL
          for (int j = 0; j < x.N; j++) {
            slope[j] *= w * bar[j];
            bar[j] *= x.v[j];
          }
          store<x.N>(work, r * MPS + c, bar);
          store<x.N>(d, r * WDS + c, slope);
          store_row<x.N>(owed, u64(e0 + r - tile_edge) * wd + c, slope, r);
        },
        LAMBDA(u32 r, u32 c, auto x, real *slope, auto bar) {
          real scale[x.N];
          load<x.N>(scale, r_edge, c - MP);
UNROLL
          for (int j = 0; j < x.N; j++) x.v[j] = scale[j] * bar.v[j] * slope[j];
          store<x.N>(d, r * WDS + c, x.v);
          store_row<x.N>(owed, u64(e0 + r - tile_edge) * wd + c, x.v, r);
        },
        LAMBDA(u32 r, u32 c, auto bar) {
          load<bar.N>(bar.v, e_bar, u64(e0 + r - tile_edge) * EP + c - MP);
          return bar;
        });
    barrier();
    u32 quads = wd / 4;
    for (u32 at = thread_anew(); at < BAR_PARTS * quads; at += THREADS) {
      u32 part = at / quads, c = (at - part * quads) * 4;
      real x[4];
      load<4>(x, sum, part * wd + c);
UNROLL_NOT
      for (u32 r = part; r < rows; r += BAR_PARTS) {
        real y[4];
        load<4>(y, d, r * WDS + c);
UNROLL
        for (int j = 0; j < 4; j++) x[j] += y[j];
      }
      store<4>(sum, part * wd + c, x);
    }
    // dE/d(w h) and dE/dw of the node-edge message: sums over columns of some rows by ROW_SHARE threads.
    const u32 LR = THREADS / ROW_SHARE, TR = R_EDGE_BACK > LR ? R_EDGE_BACK / LR : 1;
    u32 own_row = thread() / ROW_SHARE, own = thread() % ROW_SHARE;
    real x[TR][4];
UNROLL
    for (u32 i = 0; i < TR; i++)
UNROLL
      for (int a = 0; a < 4; a++) x[i][a] = real(0);
    auto row_of = LAMBDA(u32 i) { return own_row + i * LR < rows ? own_row + i * LR : rows - 1; };
    // Adds the products of a row's numbers with the moments' adjoints, whose axes lie `width` apart.
    auto joins = LAMBDA(u32 from, u32 width, u32 c, auto numbers) {
      real bar[3][4];
UNROLL
      for (int a = 0; a < 3; a++) load<4>(bar[a], moment_bar, hi + from + a * width + c);
UNROLL
      for (u32 i = 0; i < TR; i++) {
        real y[4];
        numbers(y, row_of(i), c);
UNROLL
        for (int a = 0; a < 3; a++)
UNROLL
          for (int j = 0; j < 4; j++) x[i][a] = fma_(bar[a][j], y[j], x[i][a]);
      }
    };
UNROLL_NOT
    for (u32 c = own * 4; c < EP; c += ROW_SHARE * 4) joins(0, EP, c, LAMBDA(real *y, u32 r, u32 c) { load<4>(y, e, r * EPS + c); });
UNROLL_NOT
    for (u32 c = own * 4; c < NP; c += ROW_SHARE * 4)
      joins(3 * EP, NP, c, LAMBDA(real *y, u32 r, u32 c) { load<4>(y, nodes, u64(neighbour[e0 + r]) * NP + c); });
UNROLL_NOT
    for (u32 c = own * 4; c < MP; c += ROW_SHARE * 4)
UNROLL
      for (u32 i = 0; i < TR; i++) {
        real y[4];
        load<4>(y, work, row_of(i) * MPS + c);
UNROLL
        for (int j = 0; j < 4; j++) x[i][3] += y[j];
      }
    barrier();
    // Features are not read any more.
UNROLL
    for (u32 i = 0; i < TR; i++)
      if (own_row + i * LR < rows) store<4>(e, (own_row + i * LR) * EPS + own * 4, x[i]);
    barrier();
    for (u32 r = thread_anew(); r < rows; r += THREADS) {
      real y[4] = {real(0), real(0), real(0), real(0)};
UNROLL_NOT
      for (u32 i = 0; i < ROW_SHARE; i++) {
        real z[4];
        load<4>(z, e, r * EPS + i * 4);
UNROLL
        for (int a = 0; a < 4; a++) y[a] += z[a];
      }
      u64 b = u64(e0 + r) * GB, at = u64(e0 + r) * 4;
      double w_bar = 0.0;
      for (int a = 0; a < 3; a++) {
        double h_bar = double(y[a]) * EDGE_ROOT;
        geometry_bar[b + 1 + a] += h_bar * exact[at];
        w_bar = fma_(h_bar, exact[at + 1 + a], w_bar);
      }
      geometry_bar[b] += double(y[3]) + w_bar;
    }
    // All that the layer adds to an edge's adjoint is summed apart and joins it in one rounding.
    product_of_pairs<TR_OF(R_EDGE_BACK), LANES_C>(
        rows, wd, 0, EP, adjoint, EP, FactorsOf<R_EDGE_BACK>{d, WDS},
        LAMBDA(u32 r, u32 c, auto x) {
          for (int a = 0; a < 3; a++) {
            real h = geometry[u64(e0 + r) * G + G_H + a], bar[x.N];
            load<x.N>(bar, moment_bar, hi + a * EP + c);
UNROLL
            for (int j = 0; j < x.N; j++) x.v[j] = fma_(h, bar[j], x.v[j]);
          }
          if (s_bar && k0 + r >= t.m) plus(x, s_bar, u64(e0 + r - tile_edge) * EP + c);
          store<x.N>(work, r * EPS + c, x.v);
        });
    if (wa && k0 < t.m) {
      u32 some = t.m - k0 < rows ? t.m - k0 : rows;
      u64 pair = first_pair[t.i] - tile_pair + k0;
      if (t.m >= SHARED_FROM)
        for (u32 at = thread_anew() * 4; at < some * wa; at += THREADS * 4) {
          real x[4], y[4];
          load<4>(x, other_bar, pair * wa + at);
          load<4>(y, other_bar, (apart + pair) * wa + at);
UNROLL
          for (int j = 0; j < 4; j++) x[j] += y[j];
          store<4>(other_bar, pair * wa + at, x);
        }
      // Other threads go on with what these have made.
      barrier();
      product_seen<1, 8, true>(
          some, wa, 0, EC, other_adjoint, EC, FarFactors{other_bar + pair * wa, wa},
          LAMBDA(u32 r, u32 c, auto x) {
            real own[x.N], others[x.N];
            load<x.N>(own, work, r * EPS + c);
            load<x.N>(others, own_bar, (pair + r) * EC + c);
UNROLL
            for (int j = 0; j < x.N; j++) x.v[j] = own[j] + others[j] + x.v[j];
            store<x.N>(work, r * EPS + c, x.v);
          });
    }
    barrier();
    for (u32 at = thread_anew() * 4; at < rows * EP; at += THREADS * 4) {
      u64 to = u64(e0 - tile_edge) * EP + at;
      real x[4], old[4];
      load<4>(x, work, at / EP * EPS + at % EP);
      if (!starts) {
        load<4>(old, e_bar, to);
UNROLL
        for (int j = 0; j < 4; j++) x[j] = fma_(real(keep), old[j], x[j]);
      }
      store<4>(e_bar, to, x);
    }
    barrier();
  }
  barrier();
  for (u32 c = thread_anew(); c < wd; c += THREADS) centre_bar[ci + c] = joined<BAR_PARTS>(sum, wd, c);
  if (wa && t.m >= SHARED_FROM)
    for (u32 c = thread_anew(); c < wa; c += THREADS) angle_bar[ci + wd + c] += real(centre_second[u64(t.i) * wa + c]);
}
EXPORT(edge_backward)
