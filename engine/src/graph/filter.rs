//! The graph of one step: the skin list filtered to the cutoffs, sorted per centre, with offsets and incoming edges.

use super::{GraphError, GraphOptions, Images, NeighbourList};

/// Closer than this two atoms count as one, A.
const COINCIDENT: f64 = 1e-6;

/// Centres that one thread works on at a time.
const BLOCK: usize = 64;

/// One edge while it is being sorted.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    r2: f64,
    vector: [f64; 3],
    owner: u32,
    input: u32,
    image: [i32; 3],
    slot: u32,
}

const EMPTY: Candidate = Candidate { r2: 0.0, vector: [0.0; 3], owner: 0, input: 0, image: [0; 3], slot: 0 };

/// Edges and angles of one configuration. Indices are sorted indices unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Input index of each sorted atom, N.
    pub order: Vec<u32>,
    /// Type of each sorted atom (negative: virtual), N.
    pub types: Vec<i32>,
    /// Start of each centre's edges, N + 1.
    pub first_edge: Vec<u32>,
    /// Owner of each edge's neighbour, E.
    pub neighbour: Vec<u32>,
    /// `d_e = r_j - r_i`, A, E.
    pub vector: Vec<[f64; 3]>,
    /// `|d_e|`, A, E.
    pub distance: Vec<f64>,
    /// Position among the distance-ordered neighbours, excluded ones counted, E.
    pub slot: Vec<u32>,
    /// Number of leading edges that carry angles, m_i, N.
    pub angle_edges: Vec<u32>,
    /// Start of each centre's angle block, N + 1 (64 bits: 10^6 atoms exceed 2^32 angle values).
    pub first_angle: Vec<u64>,
    /// Start of each owner's incoming edges, N + 1.
    pub first_incoming: Vec<u32>,
    /// Incoming edges of each owner in ascending edge (so centre) order, E.
    pub incoming: Vec<u32>,
    candidates: Vec<Candidate>,
    counts: Vec<(u32, u32)>,
}

impl Graph {
    /// Number of atoms.
    pub fn atoms(&self) -> usize {
        self.order.len()
    }

    /// Number of edges.
    pub fn edges(&self) -> usize {
        self.neighbour.len()
    }

    /// Number of angles (ordered pairs, e = f included).
    pub fn angles(&self) -> u64 {
        self.first_angle.last().copied().unwrap_or(0)
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let per_edge = self.vector.capacity() * 24 + self.distance.capacity() * 8 + self.neighbour.capacity() * 12;
        (per_edge + self.candidates.capacity() * std::mem::size_of::<Candidate>() + self.order.capacity() * 40) as u64
    }

    /// Edge range of a centre.
    pub fn edges_of(&self, centre: usize) -> std::ops::Range<usize> {
        self.first_edge[centre] as usize..self.first_edge[centre + 1] as usize
    }

    /// Fills the graph from the skin list at new positions (input order). `images` says what the pairs' image numbers mean: a cell, or
    /// [`Images`]. Buffers are reused; they grow only when counts do.
    ///
    /// # Errors
    /// [`GraphError::Coincident`] naming the two atoms.
    pub fn fill<'a>(
        &mut self,
        list: &NeighbourList,
        positions: &[[f64; 3]],
        images: impl Into<Images<'a>>,
        types: &[i32],
        options: &GraphOptions,
    ) -> Result<(), GraphError> {
        let atoms = list.order.len();
        self.order.clear();
        self.order.extend_from_slice(&list.order);
        self.types.clear();
        self.types.extend(list.order.iter().map(|&i| types[i as usize]));
        self.candidates.resize(list.pairs.len(), EMPTY);
        self.counts.resize(atoms, (0, 0));
        sort_centres(list, positions, images.into(), &self.types, options, &mut self.candidates, &mut self.counts)?;
        offsets(&self.counts, &mut self.first_edge, &mut self.first_angle, &mut self.angle_edges)?;
        self.compact(list);
        self.transpose();
        Ok(())
    }

    /// Copies the kept candidates next to each other.
    fn compact(&mut self, list: &NeighbourList) {
        let edges = self.first_edge[self.first_edge.len() - 1] as usize;
        // The skin list bounds what any step until its next build can need; a 32nd more than now is what they do need, and growing by
        // doubling beyond that is rare.
        let room = (edges + edges / 32 + 64).min(list.pairs.len());
        if self.vector.capacity() < edges {
            self.neighbour.reserve_exact(room - self.neighbour.len().min(room));
            self.vector.reserve_exact(room - self.vector.len().min(room));
            self.distance.reserve_exact(room - self.distance.len().min(room));
            self.slot.reserve_exact(room - self.slot.len().min(room));
            self.incoming.reserve_exact(room - self.incoming.len().min(room));
        }
        self.neighbour.resize(edges, 0);
        self.vector.resize(edges, [0.0; 3]);
        self.distance.resize(edges, 0.0);
        self.slot.resize(edges, 0);
        let kept = Kept { list, first_edge: &self.first_edge, candidates: &self.candidates };
        let (neighbour, vector) = (&mut self.neighbour[..], &mut self.vector[..]);
        kept.copy(0..self.order.len(), neighbour, vector, &mut self.distance, &mut self.slot);
    }

    /// Counting sort of edges by neighbour; stable, so each owner's edges come in ascending centre order.
    fn transpose(&mut self) {
        let atoms = self.order.len();
        self.first_incoming.clear();
        self.first_incoming.resize(atoms + 1, 0);
        for &j in &self.neighbour {
            self.first_incoming[j as usize + 1] += 1;
        }
        for j in 0..atoms {
            self.first_incoming[j + 1] += self.first_incoming[j];
        }
        self.incoming.resize(self.neighbour.len(), 0);
        for (e, &j) in self.neighbour.iter().enumerate() {
            let cursor = &mut self.first_incoming[j as usize];
            self.incoming[*cursor as usize] = e as u32;
            *cursor += 1;
        }
        // The cursors now stand at the ends, which are the next owner's starts.
        for j in (0..atoms).rev() {
            self.first_incoming[j + 1] = self.first_incoming[j];
        }
        if atoms > 0 {
            self.first_incoming[0] = 0;
        }
    }
}

/// Sorted candidates, of which each centre keeps the first as its edges.
struct Kept<'a> {
    list: &'a NeighbourList,
    first_edge: &'a [u32],
    candidates: &'a [Candidate],
}

impl Kept<'_> {
    /// Copies the edges of some centres, halving them until few are left: nothing is allocated.
    fn copy(
        &self,
        centres: std::ops::Range<usize>,
        neighbour: &mut [u32],
        vector: &mut [[f64; 3]],
        distance: &mut [f64],
        slot: &mut [u32],
    ) {
        let first = self.first_edge[centres.start] as usize;
        if centres.len() > BLOCK {
            let middle = centres.start + centres.len() / 2;
            let at = self.first_edge[middle] as usize - first;
            let ((na, nb), (va, vb)) = (neighbour.split_at_mut(at), vector.split_at_mut(at));
            let ((da, db), (sa, sb)) = (distance.split_at_mut(at), slot.split_at_mut(at));
            rayon::join(
                || self.copy(centres.start..middle, na, va, da, sa),
                || self.copy(middle..centres.end, nb, vb, db, sb),
            );
            return;
        }
        for centre in centres {
            let edges = self.first_edge[centre] as usize - first..self.first_edge[centre + 1] as usize - first;
            let all = &self.candidates[self.list.first[centre] as usize..];
            for (e, c) in edges.zip(all) {
                neighbour[e] = c.owner;
                vector[e] = c.vector;
                distance[e] = c.r2.sqrt();
                slot[e] = c.slot;
            }
        }
    }
}

/// Prefix sums of (edges, angle edges) per centre. Edges stay below 2^32 because the skin list does; angles need 64 bits.
fn offsets(
    counts: &[(u32, u32)],
    first_edge: &mut Vec<u32>,
    first_angle: &mut Vec<u64>,
    angle_edges: &mut Vec<u32>,
) -> Result<(), GraphError> {
    first_edge.clear();
    first_angle.clear();
    angle_edges.clear();
    let (mut edge, mut angle) = (0u64, 0u64);
    first_edge.push(0);
    first_angle.push(0);
    for &(edges, m) in counts {
        edge += u64::from(edges);
        angle += u64::from(m) * u64::from(m);
        first_edge.push(u32::try_from(edge).map_err(|_| GraphError::TooMany { what: "edges", count: edge })?);
        first_angle.push(angle);
        angle_edges.push(m);
    }
    Ok(())
}

/// Per centre: distances, cutoff, nearest first, cap, exclusions, angle prefix. Writes (edges, angle edges) per centre.
fn sort_centres(
    list: &NeighbourList,
    positions: &[[f64; 3]],
    images: Images,
    types: &[i32],
    options: &GraphOptions,
    candidates: &mut [Candidate],
    counts: &mut [(u32, u32)],
) -> Result<(), GraphError> {
    sort_range(0, list, positions, images, types, options, candidates, counts)
}

/// Halves the centres until few are left; every half owns its stretch of the candidates. Nothing is allocated, and the error of the
/// first centre wins.
fn sort_range(
    first: usize,
    list: &NeighbourList,
    positions: &[[f64; 3]],
    images: Images,
    types: &[i32],
    options: &GraphOptions,
    buffer: &mut [Candidate],
    counts: &mut [(u32, u32)],
) -> Result<(), GraphError> {
    if counts.len() > BLOCK {
        let half = counts.len() / 2;
        let (counts_a, counts_b) = counts.split_at_mut(half);
        let (a, b) = buffer.split_at_mut((list.first[first + half] - list.first[first]) as usize);
        let (a, b) = rayon::join(
            || sort_range(first, list, positions, images, types, options, a, counts_a),
            || sort_range(first + half, list, positions, images, types, options, b, counts_b),
        );
        return a.and(b);
    }
    let mut at = 0;
    for (k, count) in counts.iter_mut().enumerate() {
        let centre = first + k;
        let pairs = &list.pairs[list.first[centre] as usize..list.first[centre + 1] as usize];
        let space = &mut buffer[at..at + pairs.len()];
        at += pairs.len();
        *count = sort_centre(centre, pairs, list, positions, images, types, options, space)?;
    }
    Ok(())
}

fn sort_centre(
    centre: usize,
    pairs: &[super::list::Pair],
    list: &NeighbourList,
    positions: &[[f64; 3]],
    images: Images,
    types: &[i32],
    options: &GraphOptions,
    space: &mut [Candidate],
) -> Result<(u32, u32), GraphError> {
    let input_i = list.order[centre];
    let x = positions[input_i as usize];
    let mut found = 0;
    for pair in pairs {
        let input = list.order[pair.owner as usize];
        let y = positions[input as usize];
        let t = images.translation(pair.image);
        // (r_j - r_i) + image, in this order: the edge j -> i is then the exact negative.
        let vector: [f64; 3] = std::array::from_fn(|k| (y[k] - x[k]) + t[k]);
        let r2 = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2];
        let r = r2.sqrt();
        if r > options.edge_cutoff {
            continue;
        }
        if r < COINCIDENT {
            return Err(GraphError::Coincident { first: input_i as usize, second: input as usize, distance: r });
        }
        space[found] = Candidate { r2, vector, owner: pair.owner, input, image: pair.image, slot: 0 };
        found += 1;
    }
    let kept = &mut space[..found];
    kept.sort_unstable_by(|a, b| a.r2.total_cmp(&b.r2).then(a.input.cmp(&b.input)).then(a.image.cmp(&b.image)));
    let slots = found.min(options.edge_slots);
    let ti = types[centre] as usize;
    let (mut edges, mut angle_edges) = (0, 0);
    for slot in 0..slots {
        let mut candidate = kept[slot];
        let tj = types[candidate.owner as usize] as usize;
        if options.excluded[ti * options.types + tj] {
            continue;
        }
        candidate.slot = slot as u32;
        // Slots grow and distances too, so these edges are a prefix of the kept ones.
        if slot < options.angle_slots && candidate.r2.sqrt() < options.angle_cutoff {
            angle_edges += 1;
        }
        kept[edges] = candidate;
        edges += 1;
    }
    Ok((edges as u32, angle_edges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_beyond_32_bits_for_angles_and_refuse_to_for_edges() {
        let (mut first_edge, mut first_angle, mut angle_edges) = (Vec::new(), Vec::new(), Vec::new());
        // A million atoms of condensed matter: 70 angle edges each in a dense solid.
        let counts = vec![(100, 70); 1_000_000];
        offsets(&counts, &mut first_edge, &mut first_angle, &mut angle_edges).unwrap();
        assert_eq!(first_edge[1_000_000], 100_000_000);
        assert_eq!(first_angle[1_000_000], 4_900_000_000);
        assert!(first_angle[1_000_000] > u64::from(u32::MAX));
        // Where a kernel would look for the last angle's row of 32 values.
        assert_eq!((first_angle[999_999] as usize + 69 * 70 + 69) * 32, 156_799_999_968);
        let counts = vec![(5_000, 1); 1_000_000];
        let e = offsets(&counts, &mut first_edge, &mut first_angle, &mut angle_edges).unwrap_err();
        assert_eq!(e, GraphError::TooMany { what: "edges", count: 4_294_970_000 });
    }
}
