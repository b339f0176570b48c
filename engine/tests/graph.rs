//! The neighbour graph against an O(N^2) search over images, on random cells and structures.
#![allow(missing_docs)]

use weir_engine::graph::{summation_order, Cell, Graph, GraphError, GraphOptions, NeighbourList};

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next()
    }
}

struct Case {
    positions: Vec<[f64; 3]>,
    types: Vec<i32>,
    cell: Option<[[f64; 3]; 3]>,
    options: GraphOptions,
}

/// Random atoms in a random (often small, often very skew) cell, some of them far outside it, or isolated.
fn case(r: &mut Numbers) -> Case {
    let types = 3;
    let atoms = 1 + (r.next() * 30.0) as usize;
    let cell = (r.next() < 0.75).then(|| loop {
        let rows: [[f64; 3]; 3] = std::array::from_fn(|k| {
            std::array::from_fn(|l| if k == l { r.between(2.0, 14.0) } else { r.between(-4.0, 4.0) })
        });
        if Cell::new(&rows).is_ok_and(|c| c.heights.iter().all(|&h| h > 1.0)) {
            break rows;
        }
    });
    let positions = (0..atoms).map(|_| std::array::from_fn(|_| r.between(-12.0, 20.0))).collect();
    let mut excluded = vec![false; types * types];
    if r.next() < 0.5 {
        (excluded[1], excluded[3]) = (true, true);
    }
    let edge_cutoff = r.between(2.0, 6.0);
    let options = GraphOptions {
        edge_cutoff,
        edge_slots: if r.next() < 0.3 { 5 + (r.next() * 10.0) as usize } else { 1000 },
        angle_cutoff: edge_cutoff * r.between(0.4, 1.0),
        angle_slots: if r.next() < 0.3 { 4 } else { 300 },
        types,
        excluded,
    };
    Case {
        positions,
        types: (0..atoms).map(|_| (r.next() * 3.3) as i32).map(|t| if t == 3 { -1 } else { t }).collect(),
        cell,
        options,
    }
}

/// Edges of centre i: (distance squared, owner, image, slot, in angle set) after the cap and exclusions.
fn plain(case: &Case, i: usize) -> Vec<(f64, usize, [i32; 3], usize, bool)> {
    let prepared = case.cell.as_ref().map(|c| Cell::new(c).unwrap());
    if case.types[i] < 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    // Positions reach 32 A apart: enough images for every pair, counted from the raw positions.
    let reach =
        prepared.as_ref().map_or([0; 3], |c| c.heights.map(|h| ((case.options.edge_cutoff + 70.0) / h).ceil() as i32));
    for j in 0..case.positions.len() {
        if case.types[j] < 0 {
            continue;
        }
        let base: [f64; 3] = std::array::from_fn(|k| case.positions[j][k] - case.positions[i][k]);
        // Only images whose fractional distance can be inside the cutoff.
        let f = prepared.as_ref().map_or([0.0; 3], |c| c.fractional(base));
        let range = |k: usize| {
            let Some(c) = &prepared else { return 0..=0 };
            let half = case.options.edge_cutoff / c.heights[k] + 1e-9;
            ((-f[k] - half).ceil() as i32).max(-reach[k])..=((-f[k] + half).floor() as i32).min(reach[k])
        };
        for a in range(0) {
            for b in range(1) {
                for c in range(2) {
                    if i == j && [a, b, c] == [0; 3] {
                        continue;
                    }
                    let t = prepared.as_ref().map_or([0.0; 3], |p| p.translation([a, b, c]));
                    let d: [f64; 3] = std::array::from_fn(|k| base[k] + t[k]);
                    let r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
                    if r2.sqrt() <= case.options.edge_cutoff {
                        all.push((r2, j, [a, b, c]));
                    }
                }
            }
        }
    }
    all.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    let kept = all.into_iter().take(case.options.edge_slots).enumerate();
    kept.filter(|(_, e)| !case.options.excluded[case.types[i] as usize * case.options.types + case.types[e.1] as usize])
        .map(|(slot, e)| {
            (e.0, e.1, e.2, slot, slot < case.options.angle_slots && e.0.sqrt() < case.options.angle_cutoff)
        })
        .collect()
}

fn graph(case: &Case, positions: &[[f64; 3]], list: &NeighbourList) -> Graph {
    let cell = case.cell.as_ref().map(|c| Cell::new(c).unwrap());
    let mut graph = Graph::default();
    graph.fill(list, positions, cell.as_ref(), &case.types, &case.options).unwrap();
    graph
}

#[test]
fn the_graph_equals_a_plain_search_on_random_cells() {
    let mut r = Numbers(42);
    let mut edges = 0;
    for round in 0..400 {
        let case = case(&mut r);
        let order = summation_order(&case.positions, case.cell.as_ref()).unwrap();
        let skin = r.between(0.0, 2.0);
        let cutoff = case.options.edge_cutoff;
        let list = NeighbourList::build(&case.positions, case.cell.as_ref(), &case.types, &order, cutoff, skin);
        let g = graph(&case, &case.positions, &list.unwrap());
        for s in 0..g.atoms() {
            let expected = plain(&case, g.order[s] as usize);
            let range = g.edges_of(s);
            assert_eq!(range.len(), expected.len(), "round {round}, centre {}", g.order[s]);
            let in_angles = expected.iter().filter(|e| e.4).count();
            assert_eq!(g.angle_edges[s] as usize, in_angles, "round {round}");
            for (k, (e, want)) in range.zip(&expected).enumerate() {
                assert_eq!(g.order[g.neighbour[e] as usize] as usize, want.1, "round {round}");
                assert_eq!(g.distance[e], want.0.sqrt());
                assert_eq!(g.slot[e] as usize, want.3);
                assert_eq!(k < in_angles, want.4, "the angle set is a prefix");
            }
            edges += expected.len();
        }
        // The transpose holds every edge once, ascending.
        let mut seen = vec![0; g.edges()];
        for j in 0..g.atoms() {
            let incoming = &g.incoming[g.first_incoming[j] as usize..g.first_incoming[j + 1] as usize];
            assert!(incoming.windows(2).all(|w| w[0] < w[1]));
            for &e in incoming {
                assert_eq!(g.neighbour[e as usize] as usize, j);
                seen[e as usize] += 1;
            }
        }
        assert!(seen.iter().all(|&n| n == 1));
    }
    assert!(edges > 20_000, "{edges}");
}

#[test]
fn a_list_with_skin_stays_exact_until_it_is_stale() {
    let mut r = Numbers(7);
    let mut checked = 0;
    for _ in 0..60 {
        let mut case = case(&mut r);
        let order = summation_order(&case.positions, case.cell.as_ref()).unwrap();
        let cutoff = case.options.edge_cutoff;
        let build = |x: &[[f64; 3]], skin| {
            NeighbourList::build(x, case.cell.as_ref(), &case.types, &order, cutoff, skin).unwrap()
        };
        let list = build(&case.positions, 1.0);
        let mut moved = case.positions.clone();
        while !list.is_stale(&moved, case.cell.as_ref()) {
            let old = graph(&case, &moved, &list);
            let new = graph(&case, &moved, &build(&moved, 0.0));
            assert_eq!(old.neighbour, new.neighbour);
            assert_eq!(old.vector, new.vector);
            assert_eq!(old.angle_edges, new.angle_edges);
            moved.iter_mut().flatten().for_each(|x| *x += r.between(-0.08, 0.08));
            checked += 1;
        }
        case.positions = moved;
        assert!(list.is_stale(&case.positions, None) || case.cell.is_none());
    }
    assert!(checked > 200, "{checked}");
}

#[test]
fn a_list_outlives_changes_of_the_cell_exactly() {
    let mut r = Numbers(11);
    let (mut checked, mut lists) = (0, 0);
    for _ in 0..60 {
        let mut case = case(&mut r);
        let Some(mut cell) = case.cell else { continue };
        lists += 1;
        let order = summation_order(&case.positions, Some(&cell)).unwrap();
        let cutoff = case.options.edge_cutoff;
        let build = |x: &[[f64; 3]], cell: &[[f64; 3]; 3], skin| {
            NeighbourList::build(x, Some(cell), &case.types, &order, cutoff, skin).unwrap()
        };
        let list = build(&case.positions, &cell, 1.0);
        let mut moved = case.positions.clone();
        // Atoms follow the cell, as barostats have it, and go ways of their own. It is squeezed: nothing else brings pairs nearer.
        while !list.is_stale(&moved, Some(&cell)) {
            case.cell = Some(cell);
            let old = graph(&case, &moved, &list);
            let new = graph(&case, &moved, &build(&moved, &cell, 0.0));
            assert_eq!(old.neighbour, new.neighbour);
            assert_eq!(old.vector, new.vector);
            assert_eq!(old.angle_edges, new.angle_edges);
            let strain: [[f64; 3]; 3] = std::array::from_fn(|i| {
                std::array::from_fn(|k| if i == k { r.between(-0.012, 0.004) } else { r.between(-0.002, 0.002) })
            });
            let follow = |v: &mut [f64; 3]| {
                let old = *v;
                v.iter_mut().enumerate().for_each(|(k, x)| *x += (0..3).map(|i| old[i] * strain[i][k]).sum::<f64>());
            };
            cell.iter_mut().for_each(follow);
            moved.iter_mut().for_each(follow);
            moved.iter_mut().flatten().for_each(|x| *x += r.between(-0.02, 0.02));
            checked += 1;
        }
    }
    assert!(lists > 20 && checked > 5 * lists, "{checked} steps of {lists} lists");
}

#[test]
fn edges_of_both_directions_are_exact_negatives_and_threads_change_nothing() {
    let mut r = Numbers(3);
    let positions: Vec<[f64; 3]> = (0..3000).map(|_| std::array::from_fn(|_| r.between(0.0, 33.0))).collect();
    let cell = Some([[33.0, 0.0, 0.0], [5.0, 32.0, 0.0], [0.0, -4.0, 34.0]]);
    let options = GraphOptions {
        edge_cutoff: 5.0,
        edge_slots: 10_000,
        angle_cutoff: 3.0,
        angle_slots: 100,
        types: 1,
        excluded: vec![false],
    };
    let case = Case { types: vec![0; 3000], positions, cell, options };
    let order = summation_order(&case.positions, case.cell.as_ref()).unwrap();
    let make = || {
        let list = NeighbourList::build(&case.positions, case.cell.as_ref(), &case.types, &order, 5.0, 0.7).unwrap();
        (graph(&case, &case.positions, &list), list)
    };
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let (one, list_one) = pool(1).install(make);
    let (many, list_many) = pool(5).install(make);
    assert_eq!((&one.neighbour, &one.vector, &list_one.pairs), (&many.neighbour, &many.vector, &list_many.pairs));
    assert_eq!((&one.distance, &one.slot, &one.incoming), (&many.distance, &many.slot, &many.incoming));
    // Who computes with the list counts on every atom being in the order once.
    for (at, wrong) in [(0, order[1]), (7, 3000), (2999, order[0])] {
        let mut broken = order.clone();
        broken[at] = wrong;
        let got = NeighbourList::build(&case.positions, case.cell.as_ref(), &case.types, &broken, 5.0, 0.7);
        assert_eq!(got.unwrap_err(), GraphError::Order { atom: wrong });
    }
    let mut directed: Vec<[u64; 5]> = Vec::new();
    for i in 0..one.atoms() {
        for e in one.edges_of(i) {
            let bits = one.vector[e].map(f64::to_bits);
            directed.push([i as u64, u64::from(one.neighbour[e]), bits[0], bits[1], bits[2]]);
        }
    }
    directed.sort_unstable();
    for d in &directed {
        let back = [d[1], d[0], flip(d[2]), flip(d[3]), flip(d[4])];
        assert!(directed.binary_search(&back).is_ok());
    }
}

/// Bits of `-x`.
fn flip(bits: u64) -> u64 {
    (-f64::from_bits(bits)).to_bits()
}
