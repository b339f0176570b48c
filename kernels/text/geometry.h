// Geometry of edges (specification 4, 5) and its adjoints (12), all in double precision.

struct Switch {
  double value, slope;
};
DEVICE Switch switch_(double r, double from, double to) {
#if EXP_SWITCH
  double a = 20.0 / from, x = r > to ? to : r;
  double inner = exp_(a * (x - from)), s = exp_(-inner);
  return {s, -s * inner * a};
#else
  if (r <= from) return {1.0, 0.0};
  if (r >= to) return {0.0, 0.0};
  double u = (r - from) / (to - from), q = u * u;
  return {1.0 + u * q * (-10.0 + 15.0 * u - 6.0 * q), q * (-30.0 + 60.0 * u - 30.0 * q) / (to - from)};
#endif
}

struct Exact {
  Switch w, v;
  double h[3], x, std[4];
};
// `statistics`: davg (4), dstd (4) for every type and slot; slots beyond the last share its row.
DEVICE Exact exact_geometry(IN(double) d, double r, u32 type, u32 slot, IN(double) statistics, u32 slots) {
  Exact g;
  g.w = switch_(r, E_SMOOTH, E_CUT);
  g.v = switch_(r, A_SMOOTH, A_CUT);
  u64 row = (u64(type) * slots + (slot < slots ? slot : slots - 1)) * 8;
  double q = r + PROTECTION;
  for (int k = 0; k < 4; k++) g.std[k] = statistics[row + 4 + k];
  for (int k = 0; k < 3; k++) g.h[k] = (d[k] * (g.w.value / (q * q)) - statistics[row + 1 + k]) / g.std[k + 1];
#if RAW_DISTANCE
  g.x = r;
#else
  g.x = (g.w.value / q - statistics[row]) / g.std[0];
#endif
  return g;
}

// Rows of geometry; a thread an edge. counts[0] is the number of edges.
KERNEL(geometry)(IN(u32) counts, IN(u32) centre, IN(u32) types, IN(u32) slot, IN(double) vector, IN(double) distance,
                 IN(double) statistics, u32 slots, OUT(real) rows, OUT(double) exact, OUT(double) geometry_bar) {
  u32 e = block() * THREADS + thread();
  if (e >= counts[0]) return;
  Exact g = exact_geometry(vector + u64(e) * 3, distance[e], types[centre[e]], slot[e], statistics, slots);
  u64 at = u64(e) * G;
  rows[at + G_W] = real(g.w.value);
  rows[at + G_V] = real(g.v.value * ANGLE_ROOT);
  rows[at + G_X] = real(g.x);
  for (int k = 0; k < 3; k++) rows[at + G_H + k] = real(g.w.value * g.h[k] * EDGE_ROOT);
  exact[u64(e) * 4] = g.w.value;
  for (int k = 0; k < 3; k++) exact[u64(e) * 4 + 1 + k] = g.h[k];
  for (int k = 0; k < GB; k++) geometry_bar[u64(e) * GB + k] = 0.0;
}
EXPORT(geometry)

// Node features of layer 0: rows of a table, one a type.
KERNEL(embed_nodes)(u32 atoms, IN(u32) types, IN(real) table, OUT(real) nodes) {
  u64 at = u64(block()) * THREADS + thread();
  if (at >= u64(atoms) * NP) return;
  nodes[at] = table[u64(types[at / NP]) * NP + at % NP];
}
EXPORT(embed_nodes)

// Edge feature of layer 0 and the slope of its activation.
DEVICE Both<real> embed_edge(real x, u32 c, IN(real) weight, IN(real) bias) {
  real z = fma_(x, weight[c], bias[c]);
#if RAW_DISTANCE
  return {z, real(1)};
#else
  return act(z);
#endif
}

// Scalar product of two unit vectors, scaled: the angle input y of two edges of a centre.
DEVICE double cosine(IN(double) vector, IN(double) distance, u32 e, u32 f) {
  double qe = distance[e] + 1e-6, qf = distance[f] + 1e-6, sum = 0.0;
  for (int k = 0; k < 3; k++) sum = fma_(vector[u64(e) * 3 + k] / qe, vector[u64(f) * 3 + k] / qf, sum);
  return sum * COSINE;
}

// Gradients dE/dd_e of a tile's edges, a block a centre: adjoints of geometry, of layer 0's edges, of the cosines of layer 0's angles
// (`a_bar`, none where the model has no angles). `adjoint_share`: one over what `fit` has multiplied adjoints by.
KERNEL(edge_gradients)(u32 first_centre, IN(u32) first_edge, IN(u32) angle_edges, IN(u64) first_angle, IN(u32) types, IN(u32) slot,
                       IN(double) vector, IN(double) distance, IN(double) statistics, u32 slots, IN(real) edge_weight,
                       IN(real) edge_bias, IN(real) angle_weight, IN(double) geometry_bar, IN(real) e_bar,
                       IN(real) a_bar, double adjoint_share, OUT(double) gradient) {
  u32 tile_edge = first_edge[first_centre];
  u64 tile_angle = first_angle[first_centre];
  u32 i = first_centre + block();
  u32 from = first_edge[i], ne = first_edge[i + 1] - from, m = angle_edges[i];
  for (u32 k = thread(); k < ne; k += THREADS) {
    u32 e = from + k;
    double r = distance[e], q = r + PROTECTION;
    Exact g = exact_geometry(vector + u64(e) * 3, r, types[i], slot[e], statistics, slots);
    double x_bar = 0.0, along = 0.0, h_bar[3];
UNROLL_SOME
    for (u32 c = 0; c < E_DIM; c++) {
      real slope = embed_edge(real(g.x), c, edge_weight, edge_bias).slope;
      x_bar = fma_(double(e_bar[u64(e - tile_edge) * EP + c]) * double(slope), double(edge_weight[c]), x_bar);
    }
    u64 b = u64(e) * GB;
    for (int a = 0; a < 3; a++) {
      h_bar[a] = geometry_bar[b + 1 + a] / g.std[a + 1];
      along = fma_(h_bar[a], vector[u64(e) * 3 + a], along);
    }
#if RAW_DISTANCE
    double radial = x_bar;
#else
    double radial = x_bar / g.std[0] * (g.w.slope / q - g.w.value / (q * q));
#endif
    radial += geometry_bar[b] * g.w.slope + along * (g.w.slope / (q * q) - 2.0 * g.w.value / (q * q * q));
    if (k < m) radial += (geometry_bar[b + 4] + (geometry_bar[b + 5] + geometry_bar[b + 6])) * g.v.slope;
    for (int a = 0; a < 3; a++)
      gradient[u64(e) * 3 + a] = (radial * vector[u64(e) * 3 + a] / r + h_bar[a] * g.w.value / (q * q)) * adjoint_share;
  }
  if (!a_bar || m == 0) return;
  // Edge f gets its part of both orders of every pair.
  for (u32 f = thread(); f < m; f += THREADS) {
    double own[3] = {0.0, 0.0, 0.0};
    for (u32 k = 0; k < m; k++) {
      u64 a = first_angle[i] - tile_angle + u64(k) * m + f, b = first_angle[i] - tile_angle + u64(f) * m + k;
      double y = 0.0, z = 0.0;
UNROLL_SOME
      for (u32 c = 0; c < A_DIM; c++) {
        y = fma_(double(a_bar[a * AP + c]), double(angle_weight[c]), y);
        z = fma_(double(a_bar[b * AP + c]), double(angle_weight[c]), z);
      }
      double qk = distance[from + k] + 1e-6, s = (y + z) * (COSINE * adjoint_share);
      for (int axis = 0; axis < 3; axis++) own[axis] = fma_(s, vector[u64(from + k) * 3 + axis] / qk, own[axis]);
    }
    u64 at = u64(from + f) * 3;
    double r = distance[from + f], q = r + 1e-6, along = 0.0;
    for (int axis = 0; axis < 3; axis++) along = fma_(own[axis], vector[at + axis], along);
    for (int axis = 0; axis < 3; axis++) gradient[at + axis] += own[axis] / q - vector[at + axis] * along / (r * q * q);
  }
}
EXPORT(edge_gradients)

// Force, virial (9) and energy of each atom, written in input order. Own edges in order, then incoming ones in ascending order.
KERNEL(assemble)(u32 atoms, IN(u32) order, IN(u32) first_edge, IN(u32) first_incoming, IN(u32) incoming, IN(double) vector,
                 IN(double) gradient, IN(double) energy, OUT(double) forces, OUT(double) totals) {
  u32 i = block() * THREADS + thread();
  if (i >= atoms) return;
  double f[3] = {0.0, 0.0, 0.0}, w[9] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  for (u32 e = first_edge[i]; e < first_edge[i + 1]; e++) {
    for (int a = 0; a < 3; a++) {
      double g = gradient[u64(e) * 3 + a];
      f[a] += g;
      for (int b = 0; b < 3; b++) w[a * 3 + b] = fma_(-g, vector[u64(e) * 3 + b], w[a * 3 + b]);
    }
  }
  for (u32 k = first_incoming[i]; k < first_incoming[i + 1]; k++) {
    u64 e = incoming[k];
    for (int a = 0; a < 3; a++) f[a] -= gradient[e * 3 + a];
  }
  u64 to = order[i];
  for (int a = 0; a < 3; a++) forces[to * 3 + a] = f[a];
  totals[to * 10] = energy[i];
  for (int k = 0; k < 9; k++) totals[to * 10 + 1 + k] = w[k];
}
EXPORT(assemble)

// Sums of blocks of 1024 rows (10 wide), each by twelve running sums that are added in order: a tree whose shape depends on the count
// of rows alone.
KERNEL(sum_rows)(u32 rows, IN(double) in, OUT(double) out) {
  u32 lane = thread() / 10, c = thread() % 10;
  u32 from = block() * 1024, to = from + 1024 < rows ? from + 1024 : rows;
  LOCAL(double) part = shared_at<double>(0);
  if (lane < 12) {
    double sum = 0.0;
    for (u32 r = from + lane; r < to; r += 12) sum += in[u64(r) * 10 + c];
    part[lane * 10 + c] = sum;
  }
  barrier();
  if (lane == 0) {
    double sum = 0.0;
    for (u32 l = 0; l < 12; l++) sum += part[l * 10 + c];
    out[u64(block()) * 10 + c] = sum;
  }
}
EXPORT(sum_rows)
