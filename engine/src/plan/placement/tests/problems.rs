//! Problems for tests.

use crate::plan::placement::*;

/// A small generator of numbers.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    pub fn between(&mut self, a: f64, b: f64) -> f64 {
        a + (b - a) * self.unit()
    }
}

pub fn tier(name: &str, capacity: u64, out_rate: f64, in_rate: f64) -> TierSpec {
    TierSpec { name: name.into(), capacity, out_rate, in_rate, both: 0.8, latency: 1e-5, overlap: 0.95 }
}

/// Compute rates in the proportions of DPA3, at so many FLOP/s.
pub fn rates(layers: usize, flops: f64) -> Rates {
    let work = |node: f64, edge: f64, angle: f64| Work { node, edge, angle, tile: 0.0 }.times(1.0 / flops);
    let forward = work(340e3, 46e3, 6.1e3);
    let rebuild = work(60e3, 40e3, 6.1e3);
    let rebuild_angles = work(4e3, 8e3, 3e3);
    let backward = work(1020e3, 138e3, 18e3);
    Rates {
        forward: vec![forward; layers],
        rebuild: vec![rebuild; layers],
        rebuild_angles: vec![rebuild_angles; layers],
        backward: vec![backward; layers],
        project: 262e3 / flops,
        inside: Vec::new(),
    }
}

/// The 3M shape on tiles of the mean protein environment.
pub fn protein(tiles: usize, atoms_per_tile: u64, vary: f64, seed: u64) -> Problem {
    let layers = 16;
    let mut random = Random(seed);
    let tiles: Vec<TileSize> = (0..tiles)
        .map(|_| {
            let x = atoms_per_tile as f64 * random.between(1.0 - vary, 1.0 + vary);
            TileSize {
                atoms: x as u64,
                edges: (73.0 * x) as u64,
                angles: (549.0 * x * random.between(1.0 - vary, 1.0 + vary)) as u64,
            }
        })
        .collect();
    let atoms: u64 = tiles.iter().map(|t| t.atoms).sum();
    Problem {
        layers,
        angles: (0..layers).map(|l| l + 1 < layers).collect(),
        tiles,
        edge_bytes: 256,
        angle_bytes: 128,
        stored_edge_bytes: 256,
        stored_angle_bytes: 128,
        fixed_bytes: atoms * 17 * 512,
        bank_bytes: atoms * 4096,
        tiers: vec![tier("hbm", u64::MAX / 8, 0.0, 0.0)],
        rates: rates(layers, 25e12),
        checkpoint: Checkpoint::Auto,
        spill: Permission::Allowed,
        rebuild: Permission::Allowed,
        ..Problem::default()
    }
}

/// With insides that may be kept: random bytes, seconds that are won or, rarely, lost.
pub fn with_insides(problem: &Problem, random: &mut Random, rule: Inside) -> Problem {
    let mut p = problem.clone();
    p.inside = rule;
    let sum = |count: fn(&TileSize) -> u64| p.tiles.iter().map(count).sum::<u64>();
    let counts = [sum(|t| t.atoms), sum(|t| t.edges), sum(|t| t.angles)];
    for l in 0..p.layers {
        p.inside_bytes.push(counts.map(|n| n * random.below(4) * 64));
        let mut part = |of: f64| of * random.between(-0.1, 0.4);
        let w = p.rates.backward[l];
        p.rates.inside.push(Work { node: part(w.node), edge: part(w.edge), angle: part(w.angle), tile: 0.0 });
    }
    p
}

/// Anything small.
pub fn small(random: &mut Random, tiles: usize, layers: usize, slow: usize) -> Problem {
    let alike = random.below(2) == 0;
    let mut size = TileSize { atoms: 10, edges: 100 + random.below(900), angles: 200 + random.below(4000) };
    let tiles: Vec<TileSize> = (0..tiles)
        .map(|_| {
            if !alike {
                size = TileSize { atoms: 10, edges: 100 + random.below(900), angles: 200 + random.below(4000) };
            }
            size
        })
        .collect();
    let reads = random.below(layers as u64) as usize;
    let half = random.below(2) == 0;
    let mut p = protein(1, 10, 0.0, 0);
    p.layers = layers;
    p.angles = (0..layers).map(|l| if random.0 % 3 == 0 { l < reads } else { l + 1 < layers }).collect();
    p.rates = rates(layers, 1e9 * random.between(0.5, 2.0));
    for l in 0..layers {
        let f = random.between(0.7, 1.3);
        for w in
            [&mut p.rates.forward[l], &mut p.rates.rebuild[l], &mut p.rates.backward[l], &mut p.rates.rebuild_angles[l]]
        {
            *w = w.times(f);
        }
    }
    (p.stored_edge_bytes, p.stored_angle_bytes) = if half { (128, 64) } else { (256, 128) };
    p.fixed_bytes = random.below(5000);
    p.bank_bytes = random.below(20000);
    let states: u64 = tiles.iter().map(|t| t.edges * 256 + t.angles * 128).sum();
    for k in 0..slow {
        let capacity = if random.below(3) == 0 { states * random.below(4) } else { u64::MAX / 8 };
        let rate = 10f64.powf(random.between(6.0, 8.5));
        let mut t = tier(["pinned", "file"][k], capacity, rate, rate * random.between(0.7, 1.5));
        t.both = random.between(0.4, 1.0);
        t.latency = random.between(0.0, 1e-4);
        t.overlap = random.between(0.5, 1.0);
        p.tiers.push(t);
    }
    p.tiles = tiles;
    p
}

/// A problem with this much of tier 0.
pub fn with_budget(problem: &Problem, bytes: u64) -> Problem {
    let mut p = problem.clone();
    p.tiers[0].capacity = bytes;
    p
}
