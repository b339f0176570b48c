//! Kernels of nodes run beside those of angles; nobody sees it in the results.

use super::common::bits;
use super::placed::{options, tight, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::driver::{Driver, Memory, Stream};
use weir_backends::gpu::emulated::{Eagerness, Emulated, EmulatedOptions};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::plan::placement::Inside;

const CELL: [[f64; 3]; 3] = [[6.3, 0.0, 0.0], [0.9, 6.0, 0.0], [-1.4, 0.7, 6.6]];

/// Kernels that may have run beside others, by name.
const OF_NODES: [&str; 5] = ["finish", "gather", "node_backward", "node_update", "project"];

fn beside(case: &Case, options: &GpuOptions) -> Vec<String> {
    let device = Arc::new(Emulated::new(EmulatedOptions::default()));
    let mut c = create(device.clone(), case.model.clone(), &case.types, options).unwrap();
    case.run(&mut c).unwrap();
    device.counts().into_iter().filter(|(_, n)| n.beside > 0).map(|(name, _)| name).collect()
}

#[test]
fn same_answer_in_one_stream_or_two() {
    let case = Case::of(16, 5.9, CELL);
    let lazy = EmulatedOptions::default();
    for (precision, tile_edges) in [(PrecisionChoice::F32, 120), (PrecisionChoice::F64, 0)] {
        let base = GpuOptions { tile_edges, two_streams: false, ..options(precision) };
        let expected = bits(&case.run(&mut case.calculator(lazy, &base)).unwrap());
        let short = tight(&case, lazy, &base).tiers;
        // With room for everything, with none for slopes, and with states that move.
        for (tiers, inside) in [(&base.tiers, Inside::Auto), (&base.tiers, Inside::Rebuild), (&short, Inside::Auto)] {
            for eagerness in [Eagerness::Lazy, Eagerness::Eager] {
                let device = EmulatedOptions { eagerness, ..lazy };
                let two = GpuOptions { tiers: tiers.clone(), inside, two_streams: true, ..base.clone() };
                let mut c = case.calculator(device, &two);
                // Queued piece by piece, then as it was recorded.
                for _ in 0..2 {
                    let got = bits(&case.run(&mut c).unwrap());
                    assert_eq!(got, expected, "{precision:?} {tile_edges} {inside:?} {eagerness:?}");
                }
                assert_eq!(c.recordings(), (1, 1));
            }
        }
    }
}

#[test]
fn kernels_of_nodes_run_beside_those_of_angles_and_nothing_does_where_times_are_taken() {
    let case = Case::of(16, 5.9, CELL);
    let base = options(PrecisionChoice::F32);
    assert_eq!(beside(&case, &base), OF_NODES);
    for options in [
        GpuOptions { two_streams: false, ..base.clone() },
        GpuOptions { kernels: true, ..base.clone() },
        GpuOptions { profile: Some(std::time::Instant::now()), ..base.clone() },
    ] {
        assert_eq!(beside(&case, &options), [""; 0]);
    }
}

/// What the emulated device says of a program that forgets a wait.
#[test]
fn work_of_two_streams_that_nobody_put_in_order_is_an_error() {
    let driver = Emulated::new(EmulatedOptions::default());
    let memory = driver.allocate(Memory::Device, 4096).unwrap();
    let event = driver.event().unwrap();
    let run = |waits: bool, far: u64| {
        driver.fill(Stream::Compute, memory, 1, 1024).unwrap();
        driver.record(event, Stream::Compute).unwrap();
        if waits {
            driver.wait(Stream::Beside, event).unwrap();
        }
        driver.fill(Stream::Beside, memory + far, 2, 1024).unwrap();
        driver.record(event, Stream::Beside).unwrap();
        driver.wait(Stream::Compute, event).unwrap();
        driver.synchronise(Stream::Compute)
    };
    run(true, 512).unwrap();
    run(false, 1024).unwrap();
    let error = run(false, 512).unwrap_err().to_string();
    assert!(error.contains("in order") && error.contains("a fill"), "{error}");
    run(true, 512).unwrap();
    driver.drop_event(event);
    driver.free(Memory::Device, memory);
}
