//! Promises of memory kinds.

use weir_allocators::faults::Faults;
use weir_allocators::kind::{AllocError, Facts, File, Hbm, Kind, Ledger, Managed, Pinned, Reach, Region, System, Tier};

fn ledger(bytes: u64) -> Ledger {
    Ledger::new("test", "WEIR_HOST_BUDGET", bytes)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn every_kind_hands_out_what_it_promises_and_takes_it_back() {
    let folder = folder();
    let none = Faults::none;
    let kinds: [Box<dyn Kind>; 4] = [
        Box::new(Hbm::new(ledger(64 << 20), none())),
        Box::new(Pinned::new(ledger(64 << 20), None, Vec::new(), none())),
        Box::new(System::new(ledger(64 << 20), Some(0), vec![0], none())),
        Box::new(File::new(ledger(64 << 20), folder.path(), none()).unwrap()),
    ];
    for kind in &kinds {
        let Facts { granularity, alignment, reach, setup, .. } = kind.facts();
        assert!(granularity.is_power_of_two() && alignment >= 4096 && setup >= 0.0);
        for bytes in [0, 1, 4096, 100_000, 20 << 20] {
            let mut region = match kind.allocate(bytes) {
                Err(AllocError::Lock { .. }) => continue,
                other => other.unwrap(),
            };
            assert_eq!(region.tier(), kind.tier());
            assert!(region.bytes() >= bytes.max(1) && kind.used() >= bytes);
            assert_eq!(region.pointer().is_some(), reach == Reach::Host, "{region:?}");
            assert!(region.pointer().is_none_or(|p| p.as_ptr() as u64 % alignment == 0));
            let pattern: Vec<u8> = (0..bytes).map(|i| (i * 7 + i / 251) as u8).collect();
            region.write_at(0, &pattern).unwrap();
            let mut back = vec![0; pattern.len()];
            region.read_at(0, &mut back).unwrap();
            assert!(back == pattern, "{region:?}");
            if let Some(memory) = region.bytes_of() {
                assert!(memory[..bytes as usize] == pattern);
            }
        }
        assert_eq!(kind.used(), 0, "{} keeps what was given back", kind.tier());
    }
}

#[test]
fn ranges_outside_of_a_region_or_off_its_blocks_are_errors() {
    let folder = folder();
    let file = File::new(ledger(1 << 20), folder.path(), Faults::none()).unwrap();
    let mut region = file.allocate(8192).unwrap();
    let range = |r: Result<(), AllocError>| assert!(matches!(r, Err(AllocError::Range { .. })), "{r:?}");
    range(region.write_at(64, &[1; 8]));
    range(region.write_at(8192, &[1; 8]));
    range(region.read_at(4096, &mut [0; 4097]));
    range(region.read_at(u64::MAX - 4095, &mut [0; 4096]));
    region.write_at(4096, &[5; 100]).unwrap();
    let mut memory = Hbm::new(ledger(1 << 20), Faults::none()).allocate(4096).unwrap();
    range(memory.write_at(4090, &[1; 7]));
    memory.write_at(4089, &[1; 7]).unwrap();
}

#[test]
fn a_shortened_region_pays_its_tail_back_and_keeps_its_head() {
    let pool = Ledger::new("memory", "WEIR_HOST_BUDGET", 8 << 20);
    let hbm = Hbm::new(pool.within("hbm", "WEIR_HBM_BUDGET", 8 << 20), Faults::none());
    let mut region = hbm.allocate(6 << 20).unwrap();
    let at = region.pointer().unwrap();
    region.bytes_of().unwrap()[..1000].fill(7);
    assert!(hbm.allocate(4 << 20).is_err(), "two do not fit");
    region.shorten(7 << 20);
    assert_eq!((region.bytes(), pool.used()), (6 << 20, 6 << 20), "longer is no change");
    region.shorten(1 << 20);
    assert_eq!((region.bytes(), region.pointer().unwrap(), pool.used()), (1 << 20, at, 1 << 20));
    let other = hbm.allocate(4 << 20).unwrap();
    assert!(region.bytes_of().unwrap()[..1000].iter().all(|&b| b == 7));
    drop((region, other));
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_spent_budget_is_an_error_with_numbers_and_the_option_that_helps() {
    let pool = Ledger::new("the memory that tiers share", "WEIR_HBM_BUDGET", 3 << 20);
    let hbm = Hbm::new(pool.within("hbm", "WEIR_HBM_BUDGET", 2 << 20), Faults::none());
    let system = System::new(pool.within("host", "WEIR_HOST_BUDGET", 2 << 20), None, Vec::new(), Faults::none());
    let held = hbm.allocate(2 << 20).unwrap();
    let message = hbm.allocate(4096).unwrap_err().to_string();
    assert!(message.contains("4.00 KiB needed, 0 B left of 2.00 MiB: raise WEIR_HBM_BUDGET"), "{message}");
    assert_eq!(system.capacity(), 1 << 20, "the pool counts what another tier took");
    let message = system.allocate(2 << 20).unwrap_err().to_string();
    assert!(message.contains("the memory that tiers share: 2.00 MiB needed, 1.00 MiB left"), "{message}");
    drop(held);
    assert_eq!((pool.used(), system.capacity(), hbm.capacity()), (0, 2 << 20, 2 << 20));
    assert!(hbm.allocate(u64::MAX).is_err());
}

#[test]
fn more_memory_than_the_machine_has_is_an_error_not_a_crash() {
    // 2^46 bytes: within the address space, beyond any machine.
    let hbm = Hbm::new(ledger(u64::MAX), Faults::none());
    let error = hbm.allocate(1 << 46).unwrap_err();
    assert!(matches!(error, AllocError::Memory { .. }) && error.to_string().contains("WEIR_HBM_BUDGET"), "{error}");
    assert_eq!(hbm.used(), 0);
}

#[test]
fn managed_memory_without_a_gpu_backend_names_the_alternative() {
    let message = Managed.allocate(1).unwrap_err().to_string();
    assert_eq!(message, "managed memory needs a GPU backend: use system in WEIR_PLACEMENT");
    assert_eq!((Managed.capacity(), Managed.tier()), (0, Tier::Managed));
}

#[test]
fn a_node_that_is_not_there_is_an_error_that_names_the_setting() {
    let error = System::new(ledger(1 << 20), Some(999), Vec::new(), Faults::none()).allocate(4096).unwrap_err();
    assert!(matches!(error, AllocError::Node { node: 999, .. }), "{error}");
    assert!(error.to_string().contains("WEIR_NUMA_NODE"), "{error}");
}

#[test]
fn memory_of_a_node_is_bound_to_it_as_the_kernel_tells() {
    let region = System::new(ledger(8 << 20), Some(0), Vec::new(), Faults::none()).allocate(4 << 20).unwrap();
    let Ok(maps) = std::fs::read_to_string("/proc/self/numa_maps") else {
        eprintln!("a kernel without NUMA: nothing tested");
        return;
    };
    let start = format!("{:x} ", region.pointer().unwrap().as_ptr() as usize);
    let line = maps.lines().find(|l| l.starts_with(&start)).expect("the mapping is not listed");
    assert!(line.contains("bind:0"), "{line}");
}

#[test]
fn memory_beyond_the_lock_limit_is_refused_with_the_way_out() {
    // A process of its own: limits and users are process-wide.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_without_rights_locks_memory", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "a child of memory_beyond_the_lock_limit_is_refused_with_the_way_out"]
fn child_without_rights_locks_memory() {
    let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
    // SAFETY: plain numbers; this process exists for nothing else. Only the calling thread changes its user.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
        if libc::geteuid() == 0 {
            assert_eq!(libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534), 0);
        }
    }
    let pinned = Pinned::new(ledger(1 << 30), None, Vec::new(), Faults::none());
    pinned.allocate(1 << 16).unwrap();
    let error = pinned.allocate(8 << 20).unwrap_err();
    assert!(matches!(error, AllocError::Lock { limit: Some(1_048_576), .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("ulimit -l") && message.contains("WEIR_PLACEMENT"), "{message}");
    assert_eq!(pinned.used(), 0);
}

#[test]
fn memory_of_others_is_freed_by_its_owner() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;
    struct Owner(Arc<AtomicBool>, #[allow(dead_code)] Region);
    impl Drop for Owner {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let inner = Hbm::new(ledger(1 << 20), Faults::none()).allocate(8192).unwrap();
    let (pointer, freed) = (inner.pointer().unwrap(), Arc::new(AtomicBool::new(false)));
    // SAFETY: the owner holds the memory until the region is dropped.
    let mut region = unsafe { Region::foreign(Tier::Hbm, pointer, 8192, Box::new(Owner(freed.clone(), inner))) };
    region.write_at(8000, &[3; 192]).unwrap();
    assert!(!freed.load(Ordering::SeqCst));
    drop(region);
    assert!(freed.load(Ordering::SeqCst));
}
