//! A periodic system as an MD code sees it on one rank: owned atoms, ghosts, a full list.
#![allow(dead_code, missing_docs)]

use deepmd_c::*;
use std::ffi::{c_char, c_int, CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::null;
use std::sync::Arc;
use weir_backends::cpu::{create, CpuOptions};
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::model::{load, LoadOptions};

pub type Rows = [[f64; 3]; 3];

pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models")
}

pub fn tiny() -> PathBuf {
    models().join("tiny.dp")
}

pub fn text(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// Takes and frees a text of the library.
pub fn taken(s: *const c_char) -> String {
    assert!(!s.is_null());
    let out = unsafe { CStr::from_ptr(s) }.to_str().unwrap().to_string();
    unsafe { DP_DeleteChar(s) };
    out
}

pub fn open(path: &Path) -> *mut Handle {
    let dp = unsafe { DP_NewDeepPot(text(path).as_ptr()) };
    assert_eq!(ok(dp), "");
    dp
}

pub fn ok(dp: *mut Handle) -> String {
    taken(unsafe { DP_DeepPotCheckOK(dp) })
}

/// Deterministic numbers in [0, 1).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[derive(Clone)]
pub struct System {
    pub x: Vec<[f64; 3]>,
    pub types: Vec<c_int>,
    pub cell: Rows,
}

/// Atoms on a jittered grid of a lower triangular cell.
pub fn system(atoms: usize, side: f64, seed: u64) -> System {
    let mut r = Numbers(seed);
    let n = (atoms as f64).cbrt().ceil() as usize;
    let cell = [[side, 0.0, 0.0], [0.13 * side, 0.97 * side, 0.0], [-0.2 * side, 0.1 * side, 1.04 * side]];
    let x = (0..atoms)
        .map(|i| {
            let f = [i % n, i / n % n, i / n / n].map(|c| (c as f64 + 0.25 + 0.5 * r.next()) / n as f64);
            std::array::from_fn(|a| (0..3).map(|k| f[k] * cell[k][a]).sum())
        })
        .collect();
    System { x, types: (0..atoms).map(|_| (r.next() * 5.0) as c_int).collect(), cell }
}

/// What the engine says.
pub fn direct(s: &System, cell: Option<&Rows>, atomic: bool) -> Results {
    let model = Arc::new(load(&tiny(), &LoadOptions::default()).unwrap());
    let mut calculator = create(model, &s.types, &CpuOptions { threads: 2, ..Default::default() }).unwrap();
    let mut out = Results::default();
    let request = Request { atomic_virial: atomic };
    calculator.compute(&s.x, cell, &FrameParameters::default(), request, &mut out).unwrap();
    out
}

/// Owned atoms, ghosts, and a full list with skin.
pub struct Ghosts {
    pub x: Vec<f64>,
    pub types: Vec<c_int>,
    pub owner: Vec<c_int>,
    pub images: Vec<[i32; 3]>,
    pub local: usize,
    ilist: Vec<c_int>,
    pub numneigh: Vec<c_int>,
    pub rows: Vec<Vec<c_int>>,
    first: Vec<*const c_int>,
}

/// Ghosts within `reach` of any owned atom; `periodic` says in which directions there are images. `mark` is put on every neighbour's upper bits.
pub fn ghosts(s: &System, reach: f64, periodic: [bool; 3], mark: c_int) -> Ghosts {
    let local = s.x.len();
    let mut x: Vec<f64> = s.x.concat();
    let (mut types, mut owner) = (s.types.clone(), (0..local as c_int).collect::<Vec<_>>());
    let mut images = vec![[0; 3]; local];
    let span = |k: usize| if periodic[k] { -2..=2 } else { 0..=0 };
    let far = |a: &[f64], b: &[f64]| (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt();
    for a in span(0) {
        for b in span(1) {
            for c in span(2) {
                let n = [a, b, c];
                if n == [0; 3] {
                    continue;
                }
                for j in 0..local {
                    let y: [f64; 3] = std::array::from_fn(|k| {
                        s.x[j][k] + (0..3).map(|v| f64::from(n[v]) * s.cell[v][k]).sum::<f64>()
                    });
                    if s.x.iter().any(|z| far(z, &y) <= reach) {
                        x.extend(y);
                        types.push(s.types[j]);
                        owner.push(j as c_int);
                        images.push(n);
                    }
                }
            }
        }
    }
    let all = types.len();
    let rows: Vec<Vec<c_int>> = (0..local)
        .map(|i| {
            let near = |j: &usize| *j != i && far(&x[3 * i..3 * i + 3], &x[3 * j..3 * j + 3]) <= reach;
            (0..all).filter(near).map(|j| j as c_int | mark).collect()
        })
        .collect();
    // Centres in another order than atoms: numneigh and firstneigh are indexed by the atom.
    let ilist = (0..local as c_int).rev().collect();
    let numneigh = rows.iter().map(|r| r.len() as c_int).collect();
    let first = rows.iter().map(|r| r.as_ptr()).collect();
    Ghosts { x, types, owner, images, local, ilist, numneigh, rows, first }
}

impl Ghosts {
    pub fn all(&self) -> usize {
        self.types.len()
    }

    pub fn nlist(&self) -> *mut Nlist {
        DP_NewNlist(self.local as c_int, self.ilist.as_ptr(), self.numneigh.as_ptr(), self.first.as_ptr())
    }

    pub fn ilist(&self) -> (*const c_int, *const c_int, *const *const c_int) {
        (self.ilist.as_ptr(), self.numneigh.as_ptr(), self.first.as_ptr())
    }

    /// Moves owned atoms, and their ghosts with them, in a cell that may have changed.
    pub fn follow(&mut self, s: &System) {
        for k in 0..self.all() {
            let (o, n) = (self.owner[k] as usize, self.images[k]);
            for a in 0..3 {
                self.x[3 * k + a] = s.x[o][a] + (0..3).map(|v| f64::from(n[v]) * s.cell[v][a]).sum::<f64>();
            }
        }
    }
}

/// Energy, forces (ghosts' included), virial and terms of atoms.
#[derive(Clone, Debug, PartialEq)]
pub struct Out {
    pub energy: f64,
    pub force: Vec<f64>,
    pub virial: Vec<f64>,
    pub atomic_energy: Vec<f64>,
    pub atomic_virial: Vec<f64>,
}

pub fn listed(dp: *mut Handle, g: &Ghosts, list: *mut Nlist, cell: *const f64, ago: c_int, atomic: bool) -> Out {
    let n = g.all();
    let mut o = Out {
        energy: f64::NAN,
        force: vec![f64::NAN; 3 * n],
        virial: vec![f64::NAN; 9],
        atomic_energy: vec![f64::NAN; n],
        atomic_virial: vec![f64::NAN; 9 * n],
    };
    let av = if atomic { o.atomic_virial.as_mut_ptr() } else { std::ptr::null_mut() };
    unsafe {
        DP_DeepPotComputeNList2(
            dp,
            1,
            n as c_int,
            g.x.as_ptr(),
            g.types.as_ptr(),
            cell,
            (n - g.local) as c_int,
            list,
            ago,
            null(),
            null(),
            &mut o.energy,
            o.force.as_mut_ptr(),
            o.virial.as_mut_ptr(),
            o.atomic_energy.as_mut_ptr(),
            av,
        );
    }
    o
}

pub fn largest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
}

/// Owned rows equal the engine's, ghosts have zeros.
pub fn assert_same(o: &Out, r: &Results, what: &str) {
    let n = r.forces.len();
    let f = r.forces.concat();
    assert!((o.energy - r.energy).abs() < 1e-10, "{what}: energy {} {}", o.energy, r.energy);
    assert!(largest(&o.force[..3 * n], &f) < 1e-10, "{what}: forces {:e}", largest(&o.force[..3 * n], &f));
    assert!(o.force[3 * n..].iter().all(|v| *v == 0.0), "{what}: forces on ghosts");
    assert!(largest(&o.virial, &r.virial.concat()) < 1e-9, "{what}: virial");
    assert!(largest(&o.atomic_energy[..n], &r.atomic_energy) < 1e-10, "{what}: atomic energies");
    assert!(o.atomic_energy[n..].iter().all(|v| *v == 0.0), "{what}: energies of ghosts");
}
