//! What a new list of neighbours costs the host, one JSON line a system and number of threads: a step of a GPU waits for it.
//!
//!     cargo bench -p weir-ffi --bench lists
//!
//! Milliseconds, the least of five. `own`: a list of Weir's own (6 A and a skin of 1 A); `graph`: the edges and angles of a step made from it, which a GPU
//! makes itself; `ghosts`: pairs of an MD code (a skin of 2 A) read, with their ghosts, and `handed_over` to a calculator of the shipped
//! water model on the CPU.
#![allow(missing_docs)]

// Of its doors nothing is used here.
#[allow(dead_code)]
#[path = "../../benches/doors/system.rs"]
mod system;

use rayon::ThreadPoolBuilder;
use std::path::Path;
use std::time::Instant;
use system::System;
use weir_engine::graph::{summation_order, Cell, Graph, GraphOptions, Images, NeighbourList};
use weir_engine::structure::{read, ReadOptions};
use weir_ffi::ghosts::{GhostList, Owners, RawList};
use weir_ffi::potential::Source;
use weir_ffi::{options, Potential};

const CUTOFFS: [f64; 2] = [6.0, 4.0];
const SKIN: f64 = 1.0;
const SKIN_OF_CLIENTS: f64 = 2.0;

/// Milliseconds of the fastest of five.
fn least(mut work: impl FnMut()) -> f64 {
    let times = (0..5).map(|_| {
        let begin = Instant::now();
        work();
        1e3 * begin.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// A list of our own and a graph from it: atoms, pairs, milliseconds of both.
fn own(x: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> (usize, f64, f64) {
    let (types, order) = (vec![0; x.len()], summation_order(x, cell).unwrap());
    let build = || NeighbourList::build(x, cell, &types, &order, CUTOFFS[0], SKIN).unwrap();
    let [edge_cutoff, angle_cutoff] = CUTOFFS;
    let all = usize::MAX;
    let options =
        GraphOptions { edge_cutoff, edge_slots: all, angle_cutoff, angle_slots: all, types: 1, excluded: vec![false] };
    let (list, mut graph) = (build(), Graph::default());
    let prepared = cell.map(|c| Cell::new(c).unwrap());
    let mut fill = || graph.fill(&list, x, Images::from(prepared.as_ref()), &types, &options).unwrap();
    fill();
    (list.pairs.len(), least(|| drop(build())), least(fill))
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let machine = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(": ").nth(1)).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    for threads in [1, cores] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for name in ["1YRF", "2PTC"] {
            let s = read(root.join(format!("examples/proteins/{name}.extxyz")), &ReadOptions::default()).unwrap();
            let (pairs, list, graph) = pool.install(|| own(&s.positions, s.cell.as_ref()));
            let atoms = s.positions.len();
            println!(
                r#"{{"case":"lists_{name}","atoms":{atoms},"pairs":{pairs},"own_ms":{list:.2},"graph_ms":{graph:.2},"threads":{threads},"machine":"{machine}"}}"#
            );
        }
        let water = System::water(root, [3, 4, 4], |s| i32::from(s == "H"));
        let (pairs, list, graph) = pool.install(|| own(&water.x, Some(&water.cell())));
        let ghosts = water.ghosts(CUTOFFS[0] + SKIN_OF_CLIENTS);
        let (atoms, all) = (water.len(), water.with_ghosts(&ghosts));
        let raw = RawList {
            centres: (0..atoms as i32).collect(),
            first: ghosts.first.iter().map(|&n| n as usize).collect(),
            neighbours: ghosts.neighbour.iter().map(|&j| j as u32).collect(),
        };
        let types: Vec<i32> = ghosts.owner.iter().map(|&o| water.types[o as usize]).collect();
        let owners = Owners::Mapping(ghosts.owner.clone());
        let taken = || GhostList::new(&types, atoms, &raw, &owners).unwrap();
        let mut ours = taken();
        let option = options::parse(&format!("threads={threads} backend=cpu")).unwrap();
        let model = root.join("examples/water/model.dp");
        let mut potential = Potential::open(Source::File(&model), &option, None).unwrap();
        let cell = water.cell();
        let mut hand_over = || ours.hand_over(&mut potential, &all, Some(&cell), 1e-9, false).unwrap();
        hand_over();
        println!(
            r#"{{"case":"lists_water","atoms":{atoms},"pairs":{pairs},"own_ms":{list:.2},"graph_ms":{graph:.2},"pairs_of_client":{},"ghosts_ms":{:.2},"handed_over_ms":{:.2},"threads":{threads},"machine":"{machine}"}}"#,
            raw.neighbours.len(),
            least(|| drop(taken())),
            least(hand_over)
        );
    }
}
