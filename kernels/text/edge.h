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

// Messages of a tile's edges forward. Writes sums for the node (M3, moments; where `with_nodes`), projections of angle edges as the other
// edge of an angle, and keep e + R E1: into `partial`, which the angle kernel finishes, or `out` where there are no angles. Edges outside the
// angle set have a second message that is the same for all of them; where `r_second` is given they are finished here (512 bytes an edge
// less to move in f32).
KERNEL(edge_forward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u32) first_pair, IN(u32) neighbour,
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
  LOCAL(real) moment = sum + MP;
  LOCAL(real) second = moment + MOMENTS;
  if (r_second)
    for (u32 c = thread_anew(); c < EP; c += THREADS) second[c] = act(bias2[c]).value;
  if (with_nodes) {
    for (u32 c = thread_anew(); c < MP; c += THREADS) sum[c] = real(0);
    for (u32 c = thread_anew(); c < MOMENTS; c += THREADS) moment[c] = real(0);
  }
  u64 ci = u64(t.i) * wc;
  for (u32 k0 = 0; k0 < t.ne; k0 += R_EDGE) {
    u32 rows = t.ne - k0 < R_EDGE ? t.ne - k0 : R_EDGE, e0 = t.from + k0;
    stage_edges(e, rows, e0, first, state, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product_of_two<TR_OF(R_EDGE), TR_OF(R_EDGE), LANES_C>(
          rows, EP, with_nodes ? 0 : MP, MP, wd, weight, WD, Factors{e, EPS}, LAMBDA(u32 r, u32 c, auto x) {
            plus(x, centre, ci + c);
            plus(x, neighbours, u64(neighbour[e0 + r]) * wd + c);
UNROLL
            for (int j = 0; j < x.N; j++) x.v[j] = act(x.v[j]).value;
            store<x.N>(message, r * MPS + c, x.v);
          },
          LAMBDA(u32 r, u32 c, auto x) {
            real scale[x.N], old[x.N];
            plus(x, centre, ci + c);
            plus(x, neighbours, u64(neighbour[e0 + r]) * wd + c);
            load<x.N>(scale, r_edge, c - MP);
            load<x.N>(old, e, r * EPS + c - MP);
UNROLL
            for (int j = 0; j < x.N; j++) x.v[j] = fma_(scale[j], act(x.v[j]).value, real(keep) * old[j]);
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
          });
    if (wa && k0 < t.m) {
      u32 some = t.m - k0 < rows ? t.m - k0 : rows;
      u64 pair = first_pair[t.i] - tile_pair + k0;
      product_seen<TR_WIDE(R_EDGE), 8>(
          some, EC, 0, wa, other_weight, WA, Factors{e, EPS},
          LAMBDA(u32 r, u32 c, auto x) { store<x.N>(other, (pair + r) * wa + c, x.v); });
    }
    barrier();
    if (with_nodes) {
      for (u32 c = thread_anew(); c < MP; c += THREADS) {
        real s = sum[c];
        for (u32 r = 0; r < rows; r++) s = fma_(geometry[u64(e0 + r) * G + G_W], real(message[r * MPS + c]), s);
        sum[c] = s;
      }
      for (u32 c = thread_anew(); c < EP + NP; c += THREADS) {
        u32 width = c < EP ? EP : NP, at = c < EP ? c : 3 * EP + c - EP;
        real h[3] = {moment[at], moment[at + width], moment[at + 2 * width]};
        for (u32 r = 0; r < rows; r++) {
          real g = c < EP ? real(e[r * EPS + c]) : nodes[u64(neighbour[e0 + r]) * NP + c - EP];
          for (int a = 0; a < 3; a++) h[a] = fma_(geometry[u64(e0 + r) * G + G_H + a], g, h[a]);
        }
        for (int a = 0; a < 3; a++) moment[at + a * width] = h[a];
      }
      barrier();
    }
  }
  if (with_nodes) {
    barrier();
    for (u32 c = thread_anew(); c < MP; c += THREADS) message_sum[u64(t.i) * MP + c] = sum[c];
    for (u32 c = thread_anew(); c < MOMENTS; c += THREADS) moments[u64(t.i) * MOMENTS + c] = moment[c];
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
    product_seen<TR_WIDE(R_EDGE), 8>(
        rows, EC, 0, wa, other_weight, WA, Factors{e, EPS},
        LAMBDA(u32 r, u32 c, auto x) { store<x.N>(other, (pair + r) * wa + c, x.v); });
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
    real h[3] = {real(0), real(0), real(0)};
    for (u32 e = t.from; e < t.from + t.ne; e++) {
      real g;
      if (c >= EP)
        g = nodes[u64(neighbour[e]) * NP + c - EP];
      else if (first)
        g = embed_edge(geometry[u64(e) * G + G_X], c, edge_weight, edge_bias).value;
      else
        g = unpack(state[u64(e - tile_edge) * EP + c]);
      for (int a = 0; a < 3; a++) h[a] = fma_(geometry[u64(e) * G + G_H + a], g, h[a]);
    }
    for (int a = 0; a < 3; a++) moments[u64(t.i) * MOMENTS + at + a * width] = h[a];
  }
}
EXPORT(edge_moments)

// Adjoint of a tile's edges. In: adjoints of the nodes, of the moments, of the angle edges as receiving ones (own_bar, EC wide) and of their
// projections as the other edge (other_bar), and, where edges outside the angle set feed the second map, s_bar. Turns e_bar in place (where `starts`, there is none yet), writes what is owed
// to neighbours (`owed`, rows of wd), sums for the centre's projection, adds adjoints of w and h.
KERNEL(edge_backward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u32) first_pair, IN(u32) neighbour,
                      IN(real) geometry, IN(double) exact, u32 first, IN(stored) state,
                      IN(real) edge_weight, IN(real) edge_bias, IN(real) nodes, IN(real) centre, u32 wc, IN(real) neighbours, u32 wd,
                      IN(real) weight, IN(real) adjoint, IN(real) r_message, double message_scale, IN(real) r_edge, double keep,
                      u32 wa, IN(real) other_adjoint, IN(real) own_bar, IN(real) other_bar, IN(real) s_bar,
                      IN(real) node_bar, IN(real) moment_bar, u32 starts, OUT(real) e_bar, OUT(real) owed, OUT(real) centre_bar,
                      OUT(double) geometry_bar) {
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  Centre t = centre_of(first_centre, turns, first_edge, angle_edges);
  LOCAL(real) e = shared_at<real>(0);
  LOCAL(real) d = e + R_EDGE_BACK * EPS;
  // Message times its adjoint; later the change of the edge's adjoint.
  LOCAL(real) work = d + R_EDGE_BACK * WDS;
  LOCAL(real) sum = work + R_EDGE_BACK * (MP > EP ? MPS : EPS);
  // Adjoint of the sum of messages to the node, behind what waits for the other axes (below).
  LOCAL(real) message_bar = sum + MP + EP + R_EDGE_BACK * 4;
  for (u32 c = thread_anew(); c < wd; c += THREADS) sum[c] = real(0);
  for (u32 c = thread_anew(); c < MP; c += THREADS)
    message_bar[c] = real(message_scale * double(r_message[c]) * double(node_bar[u64(t.i) * NP + c % NP]));
  u64 ci = u64(t.i) * wc, hi = u64(t.i) * MOMENTS;
  for (u32 k0 = 0; k0 < t.ne; k0 += R_EDGE_BACK) {
    u32 rows = t.ne - k0 < R_EDGE_BACK ? t.ne - k0 : R_EDGE_BACK, e0 = t.from + k0;
    stage_edges(e, rows, e0, first, state, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product_of_two<TR_OF(R_EDGE_BACK), TR_OF(R_EDGE_BACK), LANES_C>(
        rows, EP, 0, MP, wd, weight, WD, Factors{e, EPS}, LAMBDA(u32 r, u32 c, auto x) {
          real bar[x.N], w = geometry[u64(e0 + r) * G + G_W];
          plus(x, centre, ci + c);
          plus(x, neighbours, u64(neighbour[e0 + r]) * wd + c);
          load<x.N>(bar, message_bar, c);
UNROLL
          for (int j = 0; j < x.N; j++) {
            Both<real> m = act(x.v[j]);
            x.v[j] = w * bar[j] * m.slope;
            bar[j] = m.value * bar[j];
          }
          store<x.N>(work, r * MPS + c, bar);
          store<x.N>(d, r * WDS + c, x.v);
          store<x.N>(owed, u64(e0 + r - tile_edge) * wd + c, x.v);
        },
        LAMBDA(u32 r, u32 c, auto x) {
          real scale[x.N], bar[x.N];
          plus(x, centre, ci + c);
          plus(x, neighbours, u64(neighbour[e0 + r]) * wd + c);
          load<x.N>(scale, r_edge, c - MP);
          load<x.N>(bar, e_bar, u64(e0 + r - tile_edge) * EP + c - MP);
UNROLL
          for (int j = 0; j < x.N; j++) x.v[j] = scale[j] * bar[j] * act(x.v[j]).slope;
          store<x.N>(d, r * WDS + c, x.v);
          store<x.N>(owed, u64(e0 + r - tile_edge) * wd + c, x.v);
        });
    barrier();
    for (u32 c = thread_anew(); c < wd; c += THREADS) {
      real s = sum[c];
      for (u32 r = 0; r < rows; r++) s += real(d[r * WDS + c]);
      sum[c] = s;
    }
    // dE/dw of the node-edge message, and dE/d(w h): a thread for each row and axis.
    for (u32 at = thread_anew(); at < rows * 4; at += THREADS) {
      u32 r = at / 4, axis = at % 4;
      u64 b = u64(e0 + r) * GB;
      if (axis == 3) {
        real s = real(0);
UNROLL_SOME
        for (u32 c = 0; c < MP; c += 4) {
          real x[4];
          load<4>(x, work, r * MPS + c);
          for (u32 k = 0; k < 4; k++) s += x[k];
        }
        geometry_bar[b] += double(s);
      } else {
        real s = real(0), n = real(0);
UNROLL_SOME
        for (u32 c = 0; c < EP; c += 4) {
          real x[4], y[4];
          load<4>(x, moment_bar, hi + axis * EP + c);
          load<4>(y, e, r * EPS + c);
          for (u32 k = 0; k < 4; k++) s = fma_(x[k], y[k], s);
        }
        u64 j = u64(neighbour[e0 + r]) * NP;
UNROLL_SOME
        for (u32 c = 0; c < NP; c += 4) {
          real x[4], y[4];
          load<4>(x, moment_bar, hi + 3 * EP + axis * NP + c);
          load<4>(y, nodes, j + c);
          for (u32 k = 0; k < 4; k++) n = fma_(x[k], y[k], n);
        }
        geometry_bar[b + 1 + axis] += double(s + n) * EDGE_ROOT * exact[u64(e0 + r) * 4];
        // Waits for the other axes: d has room behind its rows.
        sum[wd + at] = s + n;
      }
    }
    barrier();
    for (u32 r = thread_anew(); r < rows; r += THREADS) {
      double w_bar = 0.0;
      for (int a = 0; a < 3; a++)
        w_bar = fma_(double(real(sum[wd + r * 4 + a])) * EDGE_ROOT, exact[u64(e0 + r) * 4 + 1 + a], w_bar);
      geometry_bar[u64(e0 + r) * GB] += w_bar;
    }
    // All that the layer adds to an edge's adjoint is summed apart and joins it in one rounding.
    product<TR_OF(R_EDGE_BACK)>(
        rows, wd, 0, EP, adjoint, EP, Factors{d, WDS},
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
      // Other threads go on with what these have made.
      barrier();
      product_seen<1, 8>(
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
  for (u32 c = thread_anew(); c < wd; c += THREADS) centre_bar[ci + c] = sum[c];
}
EXPORT(edge_backward)
