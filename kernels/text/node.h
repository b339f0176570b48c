// Nodes: projections, the node update (7.1 to 7.3, 7.6) and its adjoint, gathers. Blocks of R_NODE nodes, but for the gathers.

// Projections of all nodes: as centre (wc columns, biases added) and as neighbour (wd).
KERNEL(project)(u32 atoms, IN(real) nodes, u32 wc, IN(real) centre_weight, IN(real) centre_bias, u32 wd, IN(real) neighbour_weight,
                OUT(real) centre, OUT(real) neighbour) {
  LOCAL(real) n = shared_at<real>(0);
  u32 i = block() * R_NODE, rows = atoms - i < R_NODE ? atoms - i : R_NODE;
  for (u32 at = thread(); at < rows * NP; at += THREADS) n[at / NP * NPS + at % NP] = nodes[u64(i) * NP + at];
  barrier();
  product_of_few<1>(
      rows, NP, 0, wc, centre_weight, wc, Factors{n, NPS},
      each(LAMBDA(u32 r, u32 c, real x) { centre[u64(i + r) * wc + c] = x + centre_bias[c]; }));
  product_of_few<1>(
      rows, NP, 0, wd, neighbour_weight, wd, Factors{n, NPS},
      each(LAMBDA(u32 r, u32 c, real x) { neighbour[u64(i + r) * wd + c] = x; }));
}
EXPORT(project)

// q[x][d] = 1/3 sum_c H[c][x] H[c][d] of one node, column `at` of q.
template <class H> DEVICE real gram_column(H h, u32 at) {
  u32 base = at < AXIS * EP ? 0 : 3 * EP, width = at < AXIS * EP ? EP : NP, from = at < AXIS * EP ? at : at - AXIS * EP;
  u32 x = from / width, d = from % width;
  double sum = 0.0;
  for (u32 c = 0; c < 3; c++) sum = fma_(double(h(base + c * width + x)), double(h(base + c * width + d)), sum);
  return real(sum / 3.0);
}

// Nodes leaving a layer, of centres first .. first + count.
KERNEL(node_update)(u32 first, u32 count, IN(real) nodes, IN(real) moments, IN(real) message_sum, IN(real) self_weight,
                    IN(real) self_bias, IN(real) sym_weight, IN(real) sym_bias, IN(real) r_self, IN(real) r_sym,
                    IN(real) r_message, double message_scale, double keep, OUT(real) out) {
  LOCAL(real) n = shared_at<real>(0);
  LOCAL(real) q = n + R_NODE * NPS;
  LOCAL(real) change = q + R_NODE * GRAMS;
  u32 b = block() * R_NODE, rows = count - b < R_NODE ? count - b : R_NODE;
  u64 i = first + b;
  for (u32 at = thread(); at < rows * NP; at += THREADS) n[at / NP * NPS + at % NP] = nodes[i * NP + at];
  for (u32 at = thread(); at < rows * GRAM; at += THREADS) {
    u64 h = (i + at / GRAM) * MOMENTS;
    q[at / GRAM * GRAMS + at % GRAM] = gram_column(LAMBDA(u32 k) { return moments[h + k]; }, at % GRAM);
  }
  barrier();
  product_of_few<1>(
      rows, NP, 0, NP, self_weight, NP, Factors{n, NPS},
      each(LAMBDA(u32 r, u32 c, real x) { change[r * NP + c] = r_self[c] * act(x + self_bias[c]).value; }));
  product_of_few<1>(
      rows, GRAM, 0, NP, sym_weight, NP, Factors{q, GRAMS},
      each(LAMBDA(u32 r, u32 c, real x) {
        real y = fma_(r_sym[c], act(x + sym_bias[c]).value, real(change[r * NP + c]));
        for (u32 head = 0; head < HEADS; head++) {
          u32 col = head * NP + c;
          y = fma_(r_message[col], real(message_scale * double(message_sum[(i + r) * MP + col])), y);
        }
        out[(i + r) * NP + c] = fma_(real(keep), real(n[r * NPS + c]), y);
      }));
}
EXPORT(node_update)

// Adjoint of the node update: of M1's pre-activation, and of the moments.
KERNEL(node_backward)(u32 first, u32 count, IN(real) nodes, IN(real) moments, IN(real) node_bar, IN(real) self_weight,
                      IN(real) self_bias, IN(real) sym_weight, IN(real) sym_adjoint, IN(real) sym_bias, IN(real) r_self,
                      IN(real) r_sym, OUT(real) self_bar, OUT(real) moment_bar) {
  LOCAL(real) n = shared_at<real>(0);
  LOCAL(real) q = n + R_NODE * NPS;
  u32 b = block() * R_NODE, rows = count - b < R_NODE ? count - b : R_NODE;
  u64 i = first + b;
  for (u32 at = thread(); at < rows * NP; at += THREADS) n[at / NP * NPS + at % NP] = nodes[i * NP + at];
  for (u32 at = thread(); at < rows * GRAM; at += THREADS) {
    u64 h = (i + at / GRAM) * MOMENTS;
    q[at / GRAM * GRAMS + at % GRAM] = gram_column(LAMBDA(u32 k) { return moments[h + k]; }, at % GRAM);
  }
  barrier();
  product_of_few<1>(
      rows, NP, 0, NP, self_weight, NP, Factors{n, NPS},
      each(LAMBDA(u32 r, u32 c, real x) {
        u64 at = (i + r) * NP + c;
        self_bar[at] = node_bar[at] * r_self[c] * act(x + self_bias[c]).slope;
      }));
  barrier();
  product_of_few<1>(
      rows, GRAM, 0, NP, sym_weight, NP, Factors{q, GRAMS},
      each(LAMBDA(u32 r, u32 c, real x) { n[r * NPS + c] = node_bar[(i + r) * NP + c] * r_sym[c] * act(x + sym_bias[c]).slope; }));
  barrier();
  product_of_few<1>(
      rows, NP, 0, GRAM, sym_adjoint, GRAM, Factors{n, NPS},
      each(LAMBDA(u32 r, u32 c, real x) { q[r * GRAMS + c] = x; }));
  barrier();
  // Adjoint of the gram product: H[c][d] gets sum_x q_bar[x][d] H[c][x] / 3, and an axis column d < X also sum_d' q_bar[d][d'] H[c][d'] / 3:
  // in a loop of their own, or four lanes of a wave would go through a row while the others wait.
  auto first_part = LAMBDA(u32 qb, u32 width, u32 d, u64 h) {
    double sum = 0.0;
    for (u32 x = 0; x < AXIS; x++) sum = fma_(double(real(q[qb + x * width + d])), double(moments[h + x]), sum);
    return sum;
  };
  for (u32 at = thread(); at < rows * MOMENTS; at += THREADS) {
    u32 r = at / MOMENTS, k = at % MOMENTS;
    bool node = k >= 3 * EP;
    u32 width = node ? NP : EP, base = node ? 3 * EP : 0, d = (k - base) % width;
    if (d >= AXIS) moment_bar[(i + r) * MOMENTS + k] = real(first_part(r * GRAMS + (node ? AXIS * EP : 0), width, d, (i + r) * MOMENTS + k - d) / 3.0);
  }
  for (u32 at = thread(); at < rows * 6 * AXIS; at += THREADS) {
    u32 row = at / AXIS, d = at % AXIS, r = row / 3 % rows, c = row % 3;
    bool node = row >= rows * 3;
    u32 width = node ? NP : EP, qb = r * GRAMS + (node ? AXIS * EP : 0);
    u64 h = (i + r) * MOMENTS + (node ? 3 * EP : 0) + c * width;
    double sum = first_part(qb, width, d, h);
    for (u32 o = 0; o < width; o += 4) {
      real x[4], y[4];
      load<4>(x, q, qb + d * width + o);
      load<4>(y, moments, h + o);
UNROLL
      for (int j = 0; j < 4; j++) sum = fma_(double(x[j]), double(y[j]), sum);
    }
    moment_bar[h + d] = real(sum / 3.0);
  }
}
EXPORT(node_backward)

// First of the incoming edges [from, to), which ascend, that is not below `edge`.
DEVICE u32 first_from(IN(u32) incoming, u32 from, u32 to, u32 edge) {
  while (from < to) {
    u32 middle = (from + to) / 2;
    if (incoming[middle] < edge)
      from = middle + 1;
    else
      to = middle;
  }
  return from;
}

// Sums what a tile's edges [tile_edge, tile_end) owe to owners (a block an owner), continuing their running sums in ascending order of
// edges (or beginning them: `starts`, for all atoms), so that the borders of tiles leave no trace: adjoints of messages (wd) and, through the
// moments, of features (NP). A thread has four columns and asks for the rows of several edges at a time. `parts`: of a tile of several,
// those in first_part[tile] .. first_part[tile + 1], by as many blocks as there are; none: of all `atoms`.
KERNEL(gather)(u32 atoms, IN(u32) first_incoming, IN(u32) incoming, IN(u32) neighbour, IN(u32) edge_centre, IN(u32) first_edge, u32 first_centre,
               u32 end_centre, u32 tile, IN(u32) first_part, IN(u32) parts, u32 starts, IN(real) geometry, IN(real) moment_bar, u32 wd, IN(real) owed,
               OUT(real) message_sum, OUT(real) node_sum) {
  u32 tile_edge = first_edge[first_centre], tile_end = first_edge[end_centre];
  u32 part = parts ? first_part[tile] + block() : block(), last = parts ? first_part[tile + 1] : atoms;
  for (; part < last; part += blocks()) {
    u32 j = parts ? neighbour[incoming[parts[part]]] : part, end = first_incoming[j + 1];
    u32 from = parts ? parts[part] : first_from(incoming, first_incoming[j], end, tile_edge), to = first_from(incoming, from, end, tile_end);
    if (from == to && !starts) continue;
    for (u32 c = thread() * 4; c < wd + NP; c += THREADS * 4) {
      real sum[4] = {real(0), real(0), real(0), real(0)};
      if (c < wd) {
        u64 at = u64(j) * wd + c;
        if (!starts) load<4>(sum, message_sum, at);
UNROLL_SOME
        for (u32 k = from; k < to; k++) {
          real x[4];
          load<4>(x, owed, u64(incoming[k] - tile_edge) * wd + c);
UNROLL
          for (int i = 0; i < 4; i++) sum[i] += x[i];
        }
        store<4>(message_sum, at, sum);
      } else {
        u32 d = c - wd;
        u64 at = u64(j) * NP + d;
        if (!starts) load<4>(sum, node_sum, at);
UNROLL_TWO
        for (u32 k = from; k < to; k++) {
          u32 e = incoming[k];
          u64 h = u64(edge_centre[e]) * MOMENTS + 3 * EP + d;
UNROLL
          for (u32 axis = 0; axis < 3; axis++) {
            real x[4], g = geometry[u64(e) * G + G_H + axis];
            load<4>(x, moment_bar, h + axis * NP);
UNROLL
            for (int i = 0; i < 4; i++) sum[i] = fma_(g, x[i], sum[i]);
          }
        }
        store<4>(node_sum, at, sum);
      }
    }
  }
}
EXPORT(gather)

// Adjoint of the nodes entering a layer; what the layer adds is summed apart and joins in one rounding.
KERNEL(finish)(u32 atoms, IN(real) node_sum, IN(real) self_bar, IN(real) self_adjoint, IN(real) centre_bar, u32 wc,
               IN(real) centre_adjoint, IN(real) message_sum, u32 wd, IN(real) neighbour_adjoint, double keep, OUT(real) node_bar) {
  LOCAL(real) change = shared_at<real>(0);
  u32 i = block() * R_NODE, rows = atoms - i < R_NODE ? atoms - i : R_NODE;
  product_of_few<1>(
      rows, NP, 0, NP, self_adjoint, NP, FarFactors{self_bar + u64(i) * NP, NP},
      each(LAMBDA(u32 r, u32 c, real x) { change[r * NP + c] = node_sum[u64(i + r) * NP + c] + x; }));
  product_of_few<1>(
      rows, wc, 0, NP, centre_adjoint, NP, FarFactors{centre_bar + u64(i) * wc, wc},
      each(LAMBDA(u32 r, u32 c, real x) { change[r * NP + c] += x; }));
  product_of_few<1>(
      rows, wd, 0, NP, neighbour_adjoint, NP, FarFactors{message_sum + u64(i) * wd, wd},
      each(LAMBDA(u32 r, u32 c, real x) {
        u64 at = u64(i + r) * NP + c;
        node_bar[at] = fma_(real(keep), real(node_bar[at]), real(change[r * NP + c]) + x);
      }));
}
EXPORT(finish)
