// Angles of a centre, one block a centre (specification 7.5 and its adjoint). The m x m block is worked on as flat rows (e, f): several
// receiving edges at a time where m is small, parts of one where it is larger than R_ANGLE. Sums over f run in order.

// Rows of a centre's angles that are worked on together: receiving edges k .. k + edges, other edges f0 .. f0 + span.
struct AngleRows {
  u32 k, edges, f0, span;
};
DEVICE u32 rows_of(const AngleRows &q) { return q.edges * q.span; }
DEVICE u32 edge_of(const AngleRows &q, u32 r) { return q.k + r / q.span; }
DEVICE u32 other_of(const AngleRows &q, u32 r) { return q.f0 + r % q.span; }
// Receiving edges that fit together into `most` rows.
DEVICE u32 group_of(u32 most, u32 m, u32 left) {
  u32 g = m > most ? 1 : most / m;
  return g < left ? g : left;
}

// Angle features of those rows into shared memory.
DEVICE void stage_angles(LOCAL(real) to, LOCAL(real) y, AngleRows q, u32 from, u64 angle, u32 m, u32 first, IN(stored) state,
                         IN(double) vector, IN(double) distance, IN(real) weight) {
  u32 rows = rows_of(q);
  if (first) {
    for (u32 r = thread(); r < rows; r += THREADS)
      y[r] = real(cosine(vector, distance, from + edge_of(q, r), from + other_of(q, r)));
    barrier();
  }
  for (u32 at = thread(); at < rows * AP; at += THREADS) {
    u32 r = at / AP, c = at % AP;
    to[at] = first ? real(y[r]) * weight[c] : unpack(state[(angle + u64(edge_of(q, r)) * m + other_of(q, r)) * AP + c]);
  }
}

// Projections of receiving edges k0 .. k0 + rows (`own`, wa wide), from their features by way of `staged`. Made where they are used: in
// device memory they would be three times as wide as the features.
template <int TR>
DEVICE void project_own(LOCAL(real) own, LOCAL(real) staged, u32 rows, u32 e, u32 first, IN(stored) edges, u32 tile_edge,
                        IN(real) geometry, IN(real) edge_weight, IN(real) edge_bias, u32 wa, IN(real) weight) {
  for (u32 at = thread(); at < rows * EC; at += THREADS) {
    u32 r = at / EC, c = at % EC;
    staged[at] = first ? embed_edge(geometry[u64(e + r) * G + G_X], c, edge_weight, edge_bias).value
                       : unpack(edges[u64(e + r - tile_edge) * EP + c]);
  }
  barrier();
  product<TR>(
      rows, EC, 0, wa, weight, wa, LAMBDA(u32 r, u32 k) { return real(staged[r * EC + k]); },
      LAMBDA(u32 r, u32 c, real x) { own[r * wa + c] = x; });
  barrier();
}

// Angles of a tile forward: S, the second message of every edge, the angles' own update. `only_angles`: nothing but the last. `rest`: edges
// outside the angle set are still to be finished too.
KERNEL(angle_forward)(u32 first_centre, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle, IN(u32) first_pair,
                      IN(real) geometry, IN(double) vector, IN(double) distance, u32 first, IN(stored) state, u32 first_edges, IN(stored) edges, IN(real) edge_weight, IN(real) edge_bias, IN(real) angle_weight,
                      IN(real) centre, u32 wc, u32 wd, IN(real) weight, u32 wa, IN(real) own_weight, IN(real) other, IN(real) r_angle,
                      double keep, IN(real) linear2, IN(real) bias2, IN(real) r_second, u32 only_angles, u32 rest, IN(real) partial,
                      OUT(stored) edges_out, OUT(stored) out, OUT(u16) too_large) {
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  u64 tile_angle = first_angle[first_centre];
  u32 i = first_centre + block();
  u32 from = first_edge[i], ne = first_edge[i + 1] - from, m = angle_edges[i];
  u64 angle = first_angle[i] - tile_angle, pair = first_pair[i] - tile_pair, ci = u64(i) * wc + wd;
  LOCAL(real) a = shared_at<real>(0);
  LOCAL(real) message = a + R_ANGLE * AP;
  LOCAL(real) s = message + R_ANGLE * EP;
  LOCAL(real) own = s + R_SUMS * EP;
  LOCAL(real) y = own + R_SUMS * (EP + AP);
  // Edges outside the angle set have the same message, or one that their own feature makes.
  u32 last = only_angles || SMOOTH ? m : ne;
  for (u32 k0 = 0; k0 < last; k0 += R_SUMS) {
    u32 some = last - k0 < R_SUMS ? last - k0 : R_SUMS;
    u32 end = k0 + some < m ? k0 + some : m;
    if (k0 < m)
      project_own<TR_OF(R_SUMS)>(own, s, end - k0, from + k0, first_edges, edges, tile_edge, geometry, edge_weight, edge_bias, wa, own_weight);
    for (u32 at = thread(); at < some * EP; at += THREADS) {
      u32 k = k0 + at / EP, c = at % EP;
      real x = real(0);
      if (!SMOOTH && !only_angles && k >= m)
        x = first_edges ? embed_edge(geometry[u64(from + k) * G + G_X], c, edge_weight, edge_bias).value
                        : unpack(edges[u64(from + k - tile_edge) * EP + c]);
      s[at] = x;
    }
    barrier();
    for (u32 k = k0; k < end;) {
      u32 g = group_of(R_ANGLE, m, end - k);
      for (u32 f0 = 0; f0 < m; f0 += R_ANGLE) {
        AngleRows q = {k, g, f0, m - f0 < R_ANGLE ? m - f0 : R_ANGLE};
        stage_angles(a, y, q, from, angle, m, first, state, vector, distance, angle_weight);
        barrier();
        product<TR_OF(R_ANGLE)>(
            rows_of(q), AP, only_angles ? EP : 0, wa, weight, wa, LAMBDA(u32 r, u32 c) { return real(a[r * AP + c]); },
            LAMBDA(u32 r, u32 c, real x) {
              u64 e = edge_of(q, r), f = other_of(q, r);
              real z = act(x + real(own[(e - k0) * wa + c]) + centre[ci + c] + other[(pair + f) * wa + c]).value;
              if (c < EP) {
                message[r * EP + c] = z;
              } else {
                real n = fma_(r_angle[c - EP], z, real(keep) * real(a[r * AP + c - EP]));
                if (beyond(n)) too_large[0] = 1;
                out[(angle + e * m + f) * AP + c - EP] = pack(n);
              }
            });
        barrier();
        if (!only_angles) {
          for (u32 at = thread(); at < g * EP; at += THREADS) {
            u32 e = at / EP, c = at % EP, to = (k - k0 + e) * EP + c;
            real v = geometry[u64(from + k + e) * G + G_V], x = s[to];
            for (u32 f = 0; f < q.span; f++)
              x = fma_(v * geometry[u64(from + f0 + f) * G + G_V], real(message[(e * q.span + f) * EP + c]), x);
            s[to] = x;
          }
          barrier();
        }
      }
      k += g;
    }
    if (!only_angles) {
      product<TR_OF(R_SUMS)>(
          some, EP, 0, EP, linear2, EP, LAMBDA(u32 r, u32 c) { return real(s[r * EP + c]); },
          LAMBDA(u32 r, u32 c, real x) {
            u64 at = u64(from + k0 + r - tile_edge) * EP + c;
            real n = fma_(r_second[c], act(x + bias2[c]).value, partial[at]);
            if (beyond(n)) too_large[0] = 1;
            edges_out[at] = pack(n);
          });
    }
    barrier();
  }
  if (only_angles || !rest) return;
  for (u32 at = last * EP + thread(); at < ne * EP; at += THREADS) {
    u32 c = at % EP;
    u64 to = u64(from - tile_edge) * EP + at;
    real n = fma_(r_second[c], act(bias2[c]).value, partial[to]);
    if (beyond(n)) too_large[0] = 1;
    edges_out[to] = pack(n);
  }
}
EXPORT(angle_forward)

// Pre-activations of the rows, activated: messages to the edge, and slopes of all columns.
template <class A>
DEVICE void recompute(AngleRows q, u32 wa, IN(real) weight, A a, LOCAL(real) own, IN(real) other, IN(real) centre, u64 ci, u64 pair,
                      LOCAL(real) message, LOCAL(real) slope) {
  product<TR_OF(R_ANGLE_BACK)>(rows_of(q), AP, 0, wa, weight, wa, a, LAMBDA(u32 r, u32 c, real x) {
    Both<real> z = act(x + real(own[(edge_of(q, r) - q.k) * wa + c]) + centre[ci + c] + other[(pair + other_of(q, r)) * wa + c]);
    slope[r * wa + c] = z.slope;
    if (c < EP) message[r * EP + c] = z.value;
  });
}

// Adjoint of a tile's angles. In: adjoint of the edges leaving the layer (none where `starts`: the angles of the layer above do not
// reach the energy) and of the angles. Out: a_bar in place, adjoints of the angle edges as receiving ones (EC wide), of their projections
// as the other edge, of the centre's columns, of v; s_bar of edges outside the angle set, where they have one.
KERNEL(angle_backward)(u32 first_centre, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle, IN(u32) first_pair,
                       IN(real) geometry, IN(double) vector, IN(double) distance, u32 first, IN(stored) state, u32 first_edges, IN(stored) edges, IN(real) edge_weight, IN(real) edge_bias,
                       IN(real) angle_weight, IN(real) centre, u32 wc, u32 wd, IN(real) weight, IN(real) adjoint, u32 wa,
                       IN(real) own_weight, IN(real) own_adjoint, IN(real) other, IN(real) r_angle, double keep, IN(real) linear2, IN(real) linear2_adjoint,
                       IN(real) bias2, IN(real) r_second, IN(real) e_bar, OUT(real) a_bar, OUT(real) own_bar, OUT(real) other_bar,
                       OUT(real) s_bar, OUT(real) centre_bar, OUT(double) geometry_bar) {
  u32 tile_edge = first_edge[first_centre];
  u32 tile_pair = first_pair[first_centre];
  u64 tile_angle = first_angle[first_centre];
  u32 i = first_centre + block();
  u32 from = first_edge[i], ne = first_edge[i + 1] - from, m = angle_edges[i];
  u64 angle = first_angle[i] - tile_angle, pair = first_pair[i] - tile_pair, ci = u64(i) * wc + wd;
  LOCAL(real) a = shared_at<real>(0);
  LOCAL(real) message = a + R_ANGLE_BACK * AP;
  LOCAL(real) slope = message + R_ANGLE_BACK * EP;
  LOCAL(real) s = slope + R_ANGLE_BACK * (EP + AP);
  LOCAL(real) p = s + R_SECOND * EP;
  LOCAL(real) own = p + R_SECOND * EP;
  // Adjoints of the group's projections, and their sums for the centre.
  LOCAL(real) bar = own + R_SECOND * (EP + AP);
  LOCAL(real) sum = bar + R_SECOND * (EP + AP);
  LOCAL(real) y = sum + EP + AP;
  bool updates = wa > EP;
  for (u32 at = thread(); at < m * wa; at += THREADS) other_bar[pair * wa + at] = real(0);
  for (u32 c = thread(); c < wa; c += THREADS) sum[c] = real(0);
  barrier();
  for (u32 k = 0; k < m;) {
    u32 g = group_of(R_ANGLE_BACK, m, m - k < R_SECOND ? m - k : R_SECOND);
    bool whole = m <= R_ANGLE_BACK;
    project_own<1>(own, s, g, from + k, first_edges, edges, tile_edge, geometry, edge_weight, edge_bias, wa, own_weight);
    for (u32 at = thread(); at < g * EP; at += THREADS) s[at] = real(0);
    barrier();
    for (u32 f0 = 0; f0 < m; f0 += R_ANGLE_BACK) {
      AngleRows q = {k, g, f0, m - f0 < R_ANGLE_BACK ? m - f0 : R_ANGLE_BACK};
      stage_angles(a, y, q, from, angle, m, first, state, vector, distance, angle_weight);
      barrier();
      recompute(q, wa, weight, LAMBDA(u32 r, u32 c) { return real(a[r * AP + c]); }, own, other, centre, ci, pair, message, slope);
      barrier();
      for (u32 at = thread(); at < g * EP; at += THREADS) {
        u32 e = at / EP, c = at % EP;
        real v = geometry[u64(from + k + e) * G + G_V], x = s[at];
        for (u32 f = 0; f < q.span; f++)
          x = fma_(v * geometry[u64(from + f0 + f) * G + G_V], real(message[(e * q.span + f) * EP + c]), x);
        s[at] = x;
      }
      barrier();
    }
    // Adjoint of S through the second map.
    product<1>(
        g, EP, 0, EP, linear2, EP, LAMBDA(u32 r, u32 c) { return real(s[r * EP + c]); },
        LAMBDA(u32 r, u32 c, real x) {
          p[r * EP + c] = r_second[c] * e_bar[u64(from + k + r - tile_edge) * EP + c] * act(x + bias2[c]).slope;
        });
    barrier();
    product<1>(
        g, EP, 0, EP, linear2_adjoint, EP, LAMBDA(u32 r, u32 c) { return real(p[r * EP + c]); },
        LAMBDA(u32 r, u32 c, real x) { s[r * EP + c] = x; });
    barrier();
    for (u32 f0 = 0; f0 < m; f0 += R_ANGLE_BACK) {
      AngleRows q = {k, g, f0, m - f0 < R_ANGLE_BACK ? m - f0 : R_ANGLE_BACK};
      u32 rows = rows_of(q);
      if (!whole) {
        stage_angles(a, y, q, from, angle, m, first, state, vector, distance, angle_weight);
        barrier();
        recompute(q, wa, weight, LAMBDA(u32 r, u32 c) { return real(a[r * AP + c]); }, own, other, centre, ci, pair, message, slope);
        barrier();
      }
      // What S owes to the switch values: B . S_bar of each row.
      for (u32 r = thread(); r < rows; r += THREADS) {
        u32 e = r / q.span;
        real x = real(0);
UNROLL_SOME
        for (u32 c = 0; c < EP; c++) x = fma_(real(message[r * EP + c]), real(s[e * EP + c]), x);
        y[r] = x;
      }
      // Slopes become adjoints of the pre-activations.
      for (u32 at = thread(); at < rows * wa; at += THREADS) {
        u32 r = at / wa, c = at % wa, e = r / q.span, f = other_of(q, r);
        real z;
        if (c < EP)
          z = geometry[u64(from + k + e) * G + G_V] * geometry[u64(from + f) * G + G_V] * real(s[e * EP + c]);
        else
          z = r_angle[c - EP] * real(a_bar[(angle + u64(k + e) * m + f) * AP + c - EP]);
        slope[at] = z * real(slope[at]);
      }
      barrier();
      for (u32 at = thread(); at < g * wa; at += THREADS) {
        u32 e = at / wa, c = at % wa;
        real x = f0 ? real(bar[at]) : real(0);
        for (u32 f = 0; f < q.span; f++) x += real(slope[(e * q.span + f) * wa + c]);
        bar[at] = x;
      }
      for (u32 at = thread(); at < q.span * wa; at += THREADS) {
        u64 to = (pair + f0) * wa + at;
        real x = other_bar[to];
        for (u32 e = 0; e < g; e++) x += real(slope[e * q.span * wa + at]);
        other_bar[to] = x;
      }
      // v of the other edges, then of the receiving ones: a thread an edge.
      for (u32 f = thread(); f < q.span; f += THREADS) {
        double x = geometry_bar[u64(from + f0 + f) * GB + 5];
        for (u32 e = 0; e < g; e++)
          x = fma_(double(real(y[e * q.span + f])) * ANGLE_ROOT, double(geometry[u64(from + k + e) * G + G_V]), x);
        geometry_bar[u64(from + f0 + f) * GB + 5] = x;
      }
      barrier();
      for (u32 e = thread(); e < g; e += THREADS) {
        double x = geometry_bar[u64(from + k + e) * GB + 4];
        for (u32 f = 0; f < q.span; f++)
          x = fma_(double(real(y[e * q.span + f])) * ANGLE_ROOT, double(geometry[u64(from + f0 + f) * G + G_V]), x);
        geometry_bar[u64(from + k + e) * GB + 4] = x;
      }
      product<TR_OF(R_ANGLE_BACK)>(
          rows, wa, 0, AP, adjoint, AP, LAMBDA(u32 r, u32 c) { return real(slope[r * wa + c]); },
          LAMBDA(u32 r, u32 c, real x) {
            u64 at = (angle + u64(edge_of(q, r)) * m + other_of(q, r)) * AP + c;
            a_bar[at] = updates ? fma_(real(keep), real(a_bar[at]), x) : x;
          });
      barrier();
    }
    for (u32 c = thread(); c < wa; c += THREADS) {
      real x = sum[c];
      for (u32 e = 0; e < g; e++) x += real(bar[e * wa + c]);
      sum[c] = x;
    }
    product<1>(
        g, wa, 0, EC, own_adjoint, EC, LAMBDA(u32 r, u32 c) { return real(bar[r * wa + c]); },
        LAMBDA(u32 r, u32 c, real x) { own_bar[(pair + k + r) * EC + c] = x; });
    barrier();
    k += g;
  }
  for (u32 c = thread(); c < wa; c += THREADS) centre_bar[ci + c] = sum[c];
#if !SMOOTH
  // Edges outside the angle set: the second map reads their own feature.
  for (u32 k0 = m; k0 < ne; k0 += R_SECOND) {
    u32 some = ne - k0 < R_SECOND ? ne - k0 : R_SECOND;
    barrier();
    stage_edges(s, some, from + k0, first_edges, edges, tile_edge, geometry, edge_weight, edge_bias);
    barrier();
    product<1>(
        some, EP, 0, EP, linear2, EP, LAMBDA(u32 r, u32 c) { return real(s[r * EP + c]); },
        LAMBDA(u32 r, u32 c, real x) {
          p[r * EP + c] = r_second[c] * e_bar[u64(from + k0 + r - tile_edge) * EP + c] * act(x + bias2[c]).slope;
        });
    barrier();
    product<1>(
        some, EP, 0, EP, linear2_adjoint, EP, LAMBDA(u32 r, u32 c) { return real(p[r * EP + c]); },
        LAMBDA(u32 r, u32 c, real x) { s_bar[u64(from + k0 + r - tile_edge) * EP + c] = x; });
  }
#endif
}
EXPORT(angle_backward)
