//! What the test programs share: where the fixtures are, how a reference file is read, how results are compared.
#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_backends::cpu::{create_cpu, Checkpoint, CpuCalculator, CpuOptions, InstructionSet, PrecisionChoice};
use weir_engine::backend::{Calculator, FrameParameters, Results};
use weir_engine::graph::{Cell, Graph, GraphOptions, NeighbourList};
use weir_engine::model::{load, LoadOptions, Model};

/// The whole fixture set where the developers keep it (`WEIR_SHARED`, else `../shared`); not part of the repository.
pub fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("WEIR_SHARED") {
        Some(f) => PathBuf::from(f),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    folder.join("fixtures/models").is_dir().then_some(folder)
}

/// Data carried in the repository.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub fn load_model(path: &Path) -> Arc<Model> {
    let options = LoadOptions::default();
    Arc::new(load(path, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// One reference result of DeePMD-kit.
pub struct Reference {
    pub name: String,
    pub positions: Vec<[f64; 3]>,
    pub types: Vec<i32>,
    pub cell: Option<[[f64; 3]; 3]>,
    pub parameters: FrameParameters,
    pub tensors: BTreeMap<String, Vec<f64>>,
}

impl Reference {
    pub fn read(path: &Path) -> Self {
        let tensors = tensors(path);
        let triples = |v: &[f64]| v.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect::<Vec<_>>();
        let cell = tensors.get("box").map(|b| [[b[0], b[1], b[2]], [b[3], b[4], b[5]], [b[6], b[7], b[8]]]);
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            positions: triples(&tensors["coord"]),
            types: tensors["atype"].iter().map(|&t| t as i32).collect(),
            cell,
            parameters: FrameParameters {
                fparam: tensors.get("fparam").cloned(),
                aparam: tensors.get("aparam").cloned(),
                charge_spin: tensors.get("charge_spin").map(|c| [c[0], c[1]]),
            },
            tensors,
        }
    }

    /// The double-precision value where the file has one, else the value.
    pub fn exact(&self, quantity: &str) -> Option<&[f64]> {
        self.tensors.get(&format!("{quantity}_f64")).or_else(|| self.tensors.get(quantity)).map(Vec::as_slice)
    }

    /// Graph without skin.
    pub fn graph(&self, model: &Model) -> Graph {
        graph(model, &self.positions, self.cell.as_ref(), &self.types)
    }

    /// Positions inside the cell, which atomic virials refer to.
    pub fn wrapped(&self) -> Vec<[f64; 3]> {
        match &self.cell {
            Some(rows) => {
                let cell = Cell::new(rows).unwrap();
                self.positions.iter().map(|&x| cell.wrap(x).0).collect()
            }
            None => self.positions.clone(),
        }
    }
}

pub fn graph(model: &Model, positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>, types: &[i32]) -> Graph {
    let options = GraphOptions::of(model);
    let order = weir_engine::graph::summation_order(positions, cell).unwrap();
    let list = NeighbourList::build(positions, cell, types, &order, options.edge_cutoff, 0.0).unwrap();
    let prepared = cell.map(|c| Cell::new(c).unwrap());
    let mut graph = Graph::default();
    graph.fill(&list, positions, prepared.as_ref(), types, &options).unwrap();
    graph
}

/// All tensors of a safetensors file as doubles.
pub fn tensors(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut out = BTreeMap::new();
    for (name, view) in file.tensors() {
        let d = view.data();
        let values = match view.dtype() {
            safetensors::Dtype::F64 => d.chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect(),
            safetensors::Dtype::F32 => {
                d.chunks_exact(4).map(|c| f64::from(f32::from_le_bytes(c.try_into().unwrap()))).collect()
            }
            safetensors::Dtype::I32 => {
                d.chunks_exact(4).map(|c| f64::from(i32::from_le_bytes(c.try_into().unwrap()))).collect()
            }
            safetensors::Dtype::I64 => {
                d.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap()) as f64).collect()
            }
            // Masks and the like are not compared.
            _ => continue,
        };
        out.insert(name, values);
    }
    out
}

/// Every model folder below `root` that has a `.dp` file and reference results.
pub fn model_folders(root: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("model.dp").is_file() && p.join("ref").is_dir())
        .collect();
    out.sort();
    out
}

/// The reference files of a model folder.
pub fn references(folder: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(folder.join("ref")).unwrap().map(|e| e.unwrap().path()).collect();
    out.retain(|p| p.extension().is_some_and(|e| e == "safetensors"));
    out.sort();
    out
}

pub fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
}

/// Deterministic numbers in [0, 1).
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A random system without close contacts: atoms on a jittered grid.
pub fn system(atoms: usize, side: f64, seed: u64, types: usize) -> (Vec<[f64; 3]>, Vec<i32>) {
    let mut r = Numbers(seed);
    let n = (atoms as f64).cbrt().ceil() as usize;
    let h = side / n as f64;
    let x = (0..atoms)
        .map(|i| {
            let cell = [i % n, i / n % n, i / n / n];
            cell.map(|c| (c as f64 + 0.25 + 0.5 * r.next()) * h)
        })
        .collect();
    (x, (0..atoms).map(|_| (r.next() * types as f64) as i32).collect())
}

/// Every number of a result.
pub fn bits(r: &Results) -> Vec<u64> {
    let mut all = vec![r.energy.to_bits()];
    all.extend(r.atomic_energy.iter().map(|e| e.to_bits()));
    all.extend(r.forces.iter().flatten().map(|f| f.to_bits()));
    all.extend(r.virial.iter().flatten().map(|f| f.to_bits()));
    all.extend(r.atomic_virial.iter().flatten().flatten().map(|f| f.to_bits()));
    all
}

/// Settings that every backend has.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub precision: PrecisionChoice,
    pub checkpoint: Checkpoint,
    /// 0: the backend's choice.
    pub tile_edges: usize,
    pub skin: f64,
    /// Of the CPU.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { precision: PrecisionChoice::F64, checkpoint: Checkpoint::All, tile_edges: 0, skin: 1.0, threads: 2 }
    }
}

/// A calculator that tells how often it planned and searched.
pub trait Counted: Calculator {
    fn plans(&self) -> usize;
    fn list_builds(&self) -> usize;
}

impl Counted for CpuCalculator {
    fn plans(&self) -> usize {
        self.plans()
    }
    fn list_builds(&self) -> usize {
        self.list_builds()
    }
}

/// A backend under test.
pub trait Backend {
    /// Thread counts that make a difference.
    const THREADS: &'static [usize];
    fn make(model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted>;
}

/// A calculator with the kernels of an instruction set; none: the widest, as users get it.
pub fn on_cpu(model: &Arc<Model>, types: &[i32], s: &Settings, simd: Option<InstructionSet>) -> Box<dyn Counted> {
    let Settings { precision, checkpoint, tile_edges, skin, threads } = *s;
    let options = CpuOptions { precision, checkpoint, tile_edges, skin, threads, simd, ..Default::default() };
    Box::new(create_cpu(model.clone(), types, &options).unwrap())
}

/// The CPU.
pub struct Cpu;

impl Backend for Cpu {
    const THREADS: &'static [usize] = &[1, 2, 3];
    fn make(model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted> {
        on_cpu(model, types, s, None)
    }
}
