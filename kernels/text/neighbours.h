// The graph of a step from the skin list (specification 2), on the device: distances, cutoff, nearest first, offsets, incoming edges. The
// same order as on the CPU: by squared distance, then the owner's input index, then the image.

// What the host reads of it: flags[0] atoms moved too far for the list, flags[1] a capacity overflows, flags[2] two atoms coincide, flags[3] a
// coordinate is not finite.
enum { MOVED = 0, OVERFLOW = 1, COINCIDENT = 2, BAD = 3 };

// Numbers of `cell`: its rows (9); what its deformation since the list was built does to a row vector (9); the square of how far an atom may be
// from its deformed place (`Reach::under`, engine/src/graph).
#define DEFORMATION 9
#define LIMIT2 18

// Positions against those of the list's build; a thread an atom.
KERNEL(watch)(u32 atoms, IN(double) positions, IN(double) reference, IN(double) cell, OUT(u16) flags) {
  u32 i = block() * THREADS + thread();
  if (i >= atoms) return;
  double from[3], moved = 0.0;
  bool finite = true;
  for (int k = 0; k < 3; k++) from[k] = reference[u64(i) * 3 + k];
  for (int k = 0; k < 3; k++) {
    double x = positions[u64(i) * 3 + k], d = x - (from[0] * cell[DEFORMATION + k] + from[1] * cell[DEFORMATION + 3 + k] + from[2] * cell[DEFORMATION + 6 + k]);
    finite = finite && x - x == 0.0;
    moved += d * d;
  }
  if (!finite) flags[BAD] = 1;
  if (!(moved <= cell[LIMIT2])) flags[MOVED] = 1;
}
EXPORT(watch)

// Candidates of a centre: vector (3) and squared distance, negative beyond the cutoff. A thread a pair; there are as many as the list says
// in memory, so that a launch for all that there is room for serves every list. Images are multiples of the cell's vectors, or, with a
// table of translations, its rows.
KERNEL(measure)(u32 atoms, IN(u32) first_candidate, IN(u32) pair_centre, IN(u32) pair_owner, IN(int) pair_image, IN(u32) order,
                IN(double) positions, IN(double) cell, IN(double) table, OUT(double) candidates, OUT(u16) flags) {
  u32 p = block() * THREADS + thread();
  if (p >= first_candidate[atoms]) return;
  u64 i = order[pair_centre[p]], j = order[pair_owner[p]];
  double r2 = 0.0, d[3];
  for (int k = 0; k < 3; k++) {
    double t = 0.0;
    if (table) {
      t = table[u64(u32(int(pair_image[u64(p) * 3]))) * 3 + k];
    } else {
      // The sum over lattice vectors as the host forms it.
      for (int a = 0; a < 3; a++) t += double(int(pair_image[u64(p) * 3 + a])) * cell[a * 3 + k];
    }
    d[k] = (positions[j * 3 + k] - positions[i * 3 + k]) + t;
  }
  r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
  double r = sqrt_(r2);
  if (r < 1e-6) flags[COINCIDENT] = 1;
  for (int k = 0; k < 3; k++) candidates[u64(p) * 4 + k] = d[k];
  candidates[u64(p) * 4 + 3] = r > E_CUT ? -1.0 : r2;
}
EXPORT(measure)

// Whether candidate a of a centre comes before b.
DEVICE bool before(u64 a, u64 b, IN(double) candidates, IN(u32) pair_owner, IN(int) pair_image, IN(u32) order) {
  double ra = candidates[a * 4 + 3], rb = candidates[b * 4 + 3];
  if (ra != rb) return ra < rb;
  u32 ia = order[pair_owner[a]], ib = order[pair_owner[b]];
  if (ia != ib) return ia < ib;
  for (int k = 0; k < 3; k++) {
    int x = pair_image[a * 3 + k], y = pair_image[b * 3 + k];
    if (x != y) return x < y;
  }
  return false;
}

// Rank of every candidate of a centre (a block each) among its edges: its place, or NONE where it is no edge; its slot; and the counts of
// edges and of angle edges of the centre.
#define NO_EDGE 0xffffffffu
KERNEL(rank)(IN(u32) first_candidate, IN(double) candidates, IN(u32) pair_owner, IN(int) pair_image, IN(u32) order, IN(u32) types,
             IN(u32) excluded, u32 type_count, u32 edge_slots, u32 angle_slots, OUT(u32) place, OUT(u32) slots, OUT(u32) edge_count,
             OUT(u32) angle_count) {
  u32 i = block(), from = first_candidate[i], to = first_candidate[i + 1], row = types[i] * type_count;
  LOCAL(u32) edges = shared_at<u32>(0);
  LOCAL(u32) angles = edges + THREADS;
  u32 own_edges = 0, own_angles = 0;
  for (u32 p = from + thread(); p < to; p += THREADS) {
    double r2 = candidates[u64(p) * 4 + 3];
    u32 at = NO_EDGE, slot = 0;
    if (r2 >= 0.0 && !excluded[row + types[pair_owner[p]]]) {
      u32 kept = 0;
      for (u32 q = from; q < to; q++) {
        if (candidates[u64(q) * 4 + 3] < 0.0 || q == p) continue;
        if (before(q, p, candidates, pair_owner, pair_image, order)) {
          slot++;
          if (!excluded[row + types[pair_owner[q]]]) kept++;
        }
      }
      if (slot < edge_slots) {
        at = kept;
        own_edges++;
        if (slot < angle_slots && sqrt_(r2) < A_CUT) own_angles++;
      }
    }
    place[p] = at;
    slots[p] = slot;
  }
  edges[thread()] = own_edges;
  angles[thread()] = own_angles;
  barrier();
  if (thread() == 0) {
    u32 e = 0, a = 0;
    for (u32 t = 0; t < THREADS; t++) {
      e += edges[t];
      a += angles[t];
    }
    edge_count[i] = e;
    angle_count[i] = a;
  }
}
EXPORT(rank)

// Prefix sums of (edges, angle edges, angles) over centres in three steps: blocks of SCAN centres, their totals, and `place_edges`.
#define SCAN (8 * THREADS)
KERNEL(scan_blocks)(u32 atoms, IN(u32) edge_count, IN(u32) angle_count, OUT(u64) sums, OUT(u64) totals) {
  LOCAL(u64) part = shared_at<u64>(0);
  u64 own[3] = {0, 0, 0};
  u32 from = block() * SCAN + thread() * 8;
  for (u32 i = from; i < from + 8 && i < atoms; i++) {
    u64 m = angle_count[i];
    sums[u64(i) * 3] = own[0];
    sums[u64(i) * 3 + 1] = own[1];
    sums[u64(i) * 3 + 2] = own[2];
    own[0] += edge_count[i];
    own[1] += m;
    own[2] += m * m;
  }
  for (int k = 0; k < 3; k++) part[thread() * 3 + k] = own[k];
  barrier();
  if (thread() < 3) {
    u64 sum = 0;
    for (u32 t = 0; t < THREADS; t++) {
      u64 x = part[t * 3 + thread()];
      part[t * 3 + thread()] = sum;
      sum += x;
    }
    totals[u64(block()) * 3 + thread()] = sum;
  }
  barrier();
  for (u32 i = from; i < from + 8 && i < atoms; i++)
    for (int k = 0; k < 3; k++) sums[u64(i) * 3 + k] += u64(part[thread() * 3 + k]);
}
EXPORT(scan_blocks)

// Offsets of all centres; the totals of blocks are few. `tile_sizes` has edges, pairs and angles that each tile has room for. An overflow
// empties the graph, and so does what `watch` and `measure` have found: the step is of no use, computes next to nothing (nodes, and whatever
// is copied between tiers), and list or plan are made anew.
KERNEL(offsets)(u32 atoms, u32 blocks, IN(u64) sums, IN(u64) totals, IN(u32) edge_count, IN(u32) angle_count, u32 tiles,
                IN(u32) tile_centres, IN(u64) tile_sizes, u32 edge_room, HANDED(u32) first_edge, OUT(u32) angle_edges,
                HANDED(u64) first_angle, HANDED(u32) first_pair, OUT(u32) counts, HANDED(u16) flags) {
  LOCAL(u64) base = shared_at<u64>(0);
  LOCAL(u32) bad = shared_at<u32>(THREADS * 24);
  // One block: chunks of centres in turn, the running totals kept by three threads.
  u64 sum = 0;
  u32 wrong = 0;
  for (u32 b = 0; b < blocks; b++) {
    if (thread() < 3) base[thread()] = sum;
    barrier();
    for (u32 i = b * SCAN + thread(); i < (b + 1) * SCAN && i < atoms; i += THREADS) {
      first_edge[i] = u32(u64(base[0]) + sums[u64(i) * 3]);
      first_pair[i] = u32(u64(base[1]) + sums[u64(i) * 3 + 1]);
      first_angle[i] = u64(base[2]) + sums[u64(i) * 3 + 2];
      angle_edges[i] = angle_count[i];
    }
    if (thread() < 3) sum += totals[u64(b) * 3 + thread()];
    barrier();
  }
  if (thread() < 3) base[thread()] = sum;
  barrier();
  if (thread() == 0) {
    first_edge[atoms] = u32(u64(base[0]));
    first_pair[atoms] = u32(u64(base[1]));
    first_angle[atoms] = base[2];
    counts[0] = u32(u64(base[0]));
    if (u64(base[0]) > edge_room) wrong = 1;
  }
  barrier();
  for (u32 t = thread(); t < tiles; t += THREADS) {
    u32 a = tile_centres[t], b = tile_centres[t + 1];
    if (first_edge[b] - first_edge[a] > tile_sizes[u64(t) * 3]) wrong = 1;
    if (first_pair[b] - first_pair[a] > tile_sizes[u64(t) * 3 + 1]) wrong = 1;
    if (first_angle[b] - first_angle[a] > tile_sizes[u64(t) * 3 + 2]) wrong = 1;
  }
  bad[thread()] = wrong;
  barrier();
  wrong = 0;
  for (u32 t = 0; t < THREADS; t++) wrong |= bad[t];
  if (!wrong && !flags[MOVED] && !flags[COINCIDENT] && !flags[BAD]) return;
  if (thread() == 0) {
    if (wrong) flags[OVERFLOW] = 1;
    counts[0] = 0;
  }
  for (u32 i = thread(); i <= atoms; i += THREADS) {
    first_edge[i] = 0;
    first_pair[i] = 0;
    first_angle[i] = 0;
    if (i < atoms) angle_edges[i] = 0;
  }
}
EXPORT(offsets)

// The last of the tiles t .. behind that has begun; they begin one after the other, the first has.
template <class Begun> DEVICE u32 last_begun(u32 t, u32 behind, Begun begun) {
  while (t + 1 < behind) {
    u32 middle = (t + behind) / 2;
    if (begun(middle))
      t = middle;
    else
      behind = middle;
  }
  return t;
}

// Centres of every tile in the order in which blocks take them: within windows of WINDOW, those with most angles first, so that none begins
// when the others have done. Windows of a tile are equally long; nearby centres stay near each other in caches.
#define WINDOW 4096
KERNEL(arrange)(u32 atoms, u32 tiles, IN(u32) tile_centres, IN(u32) angle_edges, OUT(u32) turns) {
  u32 i = block() * THREADS + thread();
  if (i >= atoms) return;
  u32 tile = last_begun(0, tiles, LAMBDA(u32 t) { return tile_centres[t] <= i; });
  u32 start = tile_centres[tile], end = tile_centres[tile + 1], count = end - start;
  u32 windows = (count + WINDOW - 1) / WINDOW, length = (count + windows - 1) / windows;
  u32 from = start + (i - start) / length * length, to = from + length < end ? from + length : end;
  u32 mine = angle_edges[i], before = 0;
  for (u32 k = from; k < to; k++) {
    u32 m = angle_edges[k];
    before += m > mine || (m == mine && k < i);
  }
  turns[from + before] = i;
}
EXPORT(arrange)

// Edges of a centre, a block each, from its candidates; counts incoming edges of every owner (integers: their sum has no order).
KERNEL(place_edges)(IN(u32) first_candidate, IN(double) candidates, IN(u32) pair_owner, IN(u32) place, IN(u32) slots,
                    IN(u32) first_edge, OUT(u32) centre, OUT(u32) neighbour, OUT(u32) slot, OUT(double) vector, OUT(double) distance,
                    OUT(u32) incoming_count) {
  u32 i = block(), first = first_edge[i];
  if (first_edge[i + 1] == first) return;
  for (u32 p = first_candidate[i] + thread(); p < first_candidate[i + 1]; p += THREADS) {
    if (place[p] == NO_EDGE) continue;
    u64 e = first + place[p];
    centre[e] = i;
    neighbour[e] = pair_owner[p];
    slot[e] = slots[p];
    for (int k = 0; k < 3; k++) vector[e * 3 + k] = candidates[u64(p) * 4 + k];
    distance[e] = sqrt_(candidates[u64(p) * 4 + 3]);
    atomic_add(incoming_count, pair_owner[p], 1u);
  }
}
EXPORT(place_edges)

// Starts of rows from their lengths, with a cursor for each: of owners' incoming edges, of bins, of centres' pairs, of tiles' parts. One block.
KERNEL(row_starts)(u32 rows, IN(u32) count, OUT(u32) first, OUT(u32) cursor) {
  LOCAL(u32) part = shared_at<u32>(0);
  u32 each = (rows + THREADS - 1) / THREADS, from = thread() * each, to = from + each < rows ? from + each : rows;
  u32 own = 0;
  for (u32 i = from; i < to; i++) own += count[i];
  part[thread()] = own;
  barrier();
  u32 sum = 0;
  for (u32 t = 0; t < thread(); t++) sum += part[t];
  for (u32 i = from; i < to; i++) {
    first[i] = sum;
    cursor[i] = sum;
    sum += count[i];
  }
  if (thread() == THREADS - 1) first[rows] = sum;
}
EXPORT(row_starts)

// Hands every edge to its owner, in whatever order.
KERNEL(hand_over)(IN(u32) counts, IN(u32) neighbour, OUT(u32) cursor, OUT(u32) unsorted) {
  u32 e = block() * THREADS + thread();
  if (e >= counts[0]) return;
  unsorted[atomic_add(cursor, neighbour[e], 1u)] = e;
}
EXPORT(hand_over)

// Ascending edges of every owner: a block an owner.
KERNEL(sort_incoming)(IN(u32) first_incoming, IN(u32) unsorted, OUT(u32) incoming) {
  u32 j = block(), from = first_incoming[j], to = first_incoming[j + 1];
  for (u32 k = from + thread(); k < to; k += THREADS) {
    u32 e = unsorted[k], rank = 0;
    for (u32 o = from; o < to; o++) rank += unsorted[o] < e;
    incoming[from + rank] = e;
  }
}
EXPORT(sort_incoming)

// Where a step has several tiles: the parts of owners' incoming edges that lie in one tile each. An owner has parts in the tiles of its neighbours
// alone, so that gathers cost what edges do, not all atoms for every tile. A part is told by the place of its first edge in `incoming`; those of
// a tile come in no order, for every owner's sum is its own.

// Calls found(tile, place) for every part of owner j.
template <class Found>
DEVICE void each_part(u32 j, u32 tiles, IN(u32) tile_centres, IN(u32) first_edge, IN(u32) first_incoming, IN(u32) incoming, Found found) {
  u32 tile = 0, end = 0, to = first_incoming[j + 1];
  for (u32 k = first_incoming[j]; k < to; k++) {
    u32 e = incoming[k];
    if (e < end) continue;
    tile = last_begun(tile, tiles, LAMBDA(u32 t) { return first_edge[tile_centres[t]] <= e; });
    end = first_edge[tile_centres[tile + 1]];
    found(tile, k);
  }
}
// A thread an owner: counted, then placed.
KERNEL(count_parts)(u32 atoms, u32 tiles, IN(u32) tile_centres, IN(u32) first_edge, IN(u32) first_incoming, IN(u32) incoming, OUT(u32) part_count) {
  u32 j = block() * THREADS + thread();
  if (j >= atoms) return;
  each_part(j, tiles, tile_centres, first_edge, first_incoming, incoming, LAMBDA(u32 tile, u32) { atomic_add(part_count, tile, 1u); });
}
EXPORT(count_parts)
KERNEL(place_parts)(u32 atoms, u32 tiles, IN(u32) tile_centres, IN(u32) first_edge, IN(u32) first_incoming, IN(u32) incoming, OUT(u32) cursor,
                    OUT(u32) parts) {
  u32 j = block() * THREADS + thread();
  if (j >= atoms) return;
  each_part(j, tiles, tile_centres, first_edge, first_incoming, incoming, LAMBDA(u32 tile, u32 k) { parts[atomic_add(cursor, tile, 1u)] = k; });
}
EXPORT(place_parts)
