//! The C interface on the emulated GPU: numbers of the CPU, lists, device pointers, and what is refused.
#![allow(missing_docs)]
// SAFETY of all calls: they keep to the contract of the C interface, which is what is tested here.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::ffi::CString;
use std::path::Path;
use std::ptr::{null, null_mut};
use weir::*;

const ATOMS: usize = 10;
const CELL: [f64; 9] = [5.4, 0.0, 0.0, 0.7, 5.2, 0.0, -0.8, 0.4, 5.6];

fn create(options: &str, units: i32) -> *mut Handle {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models/tiny.dp");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated-kernels");
    let options = CString::new(format!("{options} cache_dir={}", cache.display())).unwrap();
    let model = CString::new(model.to_str().unwrap()).unwrap();
    let p = unsafe { weir_create(model.as_ptr(), null(), options.as_ptr(), units) };
    assert!(!p.is_null(), "{}", told(null(), weir_last_error));
    let types: Vec<i32> = (0..ATOMS as i32).map(|k| k % 2).collect();
    assert_eq!(unsafe { weir_set_types(p, ATOMS, types.as_ptr(), null(), 0) }, 0);
    p
}

fn told(p: *const Handle, what: unsafe extern "C" fn(*const Handle, *mut std::ffi::c_char, usize) -> usize) -> String {
    let mut text = vec![0u8; 4096];
    let size = unsafe { what(p, text.as_mut_ptr().cast(), text.len()) };
    String::from_utf8(text[..size - 1].to_vec()).unwrap()
}

fn positions() -> Vec<f64> {
    let mut seed = 5u64;
    let mut next = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut x = Vec::new();
    for k in 0..ATOMS {
        let f = [k % 3, k / 3 % 3, k / 9].map(|c| (c as f64 + 0.2 + 0.5 * next()) / 3.0);
        x.extend((0..3).map(|a| (0..3).map(|v| f[v] * CELL[3 * v + a]).sum::<f64>()));
    }
    x
}

#[derive(Debug, PartialEq)]
struct Got {
    energy: f64,
    forces: Vec<f64>,
    virial: Vec<f64>,
}

fn compute(p: *mut Handle, x: &[f64], list: *const Neighbours) -> Got {
    let mut got = Got { energy: f64::NAN, forces: vec![f64::NAN; 3 * ATOMS], virial: vec![f64::NAN; 9] };
    let mut out = Outputs {
        struct_size: std::mem::size_of::<Outputs>(),
        energy: &mut got.energy,
        forces: got.forces.as_mut_ptr(),
        virial: got.virial.as_mut_ptr(),
        atomic_energy: null_mut(),
        atomic_virial: null_mut(),
    };
    let code = unsafe { weir_compute(p, x.as_ptr(), CELL.as_ptr(), list, &mut out) };
    assert_eq!(code, 0, "{}", told(p, weir_last_error));
    got
}

/// Positions and forces in the emulated device's memory: any of this process is.
fn on_device(p: *mut Handle, x: &[f64]) -> Result<Got, (i32, String)> {
    let mut got = Got { energy: f64::NAN, forces: vec![f64::NAN; 3 * ATOMS], virial: vec![f64::NAN; 9] };
    let (forces, virial) = (got.forces.as_mut_ptr(), got.virial.as_mut_ptr());
    let code = unsafe { weir_compute_device(p, x.as_ptr(), CELL.as_ptr(), forces, &mut got.energy, virial) };
    match code {
        0 => Ok(got),
        _ => Err((code, told(p, weir_last_error))),
    }
}

fn near(a: &Got, b: &Got) {
    let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
    assert!((a.energy - b.energy).abs() < 1e-10, "{} {}", a.energy, b.energy);
    assert!(apart(&a.forces, &b.forces) < 1e-10 && apart(&a.virial, &b.virial) < 1e-9);
}

/// Every pair within 6 A, with its shifts.
fn pairs(x: &[f64]) -> (Vec<u64>, Vec<i32>, Vec<i32>) {
    let (mut first, mut neighbour, mut shift) = (vec![0], Vec::new(), Vec::new());
    let around = [-2i32, -1, 0, 1, 2];
    for i in 0..ATOMS {
        for j in 0..ATOMS {
            for k in 0..125 {
                let n = [around[k / 25], around[k / 5 % 5], around[k % 5]];
                let d = |a: usize| {
                    x[3 * j + a] - x[3 * i + a] + (0..3).map(|v| f64::from(n[v]) * CELL[3 * v + a]).sum::<f64>()
                };
                let r = (0..3).map(|a| d(a) * d(a)).sum::<f64>().sqrt();
                if r < 6.0 && r > 0.0 {
                    neighbour.push(j as i32);
                    shift.extend(n);
                }
            }
        }
        first.push(neighbour.len() as u64);
    }
    (first, neighbour, shift)
}

#[test]
fn a_c_program_gets_the_same_numbers_from_a_gpu_with_lists_and_with_device_pointers() {
    let (cpu, gpu) = (create("backend=cpu threads=1", 0), create("backend=emulated threads=1", 0));
    assert_eq!((unsafe { weir_device(cpu) }, unsafe { weir_device(gpu) }, unsafe { weir_device(null()) }), (-1, 0, -1));
    assert_eq!((told(cpu, weir_backend), told(gpu, weir_backend)), ("cpu".into(), "emulated".into()));
    assert!(told(cpu, weir_summary).contains("arithmetic on the CPU"));
    let summary = told(gpu, weir_summary);
    assert!(summary.contains("arithmetic on emulated device (host, emulated"), "{summary}");
    let mut x = positions();
    let own = compute(gpu, &x, null());
    near(&own, &compute(cpu, &x, null()));
    // A given list has the bits of the device's own.
    let (first, neighbour, shift) = pairs(&x);
    let list = Neighbours { atoms: ATOMS, first: first.as_ptr(), neighbour: neighbour.as_ptr(), shift: shift.as_ptr() };
    assert_eq!(compute(gpu, &x, &list), own);
    assert_eq!(on_device(gpu, &x).unwrap(), own);
    for _ in 0..3 {
        x.iter_mut().for_each(|v| *v += 0.01);
        x[4] += 0.1;
        let got = on_device(gpu, &x).unwrap();
        near(&got, &compute(cpu, &x, null()));
        assert_eq!(got, compute(gpu, &x, null()));
    }
    // What cannot be is told, and the handle goes on.
    let (code, text) = on_device(cpu, &x).unwrap_err();
    assert!(code == 5 && text.contains("WEIR_BACKEND"), "{text}");
    let mut nan = x.clone();
    nan[5] = f64::NAN;
    let (code, text) = on_device(gpu, &nan).unwrap_err();
    assert!(code == 4 && text.contains("coordinate z of atom 1"), "{text}");
    assert!(on_device(gpu, &x).is_ok());
    let nanometres = create("backend=emulated threads=1", 1);
    let (code, text) = on_device(nanometres, &x).unwrap_err();
    assert!(code == 5 && text.contains("WEIR_UNITS_METAL"), "{text}");
    let group = [0i32, 1, 2];
    let types = [0i32; ATOMS];
    assert_eq!(unsafe { weir_set_types(gpu, ATOMS, types.as_ptr(), group.as_ptr(), 3) }, 0);
    let (code, text) = on_device(gpu, &x).unwrap_err();
    assert!(code == 5 && text.contains("group"), "{text}");
    for p in [cpu, gpu, nanometres] {
        unsafe { weir_destroy(p) };
    }
}
