//! Whatever call of the driver fails: a typed error, nothing left behind, and a calculator that can go on.

use super::common::bits;
use super::placed::{options, tight, Case};
use std::sync::Arc;
use weir_backends::cpu::{Permission, PrecisionChoice};
use weir_backends::gpu::driver::Driver;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Live, Watch};
use weir_backends::gpu::{create, GpuCalculator, GpuError, GpuOptions};
use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results};

fn step(case: &Case, x: &[[f64; 3]], c: &mut GpuCalculator) -> Result<Vec<u64>, ComputeError> {
    let mut out = Results::default();
    let request = Request::default();
    c.compute(x, Some(&case.cell), &FrameParameters::default(), request, &mut out).map(|()| bits(&out))
}

/// Steps of a run: piece by piece, recorded, run again, and where atoms are too far away for the list.
const STEPS: usize = 4;

#[test]
fn every_failing_call_is_an_error_that_leaves_nothing_behind() {
    let case = Case::with(4, 3, 3.0, [[6.9, 0.0, 0.0], [0.3, 6.8, 0.0], [-0.5, 0.2, 7.1]]);
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let base = GpuOptions {
        tile_edges: 1 << 17,
        poison: false,
        rebuild: Permission::Forbidden,
        ..options(PrecisionChoice::F32)
    };
    let options = tight(&case, device, &base);
    let far: Vec<[f64; 3]> = case.x.iter().map(|x| [x[0] + 2.0, x[1], x[2] - 1.5]).collect();
    let at_step = |at: usize| if at == STEPS - 1 { &far } else { &case.x };
    let expected: [Vec<u64>; STEPS] = {
        let mut c = case.calculator(device, &options);
        std::array::from_fn(|at| step(&case, at_step(at), &mut c).unwrap())
    };
    let (mut refused, mut broken, mut unrecorded) = (0u64, [0u64; STEPS], 0u64);
    let mut n = 0;
    loop {
        let driver = Arc::new(Emulated::new(device));
        driver.fail(Some(n));
        match create(driver.clone(), case.model.clone(), &case.types, &options) {
            Err(e) => {
                assert!(matches!(e, GpuError::Driver(_)), "call {n}: {e}");
                refused += 1;
            }
            Ok(mut c) => {
                for at in 0..STEPS {
                    match step(&case, at_step(at), &mut c) {
                        Ok(got) => assert_eq!(got, expected[at], "call {n}, step {at}"),
                        Err(e) => {
                            assert!(
                                matches!(e, ComputeError::Memory(_)) && driver.failed(),
                                "call {n}, step {at}: {e}"
                            );
                            broken[at] += 1;
                            let again = step(&case, at_step(at), &mut c).unwrap();
                            assert_eq!(again, expected[at], "the step after call {n}");
                            break;
                        }
                    }
                }
                // A call that cannot be recorded is made, piece by piece.
                if let [told] = c.came_up() {
                    assert!(driver.failed() && c.recordings() == (0, 0) && told.contains("piece by piece"), "{told}");
                    unrecorded += 1;
                }
                let p = &c.plan().unwrap().prediction;
                assert!(p.out_bytes.iter().sum::<u64>() > 0, "a plan that moves nothing has no events");
            }
        }
        assert_eq!((driver.live(), driver.held()), (Live::default(), 0), "call {n}");
        if !driver.failed() {
            break;
        }
        n += 1;
    }
    // Weights and kernels; the pieces of a step, once more where it is recorded; almost nothing where it is run again; twice that and a search.
    assert!(
        refused >= 30 && broken[0] > 100 && unrecorded > 100 && broken[1] >= 2 && broken[2] >= 2 && broken[3] > 10,
        "{refused} {broken:?} {unrecorded}"
    );
}

#[test]
fn a_call_that_cannot_be_recorded_spoils_the_recording() {
    use weir_backends::gpu::driver::{Memory, Stream};
    let d = Emulated::new(EmulatedOptions::default());
    let at = d.allocate(Memory::Device, 64).unwrap();
    let event = d.event().unwrap();
    let fill = |stream| d.fill(stream, at, 1, 64).unwrap();
    // Memory is taken; somebody waits; a stream is never waited for; an event from outside.
    let spoils: [&dyn Fn(); 4] = [
        &|| assert!(d.allocate(Memory::Device, 64).is_err()),
        &|| assert!(d.synchronise(Stream::Compute).is_err()),
        &|| {
            d.record(event, Stream::Compute).unwrap();
            d.wait(Stream::Out, event).unwrap();
            fill(Stream::Out);
        },
        &|| {
            d.record(event, Stream::In).unwrap();
            assert!(d.wait(Stream::Compute, event).is_err());
        },
    ];
    for spoil in spoils {
        d.begin_capture().unwrap();
        fill(Stream::Compute);
        spoil();
        assert!(d.end_capture().is_err());
    }
    // What is whole runs as often as it is asked to.
    d.begin_capture().unwrap();
    d.record(event, Stream::Compute).unwrap();
    d.wait(Stream::Out, event).unwrap();
    fill(Stream::Out);
    d.record(event, Stream::Out).unwrap();
    d.wait(Stream::Compute, event).unwrap();
    let graph = d.end_capture().unwrap();
    for _ in 0..2 {
        d.fill(Stream::Compute, at, 7, 64).unwrap();
        d.replay(graph).unwrap();
        let mut byte = 0u8;
        // SAFETY: both ends hold a byte until the stream has been waited for.
        unsafe { d.copy(Stream::Compute, (&raw mut byte) as u64, at + 63, 1) }.unwrap();
        d.synchronise(Stream::Compute).unwrap();
        assert_eq!(byte, 1);
    }
    d.forget(graph);
    assert!(d.replay(graph).is_err());
}
