//! Pushing, copying and waiting allocate nothing. Alone in its file: the allocator counts for the whole process.

use std::alloc::{GlobalAlloc, Layout, System as Heap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use weir_allocators::faults::Faults;
use weir_allocators::kind::{File, Hbm, Kind, Ledger};
use weir_allocators::stream::{Copy, Options, Place, Stream};

struct Counting;
static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise is passed on.
        unsafe { Heap.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { Heap.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn pushing_copying_and_waiting_allocate_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = || Ledger::new("test", "WEIR_HBM_BUDGET", 64 << 20);
    let memory = Arc::new(Hbm::new(ledger(), Faults::none()).allocate(8 << 20).unwrap());
    let disk = Arc::new(File::new(ledger(), folder.path(), Faults::none()).unwrap().allocate(8 << 20).unwrap());
    let options = || Options { queue: 8, records: 16, ..Options::default() };
    let mut out = Stream::new("out", options()).unwrap();
    let mut back = Stream::new("in", options()).unwrap();
    let place = |region: &Arc<_>, offset| Place { region: Arc::clone(region), offset };
    let mut round = || {
        for i in 0..20u64 {
            let save = Copy { from: place(&memory, 64), to: place(&disk, i * 4096), bytes: 4000 };
            let load = Copy { from: place(&disk, i * 4096), to: place(&memory, (4 << 20) + i * 4096), bytes: 4000 };
            // SAFETY: the load is ordered after the save, and the ranges in memory are apart.
            let last = unsafe {
                let saved = out.push(save, [None, None]);
                back.push(load, [Some(saved), None])
            };
            if i % 3 == 0 {
                last.wait().unwrap();
            }
        }
        back.drain().unwrap();
        out.drain().unwrap();
    };
    // Threads make their own first objects once.
    round();
    let before = COUNT.load(Ordering::SeqCst);
    for _ in 0..20 {
        round();
    }
    assert_eq!(COUNT.load(Ordering::SeqCst) - before, 0);
}
