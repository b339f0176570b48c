//! Positions and forces that stay on the device.

use super::common::bits;
use super::placed::{options, Case};
use std::sync::Arc;
use weir_backends::cpu::PrecisionChoice;
use weir_backends::gpu::driver::{Driver, Memory, Stream};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Results};

pub fn send(driver: &Emulated, to: u64, x: &[[f64; 3]]) {
    // SAFETY: both ends hold the positions until the stream has been waited for.
    unsafe { driver.copy(Stream::In, to, x.as_ptr() as u64, 24 * x.len() as u64) }.unwrap();
    driver.synchronise(Stream::In).unwrap();
}

pub fn fetch(driver: &Emulated, from: u64, n: usize) -> Vec<[f64; 3]> {
    let mut out = vec![[0.0; 3]; n];
    // SAFETY: both ends hold the forces until the stream has been waited for.
    unsafe { driver.copy(Stream::Out, out.as_mut_ptr() as u64, from, 24 * n as u64) }.unwrap();
    driver.synchronise(Stream::Out).unwrap();
    out
}

#[test]
fn positions_and_forces_on_the_device_give_the_bits_of_the_host() {
    let case = Case::with(3, 16, 6.0, [[6.5, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.2, 0.6, 6.8]]);
    let n = case.x.len();
    let options = GpuOptions { skin: 0.6, poison: false, ..options(PrecisionChoice::F64) };
    let device = EmulatedOptions { watch: Watch::Nothing, ..Default::default() };
    let driver = Arc::new(Emulated::new(device));
    let mut resident = create(driver.clone(), case.model.clone(), &case.types, &options).unwrap();
    let mut host = case.calculator(device, &options);
    let [positions, forces, elsewhere] = [0; 3].map(|_| driver.allocate(Memory::Device, 24 * n as u64).unwrap());
    let none = FrameParameters::default();
    let mut x = case.x.clone();
    // The third step is one recorded; the fourth needs a new list; the last has its forces elsewhere.
    for (at, to, recordings) in
        [(0, forces, (0, 0)), (1, forces, (1, 1)), (2, forces, (1, 2)), (3, forces, (1, 4)), (4, elsewhere, (1, 4))]
    {
        x[5][1] += if at == 3 { 0.5 } else { 0.01 };
        send(&driver, positions, &x);
        // SAFETY: both hold N triples, and nobody else works with them.
        let totals = unsafe { resident.compute_on_device(positions, to, Some(&case.cell), &none) }.unwrap();
        let mut expected = Results::default();
        host.compute(&x, Some(&case.cell), &none, Default::default(), &mut expected).unwrap();
        let got = Results {
            energy: totals.energy,
            virial: totals.virial,
            forces: fetch(&driver, to, n),
            atomic_energy: expected.atomic_energy.clone(),
            atomic_virial: None,
        };
        assert_eq!(bits(&got), bits(&expected), "step {at}");
        assert_eq!((resident.recordings(), resident.list_builds()), (recordings, host.list_builds()), "step {at}");
    }
    assert_eq!((host.list_builds(), host.lists_found(), resident.lists_found()), (2, 1, 1));
    // What the host would refuse is refused here too, and the next step is a good one again.
    let good = x.clone();
    x[2][0] = f64::NAN;
    send(&driver, positions, &x);
    // SAFETY: as above.
    let e = unsafe { resident.compute_on_device(positions, forces, Some(&case.cell), &none) }.unwrap_err().to_string();
    assert!(e.contains("coordinate x of atom 2 is NaN"), "{e}");
    x.clone_from(&good);
    x[1] = x[0];
    send(&driver, positions, &x);
    // SAFETY: as above.
    let e = unsafe { resident.compute_on_device(positions, forces, Some(&case.cell), &none) }.unwrap_err().to_string();
    assert!(e.contains("atoms 0 and 1 coincide"), "{e}");
    send(&driver, positions, &good);
    // SAFETY: as above.
    unsafe { resident.compute_on_device(positions, forces, Some(&case.cell), &none) }.unwrap();
}
