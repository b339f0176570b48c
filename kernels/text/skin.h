// The skin list on the device: all pairs within cutoff and skin of a step's positions, by bins. Their order is nobody's business: `rank` puts the
// edges of a centre in order. `grid`: rows of the periodic cell (9), columns of its inverse (9), lowest coordinates
// and extents of an isolated system (3, 3), as the host works them out (`Grid`, engine/src/graph).

#define GRID_INVERSE 9
#define GRID_LOW 18
#define GRID_EXTENT 21
// Of an atom that the model does not see.
#define NO_BIN 0xffffffffu

// Bins along each direction, bins to look through on each side, whether the system is periodic.
struct Bins {
  int count[3], look[3];
  bool periodic;
};

// Folds a bin's number into the cell and returns by how many lattice vectors; `inside` becomes false where an isolated system has no such bin.
DEVICE int fold(int &bin, int count, bool periodic, bool &inside) {
  if (!periodic) {
    inside = inside && bin >= 0 && bin < count;
    return 0;
  }
  int image = bin >= 0 ? bin / count : -((count - 1 - bin) / count);
  bin -= image * count;
  return image;
}

// A thread an atom: its position in the cell and the image that it came from, its bin, how many a bin has; and its position becomes what `watch`
// looks back at. Numbers of images fit an int: the host has looked at positions and cell.
KERNEL(bin_atoms)(u32 atoms, IN(u32) order, IN(u32) rule, u32 type_count, IN(double) positions, IN(double) grid, u32 periodic, u32 n0, u32 n1,
                  u32 n2, OUT(double) wrapped, OUT(int) image, OUT(u32) bin, OUT(u32) bin_count, OUT(double) reference) {
  u32 s = block() * THREADS + thread();
  if (s >= atoms) return;
  u64 input = order[s];
  u32 count[3] = {n0, n1, n2}, flat = 0;
  double x[3];
  int whole[3] = {0, 0, 0};
  for (int k = 0; k < 3; k++) {
    x[k] = positions[input * 3 + k];
    reference[input * 3 + k] = x[k];
  }
  for (int k = 0; k < 3; k++) {
    double f;
    if (periodic) {
      f = x[0] * grid[GRID_INVERSE + 3 * k] + x[1] * grid[GRID_INVERSE + 3 * k + 1] + x[2] * grid[GRID_INVERSE + 3 * k + 2];
      whole[k] = int(f);
      if (double(whole[k]) > f) whole[k]--;
      f -= double(whole[k]);
    } else {
      f = (x[k] - grid[GRID_LOW + k]) / grid[GRID_EXTENT + k];
    }
    u32 b = f > 0.0 ? u32(f * double(count[k])) : 0;
    flat = flat * count[k] + (b < count[k] ? b : count[k] - 1);
  }
  for (int k = 0; k < 3; k++) {
    double t = double(whole[0]) * grid[k] + double(whole[1]) * grid[3 + k] + double(whole[2]) * grid[6 + k];
    wrapped[u64(s) * 3 + k] = periodic ? x[k] - t : x[k];
    image[u64(s) * 3 + k] = whole[k];
  }
  bool seen = rule[s] != type_count;
  bin[s] = seen ? flat : NO_BIN;
  if (seen) atomic_add(bin_count, flat, 1u);
}
EXPORT(bin_atoms)

// Atoms by bin, a thread each.
KERNEL(fill_bins)(u32 atoms, IN(u32) bin, IN(double) wrapped, OUT(u32) cursor, OUT(u32) member, OUT(double) member_at) {
  u32 s = block() * THREADS + thread();
  if (s >= atoms || bin[s] == NO_BIN) return;
  u64 at = atomic_add(cursor, bin[s], 1u);
  member[at] = s;
  for (int k = 0; k < 3; k++) member_at[at * 3 + k] = wrapped[u64(s) * 3 + k];
}
EXPORT(fill_bins)

// Threads that share a column of bins along the third direction.
#define COLUMN 4

// Calls found(owner, image) for every neighbour of centre s, by the threads of a block.
template <class Found>
DEVICE void each_neighbour(u32 s, const Bins &bins, double reach2, IN(double) grid, IN(double) wrapped, IN(int) image, IN(u32) bin,
                           IN(u32) first_member, IN(u32) member, IN(double) member_at, Found found) {
  u32 home = bin[s];
  if (home == NO_BIN) return;
  int own[3] = {int(home / u32(bins.count[2]) / u32(bins.count[1])), int(home / u32(bins.count[2]) % u32(bins.count[1])),
                int(home % u32(bins.count[2]))};
  double x[3];
  int image_i[3];
  for (int k = 0; k < 3; k++) {
    x[k] = wrapped[u64(s) * 3 + k];
    image_i[k] = image[u64(s) * 3 + k];
  }
  int wide = 2 * bins.look[1] + 1, columns = (2 * bins.look[0] + 1) * wide;
  for (int column = int(thread() / COLUMN); column < columns; column += THREADS / COLUMN) {
    bool inside = true;
    int shift[3], b0 = own[0] + column / wide - bins.look[0], b1 = own[1] + column % wide - bins.look[1];
    shift[0] = fold(b0, bins.count[0], bins.periodic, inside);
    shift[1] = fold(b1, bins.count[1], bins.periodic, inside);
    if (!inside) continue;
    // Bins follow each other in memory, up to the wall of the cell.
    int next = own[2] - bins.look[2], last = own[2] + bins.look[2];
    if (!bins.periodic) {
      next = next > 0 ? next : 0;
      last = last < bins.count[2] ? last : bins.count[2] - 1;
    }
    while (next <= last) {
      int b2 = next;
      shift[2] = fold(b2, bins.count[2], bins.periodic, inside);
      int some = bins.count[2] - b2 < last - next + 1 ? bins.count[2] - b2 : last - next + 1;
      next += some;
      double from[3];
      for (int k = 0; k < 3; k++) {
        double t = double(shift[0]) * grid[k] + double(shift[1]) * grid[3 + k] + double(shift[2]) * grid[6 + k];
        from[k] = bins.periodic ? x[k] - t : x[k];
      }
      u32 flat = (u32(b0) * u32(bins.count[1]) + u32(b1)) * u32(bins.count[2]) + u32(b2), end = first_member[flat + u32(some)];
      for (u32 at = first_member[flat] + thread() % COLUMN; at < end; at += COLUMN) {
        double d[3];
        for (int k = 0; k < 3; k++) d[k] = member_at[u64(at) * 3 + k] - from[k];
        if (!(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] <= reach2)) continue;
        u32 owner = member[at];
        int n[3];
        bool same = owner == s;
        for (int k = 0; k < 3; k++) {
          n[k] = shift[k] - image[u64(owner) * 3 + k] + image_i[k];
          same = same && n[k] == 0;
        }
        // An atom is its own neighbour only in another image.
        if (!same) found(owner, n);
      }
    }
  }
}

// Neighbours of every centre, a block each: counted, then written where their centre's begin.
KERNEL(count_pairs)(u32 n0, u32 n1, u32 n2, u32 l0, u32 l1, u32 l2, u32 periodic, double reach2, IN(double) grid, IN(double) wrapped, IN(int) image,
                    IN(u32) bin, IN(u32) first_member, IN(u32) member, IN(double) member_at, OUT(u32) pair_count) {
  Bins bins = {{int(n0), int(n1), int(n2)}, {int(l0), int(l1), int(l2)}, periodic != 0};
  u32 s = block(), own = 0;
  each_neighbour(s, bins, reach2, grid, wrapped, image, bin, first_member, member, member_at, LAMBDA(u32, const int *) { own++; });
  if (own) atomic_add(pair_count, s, own);
}
EXPORT(count_pairs)
KERNEL(write_pairs)(u32 n0, u32 n1, u32 n2, u32 l0, u32 l1, u32 l2, u32 periodic, double reach2, IN(double) grid, IN(double) wrapped, IN(int) image,
                    IN(u32) bin, IN(u32) first_member, IN(u32) member, IN(double) member_at, OUT(u32) cursor, OUT(u32) pair_centre,
                    OUT(u32) pair_owner, OUT(int) pair_image) {
  Bins bins = {{int(n0), int(n1), int(n2)}, {int(l0), int(l1), int(l2)}, periodic != 0};
  u32 s = block();
  each_neighbour(s, bins, reach2, grid, wrapped, image, bin, first_member, member, member_at, LAMBDA(u32 owner, const int *n) {
    u64 at = atomic_add(cursor, s, 1u);
    pair_centre[at] = s;
    pair_owner[at] = owner;
    for (int k = 0; k < 3; k++) pair_image[at * 3 + k] = n[k];
  });
}
EXPORT(write_pairs)
