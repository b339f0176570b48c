//! Times energy + forces of one structure: `cargo run --release --example time_step -- MODEL STRUCTURE.extxyz [threads] [calls] [checkpoint]`.
#![allow(missing_docs)]
use std::sync::Arc;
use std::time::Instant;
use weir_backends::cpu::{create, CpuOptions};
use weir_engine::backend::{FrameParameters, Request, Results};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let model = Arc::new(weir_engine::model::load(args[1].as_ref(), &Default::default()).unwrap());
    let text = std::fs::read_to_string(&args[2]).unwrap();
    let mut lines = text.lines();
    let n: usize = lines.next().unwrap().trim().parse().unwrap();
    let header = lines.next().unwrap();
    let mut pos = Vec::new();
    let mut types = Vec::new();
    for l in lines.take(n) {
        let f: Vec<&str> = l.split_whitespace().collect();
        types.push(model.type_of(f[0]).unwrap() as i32);
        pos.push([f[1].parse::<f64>().unwrap(), f[2].parse().unwrap(), f[3].parse().unwrap()]);
    }
    let cell = if header.contains("pbc=\"T") {
        let l = header.split("Lattice=\"").nth(1).unwrap().split('"').next().unwrap();
        let v: Vec<f64> = l.split_whitespace().map(|x| x.parse().unwrap()).collect();
        Some([[v[0], v[1], v[2]], [v[3], v[4], v[5]], [v[6], v[7], v[8]]])
    } else {
        None
    };
    let threads = args.get(3).map_or(2, |t| t.parse().unwrap());
    let calls = args.get(4).map_or(3, |t| t.parse().unwrap());
    let checkpoint = args.get(5).map_or(Default::default(), |t| t.parse().unwrap());
    let mut c = create(model, &types, &CpuOptions { threads, checkpoint, ..Default::default() }).unwrap();
    let mut out = Results::default();
    for _ in 0..calls {
        let t = Instant::now();
        c.compute(&pos, cell.as_ref(), &FrameParameters::default(), Request::default(), &mut out).unwrap();
        println!(
            "{:.3} s  E {:.6}  peak {:.2} GB",
            t.elapsed().as_secs_f64(),
            out.energy,
            c.peak_bytes()[0].1 as f64 / 1e9
        );
    }
}
