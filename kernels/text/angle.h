// Angles of a centre, one block a centre (specification 7.5 and its adjoint). The m x m block is worked on as flat rows (e, f): several
// receiving edges at a time where m is small, parts of one where it is larger than R_ANGLE. Sums over f run in order. Products of receiving edges
// are plain ones always: one or two rows would leave the tiles of matrix units empty, and forward and backward must agree.

// Rows of a centre's angles that are worked on together: receiving edges k .. k + edges, other edges f0 .. f0 + span.
struct AngleRows {
  u32 k, edges, f0, span, inverse;
};
// `inverse`: r / span is (r * inverse) / 65536, for r * span < 65536 (64 rows at most). Whole numbers are divided slowly.
DEVICE AngleRows angle_rows(u32 k, u32 edges, u32 f0, u32 span) { return {k, edges, f0, span, (65535 + span) / span}; }
DEVICE u32 rows_of(const AngleRows &q) { return q.edges * q.span; }
// Of the receiving edges of the rows, and of the other ones.
DEVICE u32 edge_in(const AngleRows &q, u32 r) { return (r * q.inverse) >> 16; }
DEVICE u32 other_in(const AngleRows &q, u32 r) { return r - edge_in(q, r) * q.span; }
DEVICE u32 edge_of(const AngleRows &q, u32 r) { return q.k + edge_in(q, r); }
DEVICE u32 other_of(const AngleRows &q, u32 r) { return q.f0 + other_in(q, r); }
// Row of the element `at` of rows that are EP or EP + AP wide: divided by constants.
DEVICE u32 row_at(u32 at, u32 wa) { return wa == EP ? at / EP : at / (EP + AP); }
// Receiving edges from k on that fit together into `most` rows, none of them beyond the next multiple of `own`; `together` at most.
DEVICE u32 group_at(u32 k, u32 most, u32 m, u32 own, u32 together) {
  u32 g = m > most ? 1 : most / m, left = (m - k < own - k % own ? m - k : own - k % own);
  if (left > together) left = together;
  return g < left ? g : left;
}

// v of the other edges of those rows into shared memory.
DEVICE void stage_others(LOCAL(real) others, AngleRows q, u32 from, IN(real) geometry) {
  for (u32 f = thread_anew(); f < q.span; f += THREADS) others[f] = geometry[u64(from + q.f0 + f) * G + G_V];
}

// Their angle features too.
DEVICE void stage_angles(LOCAL(real) to, LOCAL(real) y, LOCAL(real) others, AngleRows q, u32 from, u64 angle, u32 m, u32 first,
                         IN(stored) state, IN(real) geometry, IN(double) vector, IN(double) distance, IN(real) weight) {
  u32 rows = rows_of(q);
  stage_others(others, q, from, geometry);
  if (first) {
    for (u32 r = thread_anew(); r < rows; r += THREADS)
      y[r] = real(cosine(vector, distance, from + edge_of(q, r), from + other_of(q, r)));
    barrier();
  }
  for (u32 at = thread_anew() * 4; at < rows * AP; at += THREADS * 4) {
    u32 r = at / AP, c = at % AP;
    real x[4];
    if (first) {
      load<4>(x, weight, c);
UNROLL
      for (int j = 0; j < 4; j++) x[j] = real(y[r]) * x[j];
    } else {
      load_stored<4>(x, state, (angle + u64(edge_of(q, r)) * m + other_of(q, r)) * AP + c);
    }
    store<4>(to, r * APS + c, x);
  }
}

// The same for all angles of receiving edges k .. k + edges, which lie together, to be there when `copies_done` returns; without v.
DEVICE void stage_ahead(LOCAL(real) to, u32 k, u32 edges, u64 angle, u32 m, IN(stored) state) {
#if AHEAD
  u64 from = (angle + u64(k) * m) * AP;
  for (u32 at = thread_anew() * 4; at < edges * m * AP; at += THREADS * 4) copy_ahead<real>(to, at / AP * APS + at % AP, state, from + at);
#endif
}

// Adds the messages of the rows to S of their receiving edges, whose rows begin at `s`: S += v_e v_f B in the order of f.
DEVICE void sum_messages(LOCAL(real) s, AngleRows q, u32 from, IN(real) geometry, LOCAL(real) others, LOCAL(real) message) {
  for (u32 at = thread_anew() * 4; at < q.edges * EP; at += THREADS * 4) {
    u32 e = at / EP, c = at % EP, row = e * q.span * EPS + c;
    real v = geometry[u64(from + q.k + e) * G + G_V], x[4];
    load<4>(x, s, e * EPS + c);
    for (u32 f = 0; f < q.span; f++) {
      real b[4], both = v * others[f];
      load<4>(b, message, row + f * EPS);
UNROLL
      for (int j = 0; j < 4; j++) x[j] = fma_(both, b[j], x[j]);
    }
    store<4>(s, e * EPS + c, x);
  }
}

// Projections of receiving edges k0 .. k0 + rows and of their centre together (`own`, wa wide), by way of `staged`. Made where they are used: in
// device memory they would be three times as wide as the features.
template <int TR>
DEVICE void project_own(LOCAL(real) own, LOCAL(real) staged, u32 rows, u32 e, u32 first, IN(stored) edges, u32 tile_edge,
                        IN(real) geometry, IN(real) edge_weight, IN(real) edge_bias, u32 wa, IN(real) weight, IN(real) centre, u64 ci) {
  const u32 W = EC % 4 ? 1 : 4;
UNROLL_NOT
  for (u32 at = thread_anew() * W; at < rows * EC; at += THREADS * W) {
    u32 r = at / EC, c = at % EC;
    real x[W];
    if (first) {
UNROLL
      for (u32 j = 0; j < W; j++) x[j] = embed_edge(geometry[u64(e + r) * G + G_X], c + j, edge_weight, edge_bias).value;
    } else {
      load_stored<W>(x, edges, u64(e + r - tile_edge) * EP + c);
    }
    store<W>(staged, r * EPS + c, x);
  }
  barrier();
  product_seen<TR, 8>(
      rows, EC, 0, wa, weight, WA, Factors{staged, EPS},
      LAMBDA(u32 r, u32 c, auto x) {
        plus(x, centre, ci + c);
        store<x.N>(own, r * WAS + c, x.v);
      });
  barrier();
}

// Angles of a tile forward: S, the second message of every edge, the angles' own update. `only_angles`: nothing but the last. `rest`: edges
// outside the angle set are still to be finished too.
KERNEL(angle_forward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle, IN(u32) first_pair,
                      IN(real) geometry, IN(double) vector, IN(double) distance, u32 first, IN(stored) state, u32 first_edges, IN(stored) edges, IN(real) edge_weight, IN(real) edge_bias, IN(real) angle_weight,
                      IN(real) centre, u32 wc, u32 wd, IN(real) weight, u32 wa, IN(real) own_weight, IN(real) other, IN(real) r_angle,
                      double keep, IN(real) linear2, IN(real) bias2, IN(real) r_second, u32 only_angles, u32 rest, IN(real) partial,
                      OUT(stored) edges_out, OUT(stored) out, OUT(u16) too_large) {
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  u64 tile_angle = first_angle[first_centre];
  u32 i = turns[first_centre + block()];
  u32 from = first_edge[i], ne = first_edge[i + 1] - from, m = angle_edges[i];
  u64 angle = first_angle[i] - tile_angle, pair = first_pair[i] - tile_pair, ci = u64(i) * wc + wd;
  LOCAL(real) places = shared_at<real>(0);
  LOCAL(real) message = places + (AHEAD ? 2 : 1) * R_ANGLE * APS;
  LOCAL(real) s = message + R_ANGLE * EPS;
  LOCAL(real) own = s + R_SUMS * EPS;
  LOCAL(real) y = own + R_SUMS * WAS;
  LOCAL(real) others_v = y + R_ANGLE;
  // Of this centre.
  IN(real) others = other + pair * wa;
  OUT(stored) leaving = wa > EP ? out + angle * AP : out;
  // Edges outside the angle set have the same message, or one that their own feature makes.
  u32 last = only_angles || SMOOTH ? m : ne;
  // Angles of the first group are asked for at once, those of each other one when work on the one before it begins.
  bool ahead = AHEAD && !first && m <= R_ANGLE;
  if (ahead && m) stage_ahead(places, 0, group_at(0, R_ANGLE, m, R_SUMS, m), angle, m, state);
  u32 place = 0;
  for (u32 k0 = 0; k0 < last; k0 += R_SUMS) {
    u32 some = last - k0 < R_SUMS ? last - k0 : R_SUMS;
    u32 end = k0 + some < m ? k0 + some : m;
    if (k0 < m)
      project_own<TR_WIDE(R_SUMS)>(own, s, end - k0, from + k0, first_edges, edges, tile_edge, geometry, edge_weight, edge_bias, wa, own_weight, centre, ci);
    for (u32 at = thread_anew(); at < some * EP; at += THREADS) {
      u32 k = k0 + at / EP, c = at % EP;
      real x = real(0);
      if (!SMOOTH && !only_angles && k >= m)
        x = first_edges ? embed_edge(geometry[u64(from + k) * G + G_X], c, edge_weight, edge_bias).value
                        : unpack(edges[u64(from + k - tile_edge) * EP + c]);
      s[at / EP * EPS + c] = x;
    }
    barrier();
    for (u32 k = k0; k < end;) {
      u32 g = group_at(k, R_ANGLE, m, R_SUMS, m);
      for (u32 f0 = 0; f0 < m; f0 += R_ANGLE) {
        AngleRows q = angle_rows(k, g, f0, m - f0 < R_ANGLE ? m - f0 : R_ANGLE);
        LOCAL(real) a = places + place;
        if (ahead) {
          if (!k) stage_others(others_v, q, from, geometry);
          copies_done();
        } else {
          stage_angles(a, y, others_v, q, from, angle, m, first, state, geometry, vector, distance, angle_weight);
        }
        barrier();
        if (ahead && k + g < m) stage_ahead(places + (R_ANGLE * APS - place), k + g, group_at(k + g, R_ANGLE, m, R_SUMS, m), angle, m, state);
        product_of_two<TR_OF(R_ANGLE), TR_WIDE(R_ANGLE), 8>(
              rows_of(q), AP, only_angles ? EP : 0, EP, wa, weight, WA, Factors{a, APS}, LAMBDA(u32 r, u32 c, auto x) {
                u32 e = edge_in(q, r), f = r - e * q.span;
                plus(x, own, (k - k0 + e) * WAS + c);
                plus(x, others, (f0 + f) * wa + c);
UNROLL
                for (int j = 0; j < x.N; j++) x.v[j] = act(x.v[j]).value;
                store<x.N>(message, r * EPS + c, x.v);
              },
              LAMBDA(u32 r, u32 c, auto x) {
                u32 e = edge_in(q, r), f = r - e * q.span;
                plus(x, own, (k - k0 + e) * WAS + c);
                plus(x, others, (f0 + f) * wa + c);
                real old[x.N], scale[x.N];
                load<x.N>(old, a, r * APS + c - EP);
                load<x.N>(scale, r_angle, c - EP);
UNROLL
                for (int j = 0; j < x.N; j++) x.v[j] = fma_(scale[j], act(x.v[j]).value, real(keep) * old[j]);
                store_packed<x.N>(leaving, ((k + e) * m + f0 + f) * AP + c - EP, x.v, too_large);
              });
        barrier();
        if (!only_angles) {
          sum_messages(s + (k - k0) * EPS, q, from, geometry, others_v, message);
          barrier();
        }
      }
      if (ahead) place = R_ANGLE * APS - place;
      k += g;
    }
    if (!only_angles) {
      product_rows<TR_OF(R_SUMS), LANES_C>(
          some, EP, 0, EP, linear2, EP, Factors{s, EPS},
          LAMBDA(u32 r, u32 c, auto x) {
            u64 at = u64(from + k0 + r - tile_edge) * EP + c;
            real scale[x.N], old[x.N];
            load<x.N>(scale, r_second, c);
            load<x.N>(old, partial, at);
            plus(x, bias2, c);
UNROLL
            for (int j = 0; j < x.N; j++) x.v[j] = fma_(scale[j], act(x.v[j]).value, old[j]);
            store_packed<x.N>(edges_out, at, x.v, too_large);
          });
    }
    barrier();
  }
  if (only_angles || !rest) return;
  for (u32 at = last * EP + thread_anew(); at < ne * EP; at += THREADS) {
    u32 c = at % EP;
    u64 to = u64(from - tile_edge) * EP + at;
    real n = fma_(r_second[c], act(bias2[c]).value, partial[to]);
    if (beyond(n)) too_large[0] = 1;
    edges_out[to] = pack(n);
  }
}
EXPORT(angle_forward)

// Pre-activations of the rows, activated: messages to the edge, and slopes of all columns.
DEVICE void recompute(AngleRows q, u32 wa, IN(real) weight, const Factors &a, LOCAL(real) own, IN(real) others,
                      LOCAL(real) message, LOCAL(real) slope) {
  product_of_two<TR_OF(R_ANGLE_BACK), TR_WIDE(R_ANGLE_BACK), 8>(rows_of(q), AP, 0, EP, wa, weight, WA, a, LAMBDA(u32 r, u32 c, auto x) {
    u32 e = edge_in(q, r), f = r - e * q.span;
    plus(x, own, e * WAS + c);
    plus(x, others, (q.f0 + f) * wa + c);
    real slopes[x.N];
UNROLL
    for (int j = 0; j < x.N; j++) {
      Both<real> z = act(x.v[j]);
      slopes[j] = z.slope;
      x.v[j] = z.value;
    }
    store<x.N>(slope, r * WAS + c, slopes);
    store<x.N>(message, r * EPS + c, x.v);
  },
  LAMBDA(u32 r, u32 c, auto x) {
      u32 e = edge_in(q, r), f = r - e * q.span;
      plus(x, own, e * WAS + c);
      plus(x, others, (q.f0 + f) * wa + c);
UNROLL
      for (int j = 0; j < x.N; j++) x.v[j] = act(x.v[j]).slope;
      store<x.N>(slope, r * WAS + c, x.v);
  });
}

// Other edges go to so many threads in turn, by their number; sums over them are made by each and joined in order. A constant of the widths: as
// many as there are threads for, and room for their sums in the rows of messages (an eighth of which are receiving edges, `Rows`).
#define PARTS_OF_F parts_of_f(THREADS * 4 / WA, 8 * EP / WA)
#define PARTS_FIT (8 * EP >= WA)
DEVICE constexpr u32 parts_of_f(u32 threads, u32 room) { return threads < 1 || room < 1 ? 1 : threads < room ? threads : room; }

// Slopes of the rows become adjoints of their pre-activations; those of the other edges' projections join `other_bar` (from the centre's first
// receiving edge on), those of the receiving edges' are summed over f into `parts` (part, receiving edge, column; they go on where !whole).
DEVICE void settle_rows(AngleRows q, u32 f0, bool whole, u32 wa, u32 from, u32 m, u64 angle, u64 pair, IN(real) geometry, LOCAL(real) others,
                        LOCAL(real) s, IN(real) r_angle, OUT(real) a_bar, LOCAL(real) slope, LOCAL(real) parts, OUT(real) other_bar) {
  const u32 PARTS = PARTS_OF_F;
  u32 groups = wa / 4;
  for (u32 at = thread_anew(); at < PARTS * groups; at += THREADS) {
    u32 part = at / groups, c = (at - part * groups) * 4, first = (part + PARTS - f0 % PARTS) % PARTS;
    bool to_edge = c < EP;
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
UNROLL_TWO
      for (u32 f = first; f < q.span; f += PARTS) {
        real v = others[f], all[4] = {real(0), real(0), real(0), real(0)};
        u64 to = (pair + f0 + f) * wa + c;
        if (q.k + e) load<4>(all, other_bar, to);
UNROLL
        for (u32 i = 0; i < 2; i++) {
          if (i >= two) continue;
          u32 row = ((e + i) * q.span + f) * WAS + c;
          real z[4], up[4];
          load<4>(z, slope, row);
          if (!to_edge) load<4>(up, a_bar, (angle + u64(q.k + e + i) * m + f0 + f) * AP + c - EP);
UNROLL
          for (int j = 0; j < 4; j++) {
            z[j] *= t[i][j] * (to_edge ? v : up[j]);
            sum[i][j] += z[j];
            all[j] += z[j];
          }
          store<4>(slope, row, z);
        }
        store<4>(other_bar, to, all);
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
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  u64 tile_angle = first_angle[first_centre];
  u32 i = turns[first_centre + block()];
  u32 from = first_edge[i], ne = first_edge[i + 1] - from, m = angle_edges[i];
  u64 angle = first_angle[i] - tile_angle, pair = first_pair[i] - tile_pair, ci = u64(i) * wc + wd;
  LOCAL(real) places = shared_at<real>(0);
  LOCAL(real) message = places + (AHEAD ? 2 : 1) * R_ANGLE_BACK * APS;
  LOCAL(real) slope = message + R_ANGLE_BACK * EPS;
  LOCAL(real) s = slope + R_ANGLE_BACK * WAS;
  LOCAL(real) p = s + R_SECOND * EPS;
  // Projections of R_OWN receiving edges, their adjoints, and the sums of these for the centre.
  LOCAL(real) own = p + R_SECOND * EPS;
  LOCAL(real) bar = own + R_OWN * WAS;
  LOCAL(real) sum = bar + R_OWN * WAS;
  LOCAL(real) y = sum + WA;
  LOCAL(real) others_v = y + R_ANGLE_BACK;
  bool updates = wa > EP;
  // Of this centre.
  IN(real) others = other + pair * wa;
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
      project_own<TR_WIDE(R_OWN)>(own, message, m - k < R_OWN ? m - k : R_OWN, from + k, first_edges, edges, tile_edge, geometry, edge_weight,
                                  edge_bias, wa, own_weight, centre, ci);
    u32 g = group_at(k, R_ANGLE_BACK, m, R_OWN, R_SECOND);
    for (u32 at = thread_anew(); at < g * EP; at += THREADS) s[at / EP * EPS + at % EP] = real(0);
    // Twice over the rows: the sum S of the receiving edges, then, once its adjoint is known, all that depends on it. Rows that fit together
    // stay where they are in between. One loop, so that the text of a pass is there once: instructions have a cache, too.
UNROLL_NOT
    for (u32 pass = 0; pass < 2; pass++) {
      if (pass) {
        // Adjoint of S through the second map.
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
          if (ahead) {
            if (!k) stage_others(others_v, q, from, geometry);
            copies_done();
          } else {
            stage_angles(a, y, others_v, q, from, angle, m, first, state, geometry, vector, distance, angle_weight);
          }
          barrier();
          if (ahead && k + g < m)
            stage_ahead(places + (R_ANGLE_BACK * APS - place), k + g, group_at(k + g, R_ANGLE_BACK, m, R_OWN, R_SECOND), angle, m, state);
          recompute(q, wa, weight, Factors{a, APS}, own + k % R_OWN * WAS, others, message, slope);
          barrier();
        }
        if (!pass) {
          sum_messages(s, q, from, geometry, others_v, message);
          barrier();
          continue;
        }
        // What S owes to the switch values: B . S_bar of each row.
        for (u32 r = thread_anew(); r < rows; r += THREADS) {
          u32 e = edge_in(q, r);
          real x = real(0);
UNROLL_SOME
          for (u32 c = 0; c < EP; c += 4) {
            real b[4], t[4];
            load<4>(b, message, r * EPS + c);
            load<4>(t, s, e * EPS + c);
            for (u32 i = 0; i < 4; i++) x = fma_(b[i], t[i], x);
          }
          y[r] = x;
        }
        barrier();
        settle_rows(q, f0, whole, wa, from, m, angle, pair, geometry, others_v, s, r_angle, a_bar, slope, parts, other_bar);
        // v of the other edges and of the receiving ones: a thread an edge.
        for (u32 f = thread_anew(); f < q.span; f += THREADS) {
          double x = geometry_bar[u64(from + f0 + f) * GB + 5];
          for (u32 e = 0; e < g; e++)
            x = fma_(double(real(y[e * q.span + f])) * ANGLE_ROOT, double(geometry[u64(from + k + e) * G + G_V]), x);
          geometry_bar[u64(from + f0 + f) * GB + 5] = x;
        }
        for (u32 e = thread_anew(); e < g; e += THREADS) {
          double x = geometry_bar[u64(from + k + e) * GB + 4];
          for (u32 f = 0; f < q.span; f++)
            x = fma_(double(real(y[e * q.span + f])) * ANGLE_ROOT, double(real(others_v[f])), x);
          geometry_bar[u64(from + k + e) * GB + 4] = x;
        }
        barrier();
        if (f0 + q.span == m)
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
        LAMBDA(u32 r, u32 c, auto x) { store<x.N>(own_bar, (pair + k0 + r) * EC + c, x.v); });
    barrier();
  }
  for (u32 c = thread_anew(); c < wa; c += THREADS) centre_bar[ci + c] = sum[c];
#if !SMOOTH
  // Edges outside the angle set: the second map reads their own feature.
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
