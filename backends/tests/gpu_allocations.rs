//! Promise: what a driver does inside a step takes no memory from the system.

mod stub;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use stub::{Stub, BOTH};
use weir_backends::gpu::driver::{Arg, HostWork, Launch, Memory, Stream};

struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread on its way out counts no more.
        let _ = TAKEN.try_with(|t| t.set(t.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Nothing.
unsafe extern "C" fn rest(_: *mut std::ffi::c_void) {}

#[test]
fn a_step_takes_no_memory_from_the_system() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        let driver = stub.open(0).unwrap();
        let mut image = vec![0; 64];
        image[..4].copy_from_slice(b"\x7fELF");
        let function = driver.function(driver.load(&image).unwrap(), "scale").unwrap();
        let memory = driver.allocate(Memory::Device, 1024).unwrap();
        let (a, b) = (driver.event().unwrap(), driver.event().unwrap());
        driver.begin_capture().unwrap();
        driver.fill(Stream::Compute, memory, 0, 8).unwrap();
        let graph = driver.end_capture().unwrap();
        let args = [Arg::Pointer(memory, 1024), Arg::U64(0), Arg::U32(1), Arg::F64(2.0)];
        let step = || {
            driver.range(Some("step"));
            driver.record(a, Stream::Compute).unwrap();
            for shared in [0, 50_000] {
                driver
                    .launch(&Launch { function, grid: 1, block: 64, shared, stream: Stream::Compute, args: &args })
                    .unwrap();
            }
            // SAFETY: both ends lie in the 1024 bytes.
            unsafe { driver.copy(Stream::Out, memory + 512, memory, 256) }.unwrap();
            driver.fill(Stream::In, memory, 0, 64).unwrap();
            // SAFETY: it does nothing with its argument.
            unsafe { driver.host(Stream::In, HostWork { function: rest, data: 0 }) }.unwrap();
            driver.replay(graph).unwrap();
            driver.record(b, Stream::Compute).unwrap();
            driver.wait(Stream::Out, b).unwrap();
            driver.synchronise(Stream::Compute).unwrap();
            driver.elapsed(a, b).unwrap();
            driver.memory().unwrap();
            driver.range(None);
        };
        step();
        let before = TAKEN.get();
        step();
        assert_eq!(TAKEN.get() - before, 0, "{vendor:?}");
        // The counter counts.
        drop(std::hint::black_box(vec![0u8; 100]));
        assert!(TAKEN.get() > before);
    }
}
