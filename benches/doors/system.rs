//! Water of any size, its ghosts and its neighbour lists, as an MD code would have them.

use std::ffi::c_int;
use std::path::Path;
use weir_engine::structure::{read, ReadOptions};

/// A periodic system in an orthogonal box.
pub struct System {
    pub symbols: Vec<String>,
    pub types: Vec<i32>,
    pub x: Vec<[f64; 3]>,
    pub side: [f64; 3],
}

/// Positions with ghosts, and each atom's neighbours among them.
pub struct Ghosts {
    /// Owner of every atom, ghosts included.
    pub owner: Vec<c_int>,
    /// Translation of every atom, in box vectors.
    pub image: Vec<[i32; 3]>,
    /// Start of each centre's neighbours, N + 1 entries.
    pub first: Vec<u64>,
    pub neighbour: Vec<c_int>,
}

impl System {
    /// The example's box of 192 atoms, so often along each direction.
    pub fn water(root: &Path, times: [usize; 3], type_of: impl Fn(&str) -> i32) -> Self {
        let unit = read(root.join("examples/water/start.extxyz"), &ReadOptions::default()).unwrap();
        let cell = unit.cell.unwrap();
        let length: [f64; 3] = std::array::from_fn(|a| cell[a][a]);
        let (mut symbols, mut x) = (Vec::new(), Vec::new());
        for n in 0..times.iter().product() {
            let m = [n % times[0], n / times[0] % times[1], n / times[0] / times[1]];
            for (symbol, p) in unit.symbols.iter().zip(&unit.positions) {
                symbols.push(symbol.clone());
                // Inside the box, where an MD code keeps its own atoms.
                x.push(std::array::from_fn(|a| p[a].rem_euclid(length[a]) + m[a] as f64 * length[a]));
            }
        }
        let types = symbols.iter().map(|s| type_of(s)).collect();
        System { symbols, types, x, side: std::array::from_fn(|a| length[a] * times[a] as f64) }
    }

    pub fn len(&self) -> usize {
        self.x.len()
    }

    pub fn cell(&self) -> [[f64; 3]; 3] {
        std::array::from_fn(|r| std::array::from_fn(|c| if r == c { self.side[r] } else { 0.0 }))
    }

    /// Neighbours up to `reach`; no image farther than the next is needed.
    pub fn ghosts(&self, reach: f64) -> Ghosts {
        let n = self.len();
        let (mut owner, mut image): (Vec<c_int>, Vec<[i32; 3]>) = ((0..n as c_int).collect(), vec![[0; 3]; n]);
        assert!(self.side.iter().all(|s| *s >= reach), "a box of {:?} A for a list of {reach} A", self.side);
        for k in (0..27).filter(|k| *k != 13) {
            let m = [k % 3 - 1, k / 3 % 3 - 1, k / 9 - 1];
            for (atom, x) in self.x.iter().enumerate() {
                let near = (0..3).all(|a| {
                    let y = x[a] + f64::from(m[a]) * self.side[a];
                    y >= -reach && y <= self.side[a] + reach
                });
                if near {
                    owner.push(atom as c_int);
                    image.push(m);
                }
            }
        }
        let mut ghosts = Ghosts { owner, image, first: vec![0], neighbour: Vec::new() };
        let all = self.with_ghosts(&ghosts);
        // Bins as wide as the reach; the first begins a reach below the box.
        let bins = self.side.map(|s| (s / reach).ceil() as usize + 2);
        let bin = |x: &[f64; 3]| -> [usize; 3] {
            std::array::from_fn(|a| (((x[a] + reach) / reach).max(0.0) as usize).min(bins[a] - 1))
        };
        let at = |b: [usize; 3]| (b[2] * bins[1] + b[1]) * bins[0] + b[0];
        let mut inside = vec![Vec::new(); bins.iter().product()];
        all.iter().enumerate().for_each(|(k, x)| inside[at(bin(x))].push(k as c_int));
        for i in 0..n {
            let b = bin(&all[i]);
            for k in 0..27 {
                let c = [b[0] + k % 3, b[1] + k / 3 % 3, b[2] + k / 9];
                if (0..3).any(|a| c[a] == 0 || c[a] > bins[a]) {
                    continue;
                }
                for &j in &inside[at(c.map(|v| v - 1))] {
                    let d: f64 = (0..3).map(|a| (all[i][a] - all[j as usize][a]).powi(2)).sum();
                    if j as usize != i && d < reach * reach {
                        ghosts.neighbour.push(j);
                    }
                }
            }
            ghosts.first.push(ghosts.neighbour.len() as u64);
        }
        ghosts
    }

    /// Where atoms and ghosts are.
    pub fn with_ghosts(&self, ghosts: &Ghosts) -> Vec<[f64; 3]> {
        let place = |(o, m): (&c_int, &[i32; 3])| -> [f64; 3] {
            std::array::from_fn(|a| self.x[*o as usize][a] + f64::from(m[a]) * self.side[a])
        };
        ghosts.owner.iter().zip(&ghosts.image).map(place).collect()
    }

    /// The next step of a run: everything moves by up to 0.002 A, the same for all that are compared.
    pub fn jiggle(&mut self, step: u64) {
        let mut state = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for x in self.x.iter_mut().flatten() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *x += ((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 0.004;
        }
    }
}
