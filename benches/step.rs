//! Neighbour search and energy + force calls, one JSON line a case.
//!
//!     cargo bench --bench step                      all cases (about a quarter of an hour on two cores)
//!     cargo bench --bench step -- neighbour tiny    cases whose name contains one of the words
//!
//! Weights are random in the published shapes (`weir model new`): timing does not depend on them. Water is the example's box, replicated.
#![allow(missing_docs)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use weir_backends::cpu::{create, default_threads, Checkpoint, CpuOptions, Inside, InstructionSet, Spare};
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::graph::{summation_order, Cell, Graph, GraphOptions, NeighbourList};
use weir_engine::model::{load, new_model, LoadOptions, Model};
use weir_engine::structure::{read, ReadOptions, Structure};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// CPU seconds of the process so far (user + system), Linux.
fn cpu_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes into `now`.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    assert_eq!(status, 0, "no clock of the process");
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1));
    model.map_or(std::env::consts::ARCH.into(), |m| m.trim().to_string())
}

fn commit() -> String {
    let out = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root()).output();
    out.ok().map_or("unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string())
}

/// How a calculator is used.
#[derive(Clone, Copy)]
struct Way {
    checkpoint: Checkpoint,
    inside: Inside,
    /// Steps before the timed ones: one lays out and touches the buffers; in a long run the calculator finds out whether insides save time.
    before: usize,
}

/// Every layer's input is kept, its inside made again but for the nodes'.
const ALL: Way = Way { checkpoint: Checkpoint::All, inside: Inside::Auto, before: 1 };
/// Its inside too.
const KEEP: Way = Way { inside: Inside::Keep, ..ALL };
/// As in a run that nobody has set anything for, on a machine with memory enough.
const RUN: Way = Way { before: 40, ..ALL };

struct Bench {
    words: Vec<String>,
    machine: String,
    commit: String,
    date: String,
    threads: usize,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|w| name.contains(w.as_str()))
    }

    fn report(&self, name: &str, mut fields: serde_json::Map<String, serde_json::Value>) {
        let mut line = serde_json::Map::new();
        line.insert("case".into(), name.into());
        line.append(&mut fields);
        line.insert("threads".into(), self.threads.into());
        line.insert("machine".into(), self.machine.clone().into());
        line.insert("commit".into(), self.commit.clone().into());
        line.insert("date".into(), self.date.clone().into());
        println!("{}", serde_json::Value::Object(line));
    }

    /// Energy + forces: the median of `calls`.
    fn step(&self, name: &str, model: &Arc<Model>, s: &Structure, calls: usize, way: Way) {
        self.step_with(name, model, s, calls, way, InstructionSet::default());
    }

    fn step_with(&self, name: &str, model: &Arc<Model>, s: &Structure, calls: usize, way: Way, set: InstructionSet) {
        if !self.wants(name) {
            return;
        }
        let types: Vec<i32> = s.symbols.iter().map(|e| model.type_of(e).unwrap() as i32).collect();
        let Way { checkpoint, inside, before } = way;
        let spare = (before > 1).then(|| Spare::new(|| u64::MAX));
        let (threads, simd) = (self.threads, Some(set));
        let options = CpuOptions { checkpoint, inside, spare, threads, simd, ..Default::default() };
        let mut calculator = create(model.clone(), &types, &options).unwrap();
        let mut out = Results::default();
        let mut compute = || {
            let (t, c) = (Instant::now(), cpu_seconds());
            calculator
                .compute(&s.positions, s.cell.as_ref(), &FrameParameters::default(), Request::default(), &mut out)
                .unwrap();
            (t.elapsed().as_secs_f64(), cpu_seconds() - c)
        };
        let first = compute();
        for _ in 1..before {
            compute();
        }
        let mut runs: Vec<(f64, f64)> = (0..calls).map(|_| compute()).collect();
        runs.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (wall, cpu) = runs[calls / 2];
        let atoms = s.len();
        let peak = calculator.peak_bytes()[0].1;
        let mut fields = fields(&[
            ("atoms", atoms as f64),
            ("first_wall_s", first.0),
            ("first_cpu_s", first.1),
            ("wall_s", wall),
            ("cpu_s", cpu),
            ("cpu_us_per_atom", cpu / atoms as f64 * 1e6),
            ("peak_bytes", peak as f64),
            ("bytes_per_atom", (peak / atoms as u64) as f64),
        ]);
        fields.insert("instruction_set".into(), set.name().into());
        self.report(name, fields);
    }

    fn neighbour(&self, atoms: usize) {
        let name = format!("neighbour_{atoms}");
        if !self.wants(&name) {
            return;
        }
        // Water's atom density, 0.1 per cubic angstrom.
        let side = (atoms as f64 / 0.1).cbrt();
        let mut x = 1u64;
        let mut next = || {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 11) as f64 / (1u64 << 53) as f64 * side
        };
        let positions: Vec<[f64; 3]> = (0..atoms).map(|_| [next(), next(), next()]).collect();
        let rows = [[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]];
        let options = GraphOptions {
            edge_cutoff: 6.0,
            edge_slots: 1200,
            angle_cutoff: 4.0,
            angle_slots: 300,
            types: 1,
            excluded: vec![false],
        };
        let (types, cell) = (vec![0; atoms], Cell::new(&rows).unwrap());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build().unwrap();
        let (order_s, build_s, fill_s, edges) = pool.install(|| {
            let t = Instant::now();
            let order = summation_order(&positions, Some(&rows)).unwrap();
            let order_s = t.elapsed().as_secs_f64();
            let t = Instant::now();
            let list = NeighbourList::build(&positions, Some(&rows), &types, &order, 6.0, 1.0).unwrap();
            let build_s = t.elapsed().as_secs_f64();
            let mut graph = Graph::default();
            graph.fill(&list, &positions, Some(&cell), &types, &options).unwrap();
            let t = Instant::now();
            graph.fill(&list, &positions, Some(&cell), &types, &options).unwrap();
            (order_s, build_s, t.elapsed().as_secs_f64(), graph.edges())
        });
        let n = atoms as f64;
        self.report(
            &name,
            fields(&[
                ("atoms", n),
                ("edges", edges as f64),
                ("order_us_per_atom", order_s / n * 1e6),
                ("list_us_per_atom", build_s / n * 1e6),
                ("step_us_per_atom", fill_s / n * 1e6),
            ]),
        );
    }
}

fn fields(pairs: &[(&str, f64)]) -> serde_json::Map<String, serde_json::Value> {
    pairs.iter().map(|(k, v)| ((*k).to_string(), serde_json::json!(v))).collect()
}

/// The example's water box repeated along each vector.
fn water(repeat: [usize; 3]) -> Structure {
    let one = read(root().join("examples/water/start.extxyz"), &ReadOptions::default()).unwrap();
    let rows = one.cell.unwrap();
    let mut out =
        Structure { cell: Some(std::array::from_fn(|k| rows[k].map(|v| v * repeat[k] as f64))), ..Default::default() };
    for a in 0..repeat[0] {
        for b in 0..repeat[1] {
            for c in 0..repeat[2] {
                for (s, x) in one.symbols.iter().zip(&one.positions) {
                    let n = [a as f64, b as f64, c as f64];
                    out.symbols.push(s.clone());
                    out.positions.push(std::array::from_fn(|k| {
                        x[k] + n[0] * rows[0][k] + n[1] * rows[1][k] + n[2] * rows[2][k]
                    }));
                }
            }
        }
    }
    out
}

fn main() {
    let words = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let date = std::process::Command::new("date").arg("+%F").output();
    let bench = Bench {
        words,
        machine: machine(),
        commit: commit(),
        date: date.ok().map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string()),
        threads: default_threads(),
    };
    for atoms in [1_000, 10_000, 100_000, 1_000_000] {
        bench.neighbour(atoms);
    }
    let demo = Arc::new(load(&root().join("examples/water/model.dp"), &LoadOptions::default()).unwrap());
    bench.step("demo_water_192", &demo, &water([1, 1, 1]), 20, ALL);
    bench.step("demo_water_192_keep", &demo, &water([1, 1, 1]), 20, KEEP);
    let tiny = Arc::new(new_model("tiny", 1).unwrap());
    for (repeat, name) in [([1, 2, 3], "1152"), ([3, 4, 4], "9216"), ([8, 8, 8], "98304")] {
        bench.step(&format!("tiny_water_{name}"), &tiny, &water(repeat), 3, ALL);
    }
    let large = Arc::new(new_model("dpa-3.1-3m", 1).unwrap());
    for name in ["1YRF", "1UBQ", "3LZM", "2PTC"] {
        let s = read(root().join(format!("examples/proteins/{name}.extxyz")), &ReadOptions::default()).unwrap();
        bench.step(&format!("3m_{name}"), &large, &s, 3, ALL);
        bench.step(&format!("3m_{name}_every4"), &large, &s, 1, Way { checkpoint: Checkpoint::Every(4), ..ALL });
        if name == "1YRF" {
            bench.step("3m_1YRF_run", &large, &s, 5, RUN);
            // Beside the widest set, by turns with it: the speed of shared machines changes from minute to minute.
            let sets: Vec<_> =
                InstructionSet::here().into_iter().filter(|set| *set != InstructionSet::Scalar).collect();
            for round in 0..if sets.len() > 1 { 3 } else { 0 } {
                for &set in &sets {
                    bench.step_with(&format!("3m_1YRF_{}_{round}", set.name()), &large, &s, 3, ALL, set);
                    bench.step_with(&format!("3m_1YRF_keep_{}_{round}", set.name()), &large, &s, 3, KEEP, set);
                }
            }
        }
        // Larger ones want more memory than this bench should take.
        if ["1YRF", "1UBQ"].contains(&name) {
            bench.step(&format!("3m_{name}_keep"), &large, &s, 3, KEEP);
        }
    }
    for (repeat, name) in [([1, 1, 1], "192"), ([2, 2, 2], "1536"), ([3, 3, 3], "5184")] {
        bench.step(&format!("3m_water_{name}"), &large, &water(repeat), 3, ALL);
    }
}
