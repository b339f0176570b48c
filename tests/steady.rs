//! A step in the steady state takes no memory from the system. Own test binary: it counts every allocation of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            if std::env::var_os("WEIR_TEST_TRAP").is_some() {
                COUNTING.store(false, Ordering::Relaxed);
                eprintln!("{layout:?} {}", std::backtrace::Backtrace::force_capture());
                COUNTING.store(true, Ordering::Relaxed);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Page faults of the process so far (field 10 and 12 of `/proc/self/stat`, proc(5)); nothing where there is no such file.
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    [7, 9].iter().filter_map(|&k| fields.get(k)?.parse::<u64>().ok()).sum()
}

#[test]
fn a_step_allocates_nothing_and_faults_no_page() {
    use weir_backends::cpu::Inside;

    // One after the other: allocations of the whole process are counted.
    for inside in [Inside::Rebuild, Inside::Keep, Inside::Auto] {
        steps(inside);
    }
}

fn steps(inside: weir_backends::cpu::Inside) {
    use std::sync::Arc;
    use weir_backends::cpu::{create, CpuOptions, Spare};
    use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
    use weir_engine::model::{load, LoadOptions};
    use weir_engine::structure::{read, ReadOptions};

    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = Arc::new(load(&root.join("examples/water/model.dp"), &LoadOptions::default()).unwrap());
    let s = read(root.join("examples/water/start.extxyz"), &ReadOptions::default()).unwrap();
    let types: Vec<i32> = s.symbols.iter().map(|e| model.type_of(e).unwrap() as i32).collect();
    // The automatic rule is tried in the first forty steps, and has decided then.
    let spare = Some(Spare::new(|| u64::MAX));
    let options = CpuOptions { threads: 2, inside, spare, ..Default::default() };
    let mut calculator = create(model, &types, &options).unwrap();
    let mut positions = s.positions.clone();
    let mut results = Results::default();
    let parameters = FrameParameters::default();
    let mut move_and_compute = |k: usize, calculator: &mut dyn Calculator| {
        for (i, x) in positions.iter_mut().enumerate() {
            x[i % 3] += 1e-3 * ((i + k) % 5) as f64 - 2e-3;
        }
        calculator.compute(&positions, s.cell.as_ref(), &parameters, Request::default(), &mut results).unwrap();
    };
    (0..40).for_each(|k| move_and_compute(k, calculator.as_mut()));
    assert_eq!(calculator.settled().len(), usize::from(inside == weir_backends::cpu::Inside::Auto), "no trial");
    let mut step = |k: usize| move_and_compute(k, calculator.as_mut());
    // Where cores are busy, a thread of the pool may do its first work late: what a step takes shows in every round, what a thread takes
    // once does not (13 allocations seen on a machine with other work, 2026-11-28).
    let mut rounds = Vec::new();
    for _ in 0..4 {
        let before = page_faults();
        ALLOCATIONS.store(0, Ordering::SeqCst);
        COUNTING.store(true, Ordering::SeqCst);
        (0..40).for_each(&mut step);
        COUNTING.store(false, Ordering::SeqCst);
        rounds.push((ALLOCATIONS.load(Ordering::SeqCst), page_faults() - before));
        // The thread pool's queue takes a block of 63 jobs now and then, one job a step. The kernel takes a few pages for its own ends
        // (balancing of nodes); a step that touched its arena afresh would take thousands.
        if rounds.last().is_some_and(|&(allocations, faults)| allocations <= 2 && faults <= 400) {
            return;
        }
    }
    panic!("allocations and page faults in rounds of 40 steps, insides {inside}: {rounds:?}");
}
