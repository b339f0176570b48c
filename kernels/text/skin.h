// The skin list on the device: all pairs within cutoff and skin of the positions that the last step was given, by cells. Their order is nobody's
// business: `rank` puts the edges of a centre in order. `grid`: rows of the periodic cell (9), columns of its inverse (9), lowest coordinates
// and extents of an isolated system (3, 3), as the host works them out (`Grid`, engine/src/graph).

#define GRID_INVERSE 9
#define GRID_LOW 18
#define GRID_EXTENT 21
// Of an atom that the model does not see.
#define NO_CELL 0xffffffffu

// Cells along each direction, cells to look through on each side, whether the system is periodic.
struct Cells {
  int count[3], look[3];
  bool periodic;
};

// The number of lattice vectors k of an unfolded cell number, which is folded in place; `inside`: whether there is such a cell.
DEVICE int fold(int &cell, int count, bool periodic, bool &inside) {
  if (!periodic) {
    inside = inside && cell >= 0 && cell < count;
    return 0;
  }
  int image = cell >= 0 ? cell / count : -((count - 1 - cell) / count);
  cell -= image * count;
  return image;
}

// A thread an atom: its position in the cell and the image that it came from, its bin, how many a bin has; and its position becomes what `watch`
// looks back at. odd[0]: an atom is so many images away that the host makes the list.
KERNEL(bin_atoms)(u32 atoms, IN(u32) order, IN(u32) rule, u32 type_count, IN(double) positions, IN(double) grid, u32 periodic, u32 n0, u32 n1,
                  u32 n2, OUT(double) wrapped, OUT(int) image, OUT(u32) bin, OUT(u32) bin_count, OUT(double) reference, OUT(u16) odd) {
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
      if (!(f > -1e9 && f < 1e9)) {
        odd[0] = 1;
        f = 0.0;
      }
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
  bin[s] = seen ? flat : NO_CELL;
  if (seen) atomic_add(bin_count, flat, 1u);
}
EXPORT(bin_atoms)

// Atoms by bin, a thread each.
KERNEL(fill_bins)(u32 atoms, IN(u32) bin, IN(double) wrapped, OUT(u32) cursor, OUT(u32) member, OUT(double) member_at) {
  u32 s = block() * THREADS + thread();
  if (s >= atoms || bin[s] == NO_CELL) return;
  u64 at = atomic_add(cursor, bin[s], 1u);
  member[at] = s;
  for (int k = 0; k < 3; k++) member_at[at * 3 + k] = wrapped[u64(s) * 3 + k];
}
EXPORT(fill_bins)

// Threads that share a column of cells along the third direction.
#define COLUMN 4

// Calls found(owner, image) for every neighbour of centre s, by the threads of a block.
template <class Found>
DEVICE void each_neighbour(u32 s, const Cells &cells, double reach2, IN(double) grid, IN(double) wrapped, IN(int) image, IN(u32) bin,
                           IN(u32) first_member, IN(u32) member, IN(double) member_at, Found found) {
  u32 home = bin[s];
  if (home == NO_CELL) return;
  int own[3] = {int(home / u32(cells.count[2]) / u32(cells.count[1])), int(home / u32(cells.count[2]) % u32(cells.count[1])),
                int(home % u32(cells.count[2]))};
  double x[3];
  int image_i[3];
  for (int k = 0; k < 3; k++) {
    x[k] = wrapped[u64(s) * 3 + k];
    image_i[k] = image[u64(s) * 3 + k];
  }
  int wide = 2 * cells.look[1] + 1, columns = (2 * cells.look[0] + 1) * wide;
  for (int column = int(thread() / COLUMN); column < columns; column += THREADS / COLUMN) {
    bool inside = true;
    int shift[3], b0 = own[0] + column / wide - cells.look[0], b1 = own[1] + column % wide - cells.look[1];
    shift[0] = fold(b0, cells.count[0], cells.periodic, inside);
    shift[1] = fold(b1, cells.count[1], cells.periodic, inside);
    if (!inside) continue;
    // Cells follow each other in memory, up to the wall of the box.
    int next = own[2] - cells.look[2], last = own[2] + cells.look[2];
    if (!cells.periodic) {
      next = next > 0 ? next : 0;
      last = last < cells.count[2] ? last : cells.count[2] - 1;
    }
    while (next <= last) {
      int b2 = next;
      shift[2] = fold(b2, cells.count[2], cells.periodic, inside);
      int some = cells.count[2] - b2 < last - next + 1 ? cells.count[2] - b2 : last - next + 1;
      next += some;
      double from[3];
      for (int k = 0; k < 3; k++) {
        double t = double(shift[0]) * grid[k] + double(shift[1]) * grid[3 + k] + double(shift[2]) * grid[6 + k];
        from[k] = cells.periodic ? x[k] - t : x[k];
      }
      u32 flat = (u32(b0) * u32(cells.count[1]) + u32(b1)) * u32(cells.count[2]) + u32(b2), end = first_member[flat + u32(some)];
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
  Cells cells = {{int(n0), int(n1), int(n2)}, {int(l0), int(l1), int(l2)}, periodic != 0};
  u32 s = block(), own = 0;
  each_neighbour(s, cells, reach2, grid, wrapped, image, bin, first_member, member, member_at, LAMBDA(u32, const int *) { own++; });
  if (own) atomic_add(pair_count, s, own);
}
EXPORT(count_pairs)
KERNEL(write_pairs)(u32 n0, u32 n1, u32 n2, u32 l0, u32 l1, u32 l2, u32 periodic, double reach2, IN(double) grid, IN(double) wrapped, IN(int) image,
                    IN(u32) bin, IN(u32) first_member, IN(u32) member, IN(double) member_at, OUT(u32) cursor, OUT(u32) pair_centre,
                    OUT(u32) pair_owner, OUT(int) pair_image) {
  Cells cells = {{int(n0), int(n1), int(n2)}, {int(l0), int(l1), int(l2)}, periodic != 0};
  u32 s = block();
  each_neighbour(s, cells, reach2, grid, wrapped, image, bin, first_member, member, member_at, LAMBDA(u32 owner, const int *n) {
    u64 at = atomic_add(cursor, s, 1u);
    pair_centre[at] = s;
    pair_owner[at] = owner;
    for (int k = 0; k < 3; k++) pair_image[at * 3 + k] = n[k];
  });
}
EXPORT(write_pairs)
