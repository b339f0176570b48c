//! What a neighbour list of a C program may leave out, and what it may not.
#![allow(missing_docs)]
// SAFETY of all calls: they keep to the contract of the C interface, which is what is tested here.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::ffi::{c_char, CString};
use std::path::Path;
use std::ptr::{null, null_mut};
use weir::*;

fn create() -> *mut Handle {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models/tiny.dp");
    let model = CString::new(model.to_str().unwrap()).unwrap();
    let p = unsafe { weir_create(model.as_ptr(), null(), c"threads=1".as_ptr(), 0) };
    assert!(!p.is_null());
    p
}

/// Energy and forces, or what was wrong.
fn compute(p: *mut Handle, x: &[f64], list: &Neighbours) -> Result<(f64, Vec<f64>), String> {
    let (mut energy, mut forces) = (f64::NAN, vec![f64::NAN; x.len()]);
    let mut out = Outputs {
        struct_size: std::mem::size_of::<Outputs>(),
        energy: &mut energy,
        forces: forces.as_mut_ptr(),
        virial: null_mut(),
        atomic_energy: null_mut(),
        atomic_virial: null_mut(),
    };
    if unsafe { weir_compute(p, x.as_ptr(), null(), list, &mut out) } == 0 {
        return Ok((energy, forces));
    }
    let mut text = vec![0u8; 4096];
    let size = unsafe { weir_last_error(p, text.as_mut_ptr().cast::<c_char>(), text.len()) };
    Err(String::from_utf8(text[..size - 1].to_vec()).unwrap())
}

fn list(atoms: usize, first: &[u64], neighbour: *const i32) -> Neighbours {
    Neighbours { atoms, first: first.as_ptr(), neighbour, shift: null() }
}

#[test]
fn a_list_without_pairs_needs_no_neighbours() {
    let p = create();
    assert_eq!(unsafe { weir_set_types(p, 1, [0].as_ptr(), null(), 0) }, 0);
    let alone = compute(p, &[0.1; 3], &list(1, &[0, 0], null())).unwrap();
    assert!(alone.0.is_finite() && alone.1 == [0.0; 3], "{alone:?}");
    // The same list again, which is compared with the one that was kept.
    assert_eq!(compute(p, &[0.1; 3], &list(1, &[0, 0], null())), Ok(alone.clone()));
    // No atoms at all, and a list that had pairs and has none any more.
    assert_eq!(unsafe { weir_set_types(p, 2, [0, 0].as_ptr(), null(), 0) }, 0);
    let x = [0.0, 0.0, 0.0, 1.1, 0.0, 0.0];
    let pair = compute(p, &x, &list(2, &[0, 1, 2], [1, 0].as_ptr())).unwrap();
    let apart = compute(p, &x, &list(2, &[0, 0, 0], null())).unwrap();
    assert!((apart.0 - 2.0 * alone.0).abs() < 1e-10 && (pair.0 - apart.0).abs() > 1e-6, "{pair:?} {apart:?}");
    assert_eq!(unsafe { weir_set_types(p, 0, null(), null(), 0) }, 0);
    assert_eq!(compute(p, &[], &list(0, &[0], null())), Ok((0.0, Vec::new())));
    unsafe { weir_destroy(p) };
}

#[test]
fn pairs_that_are_not_there_are_refused_before_they_are_read() {
    let p = create();
    assert_eq!(unsafe { weir_set_types(p, 2, [0, 0].as_ptr(), null(), 0) }, 0);
    let x = [0.0, 0.0, 0.0, 1.1, 0.0, 0.0];
    let said = compute(p, &x, &list(2, &[0, 1, 2], null())).unwrap_err();
    assert!(said.contains("is null, but has 2 pairs"), "{said}");
    let said = compute(p, &x, &list(2, &[0, 2, 0], null())).unwrap_err();
    assert!(said.contains("goes down"), "{said}");
    let said = compute(p, &x, &list(3, &[0, 0, 0, 0], null())).unwrap_err();
    assert!(said.contains("of 3 atoms for 2"), "{said}");
    let missing = Neighbours { atoms: 2, first: null(), neighbour: null(), shift: null() };
    assert!(compute(p, &x, &missing).unwrap_err().contains("first of the neighbour list is null"));
    assert!(compute(p, &x, &list(2, &[0, 1, 2], [1, 0].as_ptr())).is_ok());
    unsafe { weir_destroy(p) };
}
