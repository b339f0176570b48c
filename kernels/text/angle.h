// Angles of a centre, one block a centre or two (specification 7.5 and its adjoint). The m x m block is worked on as flat rows (e, f): several
// receiving edges at a time where m is small, parts of one where it is larger than R_ANGLE. Sums over f run in order.

// Two blocks have a centre: one of the first half of the grid and one of the other. Where it has many angle edges they share those as receiving
// edges, so that a small system does not wait for its heaviest centres (of 582 centres and 396 places, the one with 36 would take 1.8 times as
// long as a place has work on average); else the block of the second half has all, and the other ends at once. Heavy centres come first in both
// halves. The first part is a multiple of eight: no tile or group of receiving edges is emptier for it. What sums go over receiving edges the
// parts make apart and `edge_backward` and `edge_gradients` join; a rule of m alone, so that no bit depends on anything else.
DEVICE u32 cut_at(u32 m) { return m < SHARED_FROM ? m : (m / 2 + 3) / 8 * 8; }
DEVICE bool has_the_rest() { return block_anew() < blocks_anew() / 2; }
DEVICE u32 first_receiving(u32 m) { return has_the_rest() ? cut_at(m) : 0; }
DEVICE u32 receiving(u32 m) { return has_the_rest() ? m - cut_at(m) : cut_at(m); }
DEVICE u32 in_turn(u32 first_centre, IN(u32) turns) {
  return read_anew(turns, first_centre + block_anew() - (has_the_rest() ? 0 : blocks() / 2));
}

// Which centre a block works on, and where its receiving edges and their angles begin: among all edges (`from`), in the tile's arrays of angles
// and of angle edges. The other edges of its angles are all m, from - first_receiving(m) on. (In the tile's arrays of edges, from - tile_edge,
// where tile_edge is first_edge[first_centre], read anew where it is needed.) `ne`: the centre's edges from `from` on.
struct AngleCentre {
  u32 from, ne, m, pair;
  u64 angle;
};
DEVICE AngleCentre angle_centre_of(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle,
                                   IN(u32) first_pair) {
  u32 tile_pair = first_pair[first_centre];
  u64 tile_angle = first_angle[first_centre];
  u32 i = turns[first_centre + block() - (has_the_rest() ? 0 : blocks() / 2)], m = angle_edges[i], first = first_receiving(m), from = first_edge[i] + first;
  return {uniform(from), uniform(first_edge[i + 1] - from), uniform(m), uniform(first_pair[i] - tile_pair + first),
          first_angle[i] - tile_angle + u64(first) * m};
}

// Rows of a centre's angles that are worked on together: receiving edges k .. k + edges, other edges f0 .. f0 + span.
struct AngleRows {
  u32 k, edges, f0, span, inverse;
};
// How centres with m angle edges go through so many rows: receiving edges that fit together, and the inverse of m. Once for a block, because whole
// numbers are divided slowly.
struct Fit {
  u32 edges, inverse;
};
// r / span is (r * inverse) / 65536, for r * span < 65536 (64 rows at most).
DEVICE u32 inverse_of(u32 span) { return (65535 + span) / span; }
DEVICE Fit fit_of(u32 most, u32 m) { return {m > most || !m ? 1 : most / m, m ? inverse_of(m) : 0}; }
DEVICE AngleRows angle_rows(u32 k, u32 edges, u32 f0, u32 span, u32 m, const Fit &fit) {
  return {k, edges, f0, span, span == m ? fit.inverse : inverse_of(span)};
}
DEVICE u32 rows_of(const AngleRows &q) { return q.edges * q.span; }
// Of the receiving edges of the rows, and of the other ones.
DEVICE u32 edge_in(const AngleRows &q, u32 r) { return (r * q.inverse) >> 16; }
DEVICE u32 other_in(const AngleRows &q, u32 r) { return r - edge_in(q, r) * q.span; }
DEVICE u32 edge_of(const AngleRows &q, u32 r) { return q.k + edge_in(q, r); }
DEVICE u32 other_of(const AngleRows &q, u32 r) { return q.f0 + other_in(q, r); }
// Angles of the rows stand together: where several receiving edges go together, each has all other edges.
DEVICE u64 first_of(const AngleRows &q, u64 angle, u32 m) { return angle + u64(q.k) * m + q.f0; }
// Row of the element `at` of rows that are EP or EP + AP wide: divided by constants.
DEVICE u32 row_at(u32 at, u32 wa) { return wa == EP ? at / EP : at / (EP + AP); }
// Receiving edges from k on that go together, none of them beyond the next multiple of `own`; `together` at most.
DEVICE u32 group_at(u32 k, const Fit &fit, u32 m, u32 own, u32 together) {
  u32 rest = receiving(m) - k, left = rest < own - k % own ? rest : own - k % own;
  if (left > together) left = together;
  return fit.edges < left ? fit.edges : left;
}

// v of the other edges of those rows into shared memory.
DEVICE void stage_others(LOCAL(real) others, AngleRows q, u32 from, u32 m, IN(real) geometry) {
  for (u32 f = thread_anew(); f < q.span; f += THREADS) others[f] = geometry[u64(from - first_receiving(m) + q.f0 + f) * G + G_V];
}

// Their angle features too. `y`: room for a number of each row.
template <class Y>
DEVICE void stage_angles(LOCAL(real) to, Y y, LOCAL(real) others, AngleRows q, u32 from, u64 angle, u32 m, u32 first,
                         IN(stored) state, IN(real) geometry, IN(double) vector, IN(double) distance, IN(real) weight) {
  u32 rows = rows_of(q);
  stage_others(others, q, from, m, geometry);
  if (first) {
    for (u32 r = thread_anew(); r < rows; r += THREADS)
      y[r] = real(cosine(vector, distance, from + edge_of(q, r), from - first_receiving(m) + other_of(q, r)));
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
      load_stored<4>(x, state, (first_of(q, angle, m) + r) * AP + c);
    }
    store<4>(to, r * APS + c, x);
  }
}

// The same for all angles of receiving edges k .. k + edges, which lie together, to be there when `copies_done` returns; without v.
DEVICE void stage_ahead(LOCAL(real) to, u32 k, u32 edges, u64 angle, u32 m, IN(stored) state) {
#if AHEAD
  IN(stored) here = state + (angle + u64(k) * m) * AP;
  u32 count = edges * m * AP;
UNROLL_NOT
  for (u32 at = thread_anew() * 4; at < count; at += THREADS * 4) copy_ahead<real>(to, at + at / AP * PAD, here, at);
#endif
}

// The rows to `here`, and v of their other edges, for all threads: staged, or waited for where they are copied ahead (v of the other edges is the same
// for all groups then).
template <class Y>
DEVICE void take_rows(bool ahead, LOCAL(real) here, Y y, LOCAL(real) others, AngleRows q, u32 from, u64 angle, u32 m, u32 first, IN(stored) state,
                      IN(real) geometry, IN(double) vector, IN(double) distance, IN(real) weight) {
  if (ahead) {
    if (!q.k) stage_others(others, q, from, m, geometry);
    copies_done();
  } else {
    stage_angles(here, y, others, q, from, angle, m, first, state, geometry, vector, distance, weight);
  }
  barrier();
}

// Asks for the rows of the group behind those, in their place: behind the barrier after their last use, while the block goes on with what it has made
// of them. (A place of its own for them took 9 kB: shared memory that is the first cache's where nobody needs it.)
DEVICE void ask_for_next(bool ahead, const Fit &fit, u32 own, u32 together, LOCAL(real) here, AngleRows q, u64 angle, u32 m, IN(stored) state) {
  u32 k = q.k + q.edges;
  if (ahead && k < receiving(m)) stage_ahead(here, k, group_at(k, fit, m, own, together), angle, m, state);
}

// Other edges go to so many threads in turn, whose sums are joined in order: a wave would otherwise go through all of them while the others wait.
// Divides every number of rows.
#define MESSAGE_PARTS 4
// Sums of v_e v_f B over the other edges of each part, in the order of f: in place of the messages of the part's first row, or where more rows of the
// same receiving edge follow, in `carried` (part, EP wide).
DEVICE void sum_messages(AngleRows q, u32 from, u32 m, IN(real) geometry, LOCAL(real) others, LOCAL(real) message, LOCAL(real) carried) {
  for (u32 at = thread_anew() * 4; at < q.edges * MESSAGE_PARTS * EP; at += THREADS * 4) {
    u32 e = at / (MESSAGE_PARTS * EP), part = at / EP % MESSAGE_PARTS, c = at % EP;
    real v = geometry[u64(from + q.k + e) * G + G_V], x[4] = {real(0), real(0), real(0), real(0)};
    if (q.f0) load<4>(x, carried, part * EP + c);
    LOCAL(real) rows = message + e * q.span * EPS + c;
UNROLL_TWO
    for (u32 f = part; f < q.span; f += MESSAGE_PARTS) {
      real b[4], both = v * others[f];
      load<4>(b, rows, f * EPS);
UNROLL
      for (int j = 0; j < 4; j++) x[j] = fma_(both, b[j], x[j]);
    }
    if (q.f0 + q.span < m)
      store<4>(carried, part * EP + c, x);
    else if (q.f0 || part < q.span)
      store<4>(rows, part * EPS, x);
  }
}

// Adds those sums to S of the receiving edges, whose rows begin at `s`, once all other edges are in them.
DEVICE void join_messages(LOCAL(real) s, AngleRows q, u32 m, LOCAL(real) message) {
  if (q.f0 + q.span < m) return;
  u32 parts = q.f0 || q.span > MESSAGE_PARTS ? MESSAGE_PARTS : q.span;
  for (u32 at = thread_anew() * 4; at < q.edges * EP; at += THREADS * 4) {
    u32 e = at / EP, c = at % EP;
    real x[4], z[MESSAGE_PARTS][4];
    load<4>(x, s, e * EPS + c);
UNROLL
    for (u32 part = 0; part < MESSAGE_PARTS; part++) load<4>(z[part], message, (e * q.span + (part < parts ? part : 0)) * EPS + c);
    // A part that is not there adds nothing, without a branch: all are read together.
UNROLL
    for (u32 part = 0; part < MESSAGE_PARTS; part++)
UNROLL
      for (int j = 0; j < 4; j++) x[j] += part < parts ? z[part][j] : real(-0.0);
    store<4>(s, e * EPS + c, x);
  }
}

// Projections of receiving edges k0 .. k0 + rows and of their centre together (`own`, wa wide), by way of `staged`. Made where they are used: in
// device memory they would be three times as wide as the features.
template <int TR, int LC>
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
  product_seen<TR, LC, false, 1>(
      rows, EC, 0, wa, weight, WA, Factors{staged, EPS},
      LAMBDA(u32 r, u32 c, auto x) {
        plus(x, centre, ci + c);
        store<x.N>(own, r * WAS + c, x.v);
      });
  barrier();
}

// What is wanted of `angle_forward`: S and what follows from it, the angles' own update, or of S the slopes of the second map alone.
#define ALL_PARTS 0
#define ONLY_ANGLES 1
#define ONLY_SLOPES 2
// Where slopes of the second map are kept for the adjoint: nowhere, for the angle edges of this tile, of all tiles.
#define SECOND_NOWHERE 0
#define SECOND_OF_TILE 1
#define SECOND_OF_ALL 2
// Angle edges before the tile's in an array of slopes.
DEVICE u32 second_before(u32 where, IN(u32) first_pair, u32 first_centre) {
  return where == SECOND_OF_ALL ? read_anew(first_pair, first_centre) : 0;
}

// Receiving edges that go together, said to be those of a whole wave (`uniform`) where that keeps a register out of memory: on sm_90a it does, on
// sm_80 it would put one there (NVRTC 12.8), on gfx942 it takes ten more (clang 19).
#if defined(WEIR_CUDA) && __CUDA_ARCH__ >= 900
#define GROUP(g) uniform(g)
#else
#define GROUP(g) (g)
#endif

// Angles of a tile forward: S, the second message of every edge, the angles' own update. `rest`: edges outside the angle set are still to be
// finished too.
KERNEL_OF_FOUR(angle_forward)(u32 first_centre, IN(u32) turns, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle, IN(u32) first_pair,
                      IN(real) geometry, IN(double) vector, IN(double) distance, u32 first, IN(stored) state, u32 first_edges, IN(stored) edges, IN(real) edge_weight, IN(real) edge_bias, IN(real) angle_weight,
                      IN(real) centre, u32 wc, u32 wd, IN(real) weight, u32 wa, IN(real) own_weight, IN(real) other, IN(real) r_angle,
                      double keep, IN(real) linear2, IN(real) bias2, IN(real) r_second, u32 part, u32 rest, IN(real) partial,
                      OUT(stored) edges_out, OUT(stored) out, u32 where, OUT(real) second, OUT(u16) too_large) {
  AngleCentre t = angle_centre_of(first_centre, turns, first_edge, angle_edges, first_angle, first_pair);
  u32 from = t.from, m = t.m;
  if (has_the_rest() && !receiving(m)) return;
  u32 pair = t.pair - first_receiving(m);
  u32 mine = receiving(m);
  u64 angle = t.angle;
  LOCAL(real) a = shared_at<real>(0);
  LOCAL(real) message = a + R_ANGLE * APS;
  LOCAL(real) s = message + R_ANGLE * EPS;
  LOCAL(real) own = s + R_SUMS * EPS;
  LOCAL(real) y = own + R_SUMS * WAS;
  LOCAL(real) others_v = y + R_ANGLE;
  LOCAL(real) carried = others_v + R_ANGLE;
  // Edges outside the angle set have the same message, or one that their own feature makes.
  u32 last = part != ALL_PARTS || SMOOTH || first_receiving(m) + receiving(m) < m ? mine : t.ne;
  // Angles of the first group are asked for at once, those of each other one behind the last use of those before it (`ask_for_next`).
  bool ahead = AHEAD && !first && m <= R_ANGLE;
  Fit fit = fit_of(R_ANGLE, m);
  fit = {GROUP(fit.edges), GROUP(fit.inverse)};
  if (ahead && m) stage_ahead(a, 0, group_at(0, fit, m, R_SUMS, m), angle, m, state);
  for (u32 k0 = 0, k = 0; k0 < last; k0 += R_SUMS) {
    u32 some = last - k0 < R_SUMS ? last - k0 : R_SUMS;
    if (k0 < mine)
      project_own<TR_WIDE(R_SUMS), 8>(own, s, mine - k0 < R_SUMS ? mine - k0 : R_SUMS, from + k0, first_edges, edges,
                                      read_anew(first_edge, first_centre), geometry, edge_weight, edge_bias, part == ONLY_SLOPES ? EP : wa,
                                      own_weight, centre, u64(in_turn(first_centre, turns)) * wc + wd);
    u32 tile_edge = read_anew(first_edge, first_centre);
    for (u32 at = thread_anew(); at < some * EP; at += THREADS) {
      u32 row = k0 + at / EP, c = at % EP;
      real x = real(0);
      if (!SMOOTH && part == ALL_PARTS && row >= mine)
        x = first_edges ? embed_edge(geometry[u64(from + row) * G + G_X], c, edge_weight, edge_bias).value
                        : unpack(edges[u64(from + row - tile_edge) * EP + c]);
      s[at / EP * EPS + c] = x;
    }
    barrier();
    // From k0 on, where there are angles, to the next multiple of R_SUMS.
    while (k0 < mine) {
      u32 g = GROUP(group_at(k, fit, m, R_SUMS, m));
      for (u32 f0 = 0; f0 < m; f0 += R_ANGLE) {
        AngleRows q = angle_rows(k, g, f0, m - f0 < R_ANGLE ? m - f0 : R_ANGLE, m, fit);
        take_rows(ahead, a, y, others_v, q, from, angle, m, first, state, geometry, vector, distance, angle_weight);
        product_of_two<TR_OF(R_ANGLE), TR_WIDE(R_ANGLE), 8, (TILES_OF(R_ANGLE) < 3 ? TILES_OF(R_ANGLE) : 3), ANGLES_OF_BOTH, true>(
              rows_of(q), AP, part == ONLY_ANGLES ? EP : 0, EP, part == ONLY_SLOPES ? EP : wa, weight, WA, FactorsOf<R_ANGLE>{a, APS}, LAMBDA(u32 r, u32 c, auto x) {
                u32 e = edge_in(q, r), f = r - e * q.span;
                plus(x, own, (k % R_SUMS + e) * WAS + c);
                plus(x, other, u64(pair + f0 + f) * OTHERS + c);
                return x;
              },
              LAMBDA(u32 r, u32 c, auto x, real *) { store<x.N>(message, r * EPS + c, x.v); },
              LAMBDA(u32 r, u32 c, auto x, real *, auto) {
                real old[x.N], scale[x.N];
                load<x.N>(old, a, r * APS + c - EP);
                load<x.N>(scale, r_angle, c - EP);
UNROLL
                for (int j = 0; j < x.N; j++) x.v[j] = fma_(scale[j], x.v[j], real(keep) * old[j]);
                store_packed<x.N>(out, (first_of(q, angle, m) + r) * AP + c - EP, x.v, too_large);
              },
              LAMBDA(u32, u32, auto x) { return x; });
        barrier();
        ask_for_next(ahead, fit, R_SUMS, m, a, q, angle, m, state);
        if (part != ONLY_ANGLES) {
          sum_messages(q, from, m, geometry, others_v, message, carried);
          barrier();
          // Before anybody reads S or writes messages there is another barrier.
          join_messages(s + k % R_SUMS * EPS, q, m, message);
        }
      }
      k += g;
      if (k == mine || k % R_SUMS == 0) break;
    }
#if SMOOTH
    // What follows from k, so that it waits in no register.
    k0 = (k - 1) / R_SUMS * R_SUMS;
    some = last - k0 < R_SUMS ? last - k0 : R_SUMS;
#endif
    if (part != ONLY_ANGLES) {
      barrier();
      u32 tile_edge = read_anew(first_edge, first_centre), before = pair + first_receiving(m) + second_before(where, first_pair, first_centre);
      product_of_few<TR_OF(R_SUMS)>(
          some, EP, 0, EP, linear2, EP, FactorsOf<R_SUMS>{s, EPS},
          LAMBDA(u32 r, u32 c, auto x) {
            u64 at = u64(from + k0 + r - tile_edge) * EP + c;
            real scale[x.N], old[x.N], slopes[x.N];
            plus(x, bias2, c);
            activate<x.N>(x.v, slopes);
            if (where != SECOND_NOWHERE && k0 + r < mine) store<x.N>(second, u64(before + k0 + r) * EP + c, slopes);
            if (part == ONLY_SLOPES) return;
            load<x.N>(scale, r_second, c);
            load<x.N>(old, partial, at);
UNROLL
            for (int j = 0; j < x.N; j++) x.v[j] = fma_(scale[j], x.v[j], old[j]);
            store_packed<x.N>(edges_out, at, x.v, too_large);
          });
    }
    barrier();
  }
  if (part != ALL_PARTS || !rest || first_receiving(m) + mine < m) return;
  u32 tile_edge = read_anew(first_edge, first_centre), i = in_turn(first_centre, turns);
  from = read_anew(first_edge, i) + first_receiving(m);
  u32 end = read_anew(first_edge, i + 1) - from;
  for (u32 at = last * EP + thread_anew(); at < end * EP; at += THREADS) {
    u32 c = at % EP;
    u64 to = u64(from - tile_edge) * EP + at;
    real n = fma_(r_second[c], act(bias2[c]).value, partial[to]);
    if (beyond(n)) too_large[0] = 1;
    edges_out[to] = pack(n);
  }
}
EXPORT(angle_forward)
