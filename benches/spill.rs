//! What too little fast memory costs: `cargo bench --bench spill [CASE] [CALLS]`. For budgets of 100 %, 50 %, 25 % and the smallest
//! feasible, three ways (rebuilding only, spilling only, the planner's choice): seconds predicted beside seconds measured, rates calibrated
//! in the same run. Raw JSON lines for `benches/results/`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use weir_allocators::faults::Faults;
use weir_allocators::kind::{Kind, Ledger, System, Tier};
use weir_allocators::stream::{Copy, Options, Place, Stream};
use weir_backends::cpu::{
    calibrate, create_cpu, default_threads, hbm, Checkpoint, CpuOptions, CpuTier, Permission, TierSpec,
};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::new_model;
use weir_engine::plan::placement::smallest_feasible;
use weir_engine::structure::{read, ReadOptions, Structure};

/// Bytes/s of a copy stream between two regions of ordinary memory, best of five.
fn copy_rate(kind: &dyn Kind) -> f64 {
    let bytes = 64 << 20;
    let (a, b) = (Arc::new(kind.allocate(bytes).unwrap()), Arc::new(kind.allocate(bytes).unwrap()));
    let mut stream = Stream::new("measure", Options::default()).unwrap();
    let mut best = 0.0f64;
    for _ in 0..5 {
        let t = Instant::now();
        let place = |region: &Arc<_>| Place { region: Arc::clone(region), offset: 0 };
        // SAFETY: nobody else touches the two regions.
        let ticket = unsafe { stream.push(Copy { from: place(&a), to: place(&b), bytes }, [None, None]) };
        ticket.wait().unwrap();
        best = best.max(bytes as f64 / t.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let name = words.first().map_or("1YRF", String::as_str);
    let calls: usize = words.get(1).map_or(3, |n| n.parse().expect("number of calls"));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("WEIR_SHARED").map_or(root.join("../shared"), PathBuf::from).join("structures");
    let s: Structure = read(shared.join(format!("{name}.extxyz")), &ReadOptions::default()).expect("structure");
    let model = Arc::new(new_model("dpa-3.1-3m", 1).unwrap());
    let types: Vec<i32> = s.symbols.iter().map(|e| model.type_of(e).unwrap() as i32).collect();
    let threads = default_threads();
    let ledger = Ledger::new("system", Tier::System.option(), 1 << 40);
    let kind: Arc<dyn Kind> = Arc::new(System::new(ledger, None, Vec::new(), Faults::none()));
    let rate = copy_rate(kind.as_ref());
    // A copy takes a core that one of the compute threads would use.
    let overlap = 1.0 - 1.0 / threads as f64;
    let spec = TierSpec {
        name: "system".into(),
        capacity: 1 << 40,
        out_rate: rate,
        in_rate: rate,
        both: 0.6,
        latency: 2e-5,
        overlap,
    };
    let slow = CpuTier { spec, kind };
    let base = CpuOptions { threads, profile: Some(Instant::now()), ..Default::default() };
    let run = |options: &CpuOptions| {
        let mut calculator = create_cpu(model.clone(), &types, options).unwrap();
        let mut out = Results::default();
        let mut step = || {
            let t = Instant::now();
            let parameters = FrameParameters::default();
            calculator.compute(&s.positions, s.cell.as_ref(), &parameters, Request::default(), &mut out).unwrap();
            t.elapsed().as_secs_f64()
        };
        step();
        let mut seconds: Vec<f64> = (0..calls).map(|_| step()).collect();
        seconds.sort_by(f64::total_cmp);
        (calculator, seconds[calls / 2], out)
    };
    let (mut free, free_seconds, expected) = run(&base);
    let everything = free.peak_bytes()[0].1;
    let problem = free.problem(&s.positions, s.cell.as_ref()).unwrap().unwrap();
    // One profiled step that rebuilds, so that rebuilding has a rate of its own.
    let rates = {
        let whole = calibrate(&problem, &free.profile().unwrap());
        let (mut half, ..) = run(&CpuOptions { checkpoint: Checkpoint::Every(4), ..base.clone() });
        let problem = half.problem(&s.positions, s.cell.as_ref()).unwrap().unwrap();
        let with_rebuild = calibrate(&problem, &half.profile().unwrap());
        weir_backends::cpu::Rates { rebuild: with_rebuild.rebuild, ..whole }
    };
    drop(free);
    eprintln!("{name}: {everything} bytes, {free_seconds:.3} s a step, copies at {:.1} GB/s", rate / 1e9);
    for (way, spill, rebuild, checkpoint) in [
        ("rebuild", Permission::Forbidden, Permission::Allowed, Checkpoint::Auto),
        ("spill", Permission::Allowed, Permission::Forbidden, Checkpoint::All),
        ("planner", Permission::Allowed, Permission::Allowed, Checkpoint::Auto),
    ] {
        let options = |budget| CpuOptions {
            spill,
            rebuild,
            checkpoint,
            rates: Some(rates.clone()),
            tiers: vec![hbm(budget), slow.clone()],
            ..base.clone()
        };
        let mut probe = create_cpu(model.clone(), &types, &options(1 << 44)).unwrap();
        let least = smallest_feasible(&probe.problem(&s.positions, s.cell.as_ref()).unwrap().unwrap()).unwrap();
        drop(probe);
        for (label, budget) in
            [("100%", everything + everything / 20), ("50%", everything / 2), ("25%", everything / 4), ("min", least)]
        {
            if budget < least {
                println!("{{\"case\":\"{name}\",\"way\":\"{way}\",\"budget\":\"{label}\",\"infeasible\":true,\"smallest_bytes\":{least}}}");
                continue;
            }
            let (calculator, seconds, out) = run(&options(budget));
            assert_eq!(out.forces, expected.forces, "the same bits under every plan");
            let p = &calculator.plan().unwrap().prediction;
            println!(
                "{{\"case\":\"{name}\",\"way\":\"{way}\",\"budget\":\"{label}\",\"hbm_bytes\":{budget},\"predicted_s\":{:.4},\"measured_s\":{seconds:.4},\"unlimited_s\":{free_seconds:.4},\"out_bytes\":{},\"in_bytes\":{},\"rebuild_s\":{:.4},\"copy_gb_s\":{:.2},\"threads\":{threads}}}",
                p.seconds,
                p.out_bytes.iter().sum::<u64>(),
                p.load_bytes.iter().sum::<u64>(),
                p.rebuild,
                rate / 1e9
            );
        }
    }
}
