//! Every fault that can be injected ends in a clean error with everything released. Alone in its file: mappings are
//! counted for the whole process.

use std::path::Path;
use std::sync::Arc;
use weir_allocators::faults::{Faults, Operation};
use weir_allocators::kind::{File, Hbm, Kind, Ledger, Pinned, System};
use weir_allocators::stream::{Copy, Options, Place, Stream};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A little run: regions of every kind, saves and loads on two streams.
fn run(folder: &Path, faults: &Faults, pool: &Ledger) -> Outcome {
    let ledger = |name: &'static str| pool.within(name, "WEIR_HBM_BUDGET", 32 << 20);
    let memory: [Box<dyn Kind>; 3] = [
        Box::new(Hbm::new(ledger("hbm"), faults.clone())),
        Box::new(Pinned::new(ledger("pinned"), None, Vec::new(), faults.clone())),
        Box::new(System::new(ledger("system"), None, Vec::new(), faults.clone())),
    ];
    let disk = File::new(ledger("file"), folder, faults.clone())?;
    let hbm = Arc::new(memory[0].allocate(4 << 20)?);
    let others = [memory[1].allocate(1 << 20)?, memory[2].allocate(1 << 20)?, disk.allocate(1 << 20)?];
    let others = others.map(Arc::new);
    let options = || Options { faults: faults.clone(), ..Options::default() };
    let (mut out, mut back) = (Stream::new("out", options())?, Stream::new("in", options())?);
    let place = |region: &Arc<_>, offset| Place { region: Arc::clone(region), offset };
    for (i, other) in others.iter().enumerate() {
        let offset = (i as u64) << 20;
        let save = Copy { from: place(&hbm, offset), to: place(other, 0), bytes: 1 << 20 };
        let load = Copy { from: place(other, 0), to: place(&hbm, offset), bytes: 1 << 20 };
        // SAFETY: the load is ordered after the save; the parts of hbm are apart.
        unsafe {
            let saved = out.push(save, [None, None]);
            back.push(load, [Some(saved), None]);
        }
    }
    out.drain()?;
    back.drain()?;
    Ok(())
}

fn mapped() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmData:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn every_fault_ends_in_a_clean_error_with_everything_released() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pool = Ledger::new("pool", "WEIR_HBM_BUDGET", 64 << 20);
    let counting = Faults::counting();
    run(folder.path(), &counting, &pool).unwrap();
    let (before, files) = (mapped(), open_files());
    for operation in Operation::ALL {
        let all = counting.seen(operation);
        println!("{operation}: {all}");
        assert!(all > 0, "the run has no {operation}");
        for n in 1..=all {
            let error = run(folder.path(), &Faults::fail(operation, n), &pool).unwrap_err().to_string();
            assert!(error.contains(&format!("{operation} number {n} was made to fail")), "{error}");
            assert_eq!(pool.used(), 0, "{operation} {n} kept memory in its budget");
            assert_eq!(open_files(), files, "{operation} {n} kept a file open");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{operation} {n} left a file");
        }
        run(folder.path(), &Faults::fail(operation, all + 1), &pool).unwrap();
    }
    let after = mapped();
    // Heap and thread stacks that libc keeps for itself; one lost region would be 1024 KiB or more.
    assert!(after < before + 1024, "mapped before {before} KiB, after {after} KiB");
}
