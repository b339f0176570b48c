// Energy fitting net (specification 10) in double precision whatever the descriptor's: 0.3 % of the arithmetic.

// Atoms of a block; numbers of a layer in `table`.
#define R_FIT LANES_R
enum { F_INPUTS, F_OUTPUTS, F_ACTIVATION, F_RESNET, F_WEIGHT, F_ADJOINT, F_BIAS, F_TIMESTEP, F_VALUE, F_WIDTH };

// Forward through all layers for `rows` atoms. `work` holds, for each row, the input, then value and slope of every layer's outputs at the
// offsets of the table.
DEVICE void fit_forward(u32 rows, u32 layers, IN(u32) table, IN(double) thresholds, IN(double) numbers, HANDED(double) work, u32 stride) {
  u32 before = 0;
  for (u32 l = 0; l < layers; l++) {
    u32 inputs = table[l * F_WIDTH + F_INPUTS], outputs = table[l * F_WIDTH + F_OUTPUTS], kind = table[l * F_WIDTH + F_ACTIVATION];
    u32 resnet = table[l * F_WIDTH + F_RESNET], bias = table[l * F_WIDTH + F_BIAS], idt = table[l * F_WIDTH + F_TIMESTEP];
    u32 value = table[l * F_WIDTH + F_VALUE];
    double threshold = thresholds[l];
    product_of<double, 1>(
        rows, inputs, 0, outputs, numbers + table[l * F_WIDTH + F_WEIGHT], outputs,
        LAMBDA(u32 r, u32 k) { return double(work[u64(r) * stride + before + k]); },
        LAMBDA(u32 r, u32 c, double x) {
          Both<double> y = activation<double>(int(kind), threshold, x + numbers[bias + c]);
          if (idt) {
            y.value *= numbers[idt + c];
            y.slope *= numbers[idt + c];
          }
          if (resnet) y.value += double(work[u64(r) * stride + before + c % inputs]);
          work[u64(r) * stride + value + c] = y.value;
          work[u64(r) * stride + value + outputs + c] = y.slope;
        });
    barrier();
    before = value;
  }
}

// Energies, and adjoints of the last node features (times `adjoint_unit` and `seeds`, where there are any). `rules` has for every type, and last for virtual
// atoms, the factor and the shift of the net's output; a factor of 0 selects the net out. A block works on atoms block, block + blocks ...
KERNEL(fit)(u32 atoms, u32 blocks, u32 layers, IN(u32) table, IN(double) thresholds, IN(double) numbers, u32 stride, u32 bar_at,
            u32 bar_width, u32 vacuum, IN(real) nodes, IN(u32) types, IN(u32) rule, IN(u32) order, u32 with_types,
            IN(double) type_table, u32 frame_count, IN(double) frame, u32 atom_count, IN(double) per_atom, u32 case_count,
            IN(double) rules, IN(double) seeds, double adjoint_unit, HANDED(double) work, OUT(double) energy, OUT(real) node_bar) {
  HANDED(double) own = work + u64(block()) * R_FIT * stride;
  u32 descriptor = N_DIM + (with_types ? N_DIM : 0), inputs = descriptor + frame_count + atom_count + case_count;
  u32 last = table[(layers - 1) * F_WIDTH + F_VALUE];
  for (u32 i = block() * R_FIT; i < atoms; i += blocks * R_FIT) {
    u32 rows = atoms - i < R_FIT ? atoms - i : R_FIT;
    for (u32 at = thread(); at < rows * inputs; at += THREADS) {
      u32 r = at / inputs, c = at % inputs;
      double x;
      if (c < N_DIM)
        x = double(nodes[u64(i + r) * NP + c]);
      else if (c < descriptor)
        x = type_table[u64(types[i + r]) * N_DIM + c - N_DIM];
      else if (c < descriptor + frame_count)
        x = frame[c - descriptor];
      else if (c < descriptor + frame_count + atom_count)
        x = per_atom[u64(order[i + r]) * atom_count + c - descriptor - frame_count];
      else
        x = frame[c - descriptor - atom_count];
      own[u64(r) * stride + c] = x;
    }
    barrier();
    fit_forward(rows, layers, table, thresholds, numbers, own, stride);
    for (u32 r = thread(); r < rows; r += THREADS) {
      u32 t = rule[i + r];
      double factor = rules[t * 2], shift = rules[t * 2 + 1];
      energy[i + r] = factor == 0.0 ? shift : fma_(factor, double(own[u64(r) * stride + last]), shift);
      own[u64(r) * stride + bar_at] = 1.0;
    }
    barrier();
    // Two rows of adjoints take turns.
    u32 turn = 0;
    for (u32 l = layers; l-- > 0;) {
      u32 n = table[l * F_WIDTH + F_INPUTS], m = table[l * F_WIDTH + F_OUTPUTS], resnet = table[l * F_WIDTH + F_RESNET];
      u32 value = table[l * F_WIDTH + F_VALUE], bar = bar_at + turn * bar_width, next = bar_at + (1 - turn) * bar_width;
      product_of<double, 1>(
          rows, m, 0, n, numbers + table[l * F_WIDTH + F_ADJOINT], n,
          LAMBDA(u32 r, u32 k) { return double(own[u64(r) * stride + bar + k]) * double(own[u64(r) * stride + value + m + k]); },
          LAMBDA(u32 r, u32 c, double x) {
            if (resnet)
              for (u32 o = c; o < m; o += n) x += double(own[u64(r) * stride + bar + o]);
            own[u64(r) * stride + next + c] = x;
          });
      barrier();
      turn = 1 - turn;
    }
    u32 bar = bar_at + turn * bar_width;
    for (u32 at = thread(); at < rows * NP; at += THREADS) {
      u32 r = at / NP, c = at % NP;
      double factor = rules[rule[i + r] * 2], seed = adjoint_unit * (seeds ? seeds[i + r] : 1.0);
      node_bar[u64(i + r) * NP + c] =
          c < N_DIM && factor != 0.0 ? real(seed * factor * double(own[u64(r) * stride + bar + c])) : real(0);
    }
    if (vacuum) {
      // The net of an atom whose descriptor is zero: a constant, value only.
      barrier();
      for (u32 at = thread(); at < rows * descriptor; at += THREADS) own[u64(at / descriptor) * stride + at % descriptor] = 0.0;
      barrier();
      fit_forward(rows, layers, table, thresholds, numbers, own, stride);
      for (u32 r = thread(); r < rows; r += THREADS) {
        double factor = rules[rule[i + r] * 2];
        if (factor != 0.0) energy[i + r] += -factor * double(own[u64(r) * stride + last]);
      }
    }
    barrier();
  }
}
EXPORT(fit)
