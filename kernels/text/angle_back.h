// Adjoint of the angles of a centre, one block a centre (specification 7.5), with the rows of angle.h. Messages and slopes are computed again.

// Pre-activations of the rows, activated: messages to the edge, and slopes of all columns.
DEVICE void recompute(AngleRows q, u32 wa, IN(real) weight, const Factors &a, LOCAL(real) own, IN(real) others,
                      LOCAL(real) message, LOCAL(real) slope) {
  product_of_two<TR_OF(R_ANGLE_BACK), TR_WIDE(R_ANGLE_BACK), 8, TILES_OF(R_ANGLE_BACK)>(
      rows_of(q), AP, 0, EP, wa, weight, WA, a, LAMBDA(u32 r, u32 c, auto x) {
        u32 e = edge_in(q, r), f = r - e * q.span;
        plus(x, own, e * WAS + c);
        plus(x, others, (q.f0 + f) * wa + c);
        real slopes[x.N];
        activate<x.N>(x.v, slopes);
        store<x.N>(slope, r * WAS + c, slopes);
        store<x.N>(message, r * EPS + c, x.v);
      },
      LAMBDA(u32 r, u32 c, auto x) {
        u32 e = edge_in(q, r), f = r - e * q.span;
        plus(x, own, e * WAS + c);
        plus(x, others, (q.f0 + f) * wa + c);
        real slopes[x.N];
        activate<x.N>(x.v, slopes);
        store<x.N>(slope, r * WAS + c, slopes);
      });
}

// Other edges go to so many threads in turn, by their number; sums over them are made by each and joined in order. A constant of the widths: as
// many as there are threads for, and room for their sums in the rows of messages (an eighth of which are receiving edges, `Rows`).
#define PARTS_OF_F parts_of_f(THREADS * 4 / WA, 8 * EP / WA)
#define PARTS_FIT (8 * EP >= WA)
DEVICE constexpr u32 parts_of_f(u32 threads, u32 room) { return threads < 1 || room < 1 ? 1 : threads < room ? threads : room; }

// Slopes of the rows become adjoints of their pre-activations; those of the other edges' projections join `other_bar` (from the centre's first
// receiving edge on), those of the receiving edges' are summed over f into `parts` (part, receiving edge, column; they go on where !whole).
DEVICE void settle_rows(AngleRows q, u32 f0, bool whole, u32 wa, u32 from, u32 m, u64 angle, u32 pair, IN(real) geometry, LOCAL(real) others,
                        LOCAL(real) s, IN(real) r_angle, OUT(real) a_bar, LOCAL(real) slope, LOCAL(real) parts, OUT(real) other_bar) {
  // Threads of the edge's columns first, then those of the angle's: few waves have both.
  const u32 PARTS = PARTS_OF_F, OF_EDGE = PARTS * (EP / 4);
  for (u32 at = thread_anew(); at < PARTS * (wa / 4); at += THREADS) {
    bool to_edge = at < OF_EDGE;
    u32 part = to_edge ? at / (EP / 4) : (at - OF_EDGE) / (AP / 4), first = (part + PARTS - f0 % PARTS) % PARTS;
    u32 c = to_edge ? at % (EP / 4) * 4 : EP + (at - OF_EDGE) % (AP / 4) * 4;
    for (u32 e = 0; e < q.edges; e += 2) {
      u32 two = e + 1 < q.edges ? 2 : 1;
      real t[2][4], sum[2][4];
UNROLL
      for (u32 i = 0; i < 2; i++) {
        u32 b = i < two ? e + i : e;
        if (to_edge) {
          real v = geometry[u64(from + q.k + b) * G + G_V];
          load<4>(t[i], s, b * EPS + c);
UNROLL
          for (int j = 0; j < 4; j++) t[i][j] *= v;
        } else {
          load<4>(t[i], r_angle, c - EP);
        }
UNROLL
        for (int j = 0; j < 4; j++) sum[i][j] = real(0);
        if (f0 && i < two) load<4>(sum[i], parts, (part * q.edges + b) * wa + c);
      }
      LOCAL(real) rows = slope + e * q.span * WAS + c;
      OUT(real) bars = to_edge ? a_bar : a_bar + ((angle + u64(q.k + e) * m + f0) * AP + c - EP);
      OUT(real) all_bars = other_bar + (u64(pair + f0) * wa + c);
UNROLL_NOT
      for (u32 f = first; f < q.span; f += PARTS) {
        real all[4] = {real(0), real(0), real(0), real(0)};
        if (q.k + e) load<4>(all, all_bars, f * wa);
UNROLL
        for (u32 i = 0; i < 2; i++) {
          if (i >= two) continue;
          real z[4], up[4];
          load<4>(z, rows, (i * q.span + f) * WAS);
          if (to_edge) {
UNROLL
            for (int j = 0; j < 4; j++) up[j] = others[f];
          } else {
            load<4>(up, bars, (i * m + f) * AP);
          }
UNROLL
          for (int j = 0; j < 4; j++) {
            z[j] *= t[i][j] * up[j];
            sum[i][j] += z[j];
            all[j] += z[j];
          }
          store<4>(rows, (i * q.span + f) * WAS, z);
        }
        store<4>(all_bars, f * wa, all);
      }
UNROLL
      for (u32 i = 0; i < 2; i++)
        if (i < two) store<4>(parts, (part * q.edges + e + i) * wa + c, sum[i]);
    }
  }
}

// Adjoint of a tile's angles. In: adjoint of the edges leaving the layer (none where `starts`: the angles of the layer above do not
// reach the energy) and of the angles. Out: a_bar in place, adjoints of the angle edges as receiving ones (EC wide), of their projections
// as the other edge, of the centre's columns, of v; s_bar of edges outside the angle set, where they have one.
KERNEL_OF_WIDE_ROWS(angle_backward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle, IN(u32) first_pair,
                       IN(real) geometry, IN(double) vector, IN(double) distance, u32 first, IN(stored) state, u32 first_edges, IN(stored) edges, IN(real) edge_weight, IN(real) edge_bias,
                       IN(real) angle_weight, IN(real) centre, u32 wc, u32 wd, IN(real) weight, IN(real) adjoint, u32 wa,
                       IN(real) own_weight, IN(real) own_adjoint, IN(real) other, IN(real) r_angle, double keep, IN(real) linear2, IN(real) linear2_adjoint,
                       IN(real) bias2, IN(real) r_second, IN(real) e_bar, OUT(real) a_bar, OUT(real) own_bar, OUT(real) other_bar,
                       OUT(real) s_bar, OUT(real) centre_bar, OUT(double) geometry_bar) {
  AngleCentre t = angle_centre_of(first_centre, turns, first_edge, angle_edges, first_angle, first_pair);
  u32 from = t.from, ne = t.ne, m = t.m;
  u32 pair = t.pair;
  u64 angle = t.angle;
  // What S owes to the switch values of each row, and sums of it over other edges in eight parts for each receiving edge.
  LOCAL(double) y = shared_at<double>(0);
  LOCAL(double) v_sums = y + R_ANGLE_BACK;
  LOCAL(real) places = shared_at<real>(16 * R_ANGLE_BACK);
  LOCAL(real) message = places + (AHEAD ? 2 : 1) * R_ANGLE_BACK * APS;
  LOCAL(real) slope = message + R_ANGLE_BACK * EPS;
  LOCAL(real) s = slope + R_ANGLE_BACK * WAS;
  LOCAL(real) p = s + R_SECOND * EPS;
  // Projections of R_OWN receiving edges, their adjoints, and the sums of these for the centre.
  LOCAL(real) own = p + R_SECOND * EPS;
  LOCAL(real) bar = own + R_OWN * WAS;
  LOCAL(real) sum = bar + R_OWN * WAS;
  LOCAL(real) others_v = sum + WA;
  bool updates = wa > EP;
  // Of this centre.
  IN(real) others = other + u64(pair) * wa;
  for (u32 c = thread_anew(); c < wa; c += THREADS) sum[c] = real(0);
  barrier();
  bool whole = m <= R_ANGLE_BACK;
  bool ahead = AHEAD && !first && whole;
  if (ahead && m) stage_ahead(places, 0, group_at(0, R_ANGLE_BACK, m, R_OWN, R_SECOND), angle, m, state);
  u32 place = 0;
  // Messages are no longer wanted when these sums are made, unless they are made again for the next other edges.
  LOCAL(real) parts = whole && PARTS_FIT ? message : others_v + R_ANGLE_BACK;
  for (u32 k = 0; k < m;) {
    if (k % R_OWN == 0)
      project_own<R_OWN < 8 ? 1 : 2, 32>(own, message, m - k < R_OWN ? m - k : R_OWN, from + k, first_edges, edges,
                                         read_anew(first_edge, first_centre), geometry, edge_weight, edge_bias, wa, own_weight, centre,
                                         u64(read_anew(turns, first_centre + block())) * wc + wd);
    u32 g = group_at(k, R_ANGLE_BACK, m, R_OWN, R_SECOND);
    for (u32 at = thread_anew(); at < g * EP; at += THREADS) s[at / EP * EPS + at % EP] = real(0);
    // Twice over the rows: the sum S of the receiving edges, then, once its adjoint is known, all that depends on it. Rows that fit together
    // stay where they are in between. One loop, so that the text of a pass is there once: instructions have a cache, too.
UNROLL_NOT
    for (u32 pass = 0; pass < 2; pass++) {
      if (pass) {
        // Adjoint of S through the second map.
        u32 tile_edge = read_anew(first_edge, first_centre);
        product_rows<1, LANES_C>(
            g, EP, 0, EP, linear2, EP, Factors{s, EPS},
            each(LAMBDA(u32 r, u32 c, real x) {
              p[r * EPS + c] = r_second[c] * e_bar[u64(from + k + r - tile_edge) * EP + c] * act(x + bias2[c]).slope;
            }));
        barrier();
        product_rows<1, LANES_C>(
            g, EP, 0, EP, linear2_adjoint, EP, Factors{p, EPS},
            LAMBDA(u32 r, u32 c, auto x) { store<x.N>(s, r * EPS + c, x.v); });
        barrier();
      }
      for (u32 f0 = 0; f0 < m; f0 += R_ANGLE_BACK) {
        AngleRows q = angle_rows(k, g, f0, m - f0 < R_ANGLE_BACK ? m - f0 : R_ANGLE_BACK);
        u32 rows = rows_of(q);
        if (!pass || !whole) {
          LOCAL(real) a = places + place;
          take_rows(ahead, R_ANGLE_BACK, R_OWN, R_SECOND, a, places + (R_ANGLE_BACK * APS - place), y, others_v, q, from, angle, m, first, state, geometry,
                    vector, distance, angle_weight);
          recompute(q, wa, weight, Factors{a, APS}, own + k % R_OWN * WAS, others, message, slope);
          barrier();
        }
        if (!pass) {
          sum_messages(s, q, from, geometry, others_v, message);
          barrier();
          continue;
        }
        // B . S_bar of each row, two of a receiving edge by a thread.
        u32 half = (q.span + 1) / 2;
        for (u32 at = thread_anew(); at < g * half; at += THREADS) {
          u32 e = at / half, f = (at - e * half) * 2, r = e * q.span + f, two = f + 1 < q.span ? 1 : 0;
          real x[2] = {real(0), real(0)};
UNROLL_TWO
          for (u32 c = 0; c < EP; c += 4) {
            real b[2][4], t[4];
            load<4>(t, s, e * EPS + c);
UNROLL
            for (u32 k = 0; k < 2; k++) {
              load<4>(b[k], message, (r + k * two) * EPS + c);
UNROLL
              for (u32 i = 0; i < 4; i++) x[k] = fma_(b[k][i], t[i], x[k]);
            }
          }
          y[r] = double(x[0]) * ANGLE_ROOT;
          if (two) y[r + 1] = double(x[1]) * ANGLE_ROOT;
        }
        barrier();
        settle_rows(q, f0, whole, wa, from, m, angle, pair, geometry, others_v, s, r_angle, a_bar, slope, parts, other_bar);
        // v of the other edges, a thread each; of the receiving ones, eight threads each (their number divides that of the rows, so a part is
        // the same sum however many rows there are).
        for (u32 f = thread_anew(); f < q.span; f += THREADS) {
          double x = geometry_bar[u64(from + f0 + f) * GB + 5];
UNROLL_NOT
          for (u32 e = 0; e < g; e++) x = fma_(y[e * q.span + f], double(geometry[u64(from + k + e) * G + G_V]), x);
          geometry_bar[u64(from + f0 + f) * GB + 5] = x;
        }
        for (u32 at = thread_anew(); at < g * 8; at += THREADS) {
          double x = f0 ? double(v_sums[at]) : 0.0;
UNROLL_NOT
          for (u32 f = at % 8; f < q.span; f += 8) x = fma_(y[at / 8 * q.span + f], double(real(others_v[f])), x);
          v_sums[at] = x;
        }
        barrier();
        if (f0 + q.span == m) {
          for (u32 e = thread_anew(); e < g; e += THREADS) {
            double x = geometry_bar[u64(from + k + e) * GB + 4];
UNROLL_NOT
            for (u32 i = 0; i < 8; i++) x += v_sums[e * 8 + i];
            geometry_bar[u64(from + k + e) * GB + 4] = x;
          }
          for (u32 at = thread_anew() * 4; at < g * wa; at += THREADS * 4) {
            u32 e = row_at(at, wa), c = at - e * wa;
            real x[4], z[4];
            load<4>(x, parts, at);
            for (u32 i = 1; i < PARTS_OF_F; i++) {
              load<4>(z, parts, i * g * wa + at);
UNROLL
              for (int j = 0; j < 4; j++) x[j] += z[j];
            }
            store<4>(bar, (k % R_OWN + e) * WAS + c, x);
          }
        }
      product<TR_WIDE(R_ANGLE_BACK), 8>(
            rows, wa, 0, AP, adjoint, AP, Factors{slope, WAS},
            LAMBDA(u32 r, u32 c, auto x) {
              u64 at = (angle + u64(edge_of(q, r)) * m + other_of(q, r)) * AP + c;
              if (updates) {
                real old[x.N];
                load<x.N>(old, a_bar, at);
UNROLL
                for (int j = 0; j < x.N; j++) x.v[j] = fma_(real(keep), old[j], x.v[j]);
              }
              store<x.N>(a_bar, at, x.v);
            });
        barrier();
      }
    }
    if (ahead) place = R_ANGLE_BACK * APS - place;
    k += g;
    if (k % R_OWN && k < m) continue;
    // The adjoints of those that were projected together are there.
    u32 k0 = (k - 1) / R_OWN * R_OWN, some = k - k0;
    for (u32 c = thread_anew(); c < wa; c += THREADS) {
      real x = sum[c];
      for (u32 e = 0; e < some; e++) x += real(bar[e * WAS + c]);
      sum[c] = x;
    }
    product_seen<TR_WIDE(R_OWN), 8>(
        some, wa, 0, EC, own_adjoint, EC, Factors{bar, WAS},
        LAMBDA(u32 r, u32 c, auto x) { store<x.N>(own_bar, u64(pair + k0 + r) * EC + c, x.v); });
    barrier();
  }
  u64 ci = u64(read_anew(turns, first_centre + block())) * wc + wd;
  for (u32 c = thread_anew(); c < wa; c += THREADS) centre_bar[ci + c] = sum[c];
#if !SMOOTH
  // Edges outside the angle set: the second map reads their own feature.
  u32 tile_edge = read_anew(first_edge, first_centre);
  for (u32 k0 = m; k0 < ne; k0 += R_SECOND) {
    u32 some = ne - k0 < R_SECOND ? ne - k0 : R_SECOND;
    barrier();
    stage_edges(s, some, from + k0, first_edges, edges, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product_rows<1, LANES_C>(
        some, EP, 0, EP, linear2, EP, Factors{s, EPS},
        each(LAMBDA(u32 r, u32 c, real x) {
          p[r * EPS + c] = r_second[c] * e_bar[u64(from + k0 + r - tile_edge) * EP + c] * act(x + bias2[c]).slope;
        }));
    barrier();
    product_rows<1, LANES_C>(
        some, EP, 0, EP, linear2_adjoint, EP, Factors{p, EPS},
        LAMBDA(u32 r, u32 c, auto x) { store<x.N>(s_bar, u64(from + k0 + r - tile_edge) * EP + c, x.v); });
  }
#endif
}
EXPORT(angle_backward)
