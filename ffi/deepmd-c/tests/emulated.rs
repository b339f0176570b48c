//! The C interface of DeePMD-kit on the emulated GPU: numbers of the CPU, bits of the device's own list.
#![allow(missing_docs)]
// SAFETY of all calls: they keep to the contract of the C interface, which is what is tested here.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use deepmd_c::*;
use std::ffi::c_int;
use std::path::Path;
use std::ptr::null;

/// Bits of all that a call gives for the owned atoms.
fn bits(o: &Out, local: usize) -> Vec<u64> {
    let own = [&[o.energy], &o.force[..3 * local], &o.virial[..], &o.atomic_energy[..local]].concat();
    own.iter().map(|v| v.to_bits()).collect()
}

/// The device's own list: a call without one.
fn alone(dp: *mut Handle, s: &System) -> Out {
    let n = s.types.len();
    let mut o = Out {
        energy: f64::NAN,
        force: vec![f64::NAN; 3 * n],
        virial: vec![f64::NAN; 9],
        atomic_energy: vec![f64::NAN; n],
        atomic_virial: Vec::new(),
    };
    let (x, cell) = (s.x.concat(), s.cell.concat());
    unsafe {
        DP_DeepPotCompute2(
            dp,
            1,
            n as c_int,
            x.as_ptr(),
            s.types.as_ptr(),
            cell.as_ptr(),
            null(),
            null(),
            &mut o.energy,
            o.force.as_mut_ptr(),
            o.virial.as_mut_ptr(),
            o.atomic_energy.as_mut_ptr(),
            std::ptr::null_mut(),
        );
    }
    assert_eq!(ok(dp), "");
    o
}

#[test]
fn ghosts_of_an_md_code_on_a_gpu_give_the_cpus_numbers_and_the_bits_of_the_devices_own_list() {
    // The only test of this program: nobody else reads the environment meanwhile.
    std::env::set_var("WEIR_BACKEND", "emulated");
    std::env::set_var("WEIR_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated-kernels"));
    // On a device that exists the proposed number counts modulo the devices.
    let dp = unsafe { DP_NewDeepPotWithParam2(text(&tiny()).as_ptr(), 3, null(), 0) };
    assert_eq!(ok(dp), "");
    let mut s = system(14, 5.6, 3);
    let mut g = ghosts(&s, 5.5, [true; 3], 0);
    assert!(g.all() > 3 * g.local);
    let list = g.nlist();
    unsafe { DP_NlistSetMapping(list, g.owner.as_ptr()) };
    let mut r = Numbers(77);
    for step in 0..4 {
        // A new list, its steps, and a new one again.
        let ago = step % 3;
        let expected = direct(&s, Some(&s.cell), step == 3);
        let o = listed(dp, &g, list, s.cell.as_flattened().as_ptr(), ago, step == 3);
        assert_eq!(ok(dp), "");
        assert_same(&o, &expected, "box");
        if ago == 0 {
            let fresh = open(&tiny());
            assert_eq!(bits(&o, g.local), bits(&alone(fresh, &s), g.local), "the device's own list");
            unsafe { DP_DeleteDeepPot(fresh) };
        }
        if let Some(av) = &expected.atomic_virial {
            assert!(largest(&o.atomic_virial[..av.len() * 9], &av.concat()) < 1e-9);
        }
        s.x.iter_mut().flatten().for_each(|c| *c += 0.1 * (r.next() - 0.5));
        g.follow(&s);
    }
    // Displacements in place of a box.
    assert_same(&listed(dp, &g, list, null(), 0, false), &direct(&s, Some(&s.cell), false), "no box");
    assert_eq!(ok(dp), "");
    // A virtual atom is not seen, and atoms may come in another order.
    let real: Vec<usize> = (0..14).rev().filter(|k| *k != 5).collect();
    let only = System {
        x: real.iter().map(|&k| s.x[k]).collect(),
        types: real.iter().map(|&k| s.types[k]).collect(),
        cell: s.cell,
    };
    let expected = direct(&only, Some(&only.cell), false);
    let mut with = only.clone();
    with.x.insert(4, s.x[5]);
    with.types.insert(4, -1);
    let h = ghosts(&with, 5.5, [true; 3], 0);
    let other = h.nlist();
    unsafe { DP_NlistSetMapping(other, h.owner.as_ptr()) };
    let o = listed(dp, &h, other, with.cell.as_flattened().as_ptr(), 0, false);
    assert_eq!(ok(dp), "");
    assert!((o.energy - expected.energy).abs() < 1e-10 && o.force[12..15] == [0.0; 3]);
    let forces = [&o.force[..12], &o.force[15..3 * 14]].concat();
    assert!(largest(&forces, &expected.forces.concat()) < 1e-10);
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteNlist(other);
        DP_DeleteDeepPot(dp);
    }
    // A device that cannot be had is an error when the potential is made.
    std::env::set_var("WEIR_BACKEND", "hip");
    let dp = unsafe { DP_NewDeepPot(text(&tiny()).as_ptr()) };
    let told = ok(dp);
    assert!(told.contains("WEIR_BACKEND") || told.contains("HIP") || told.contains("hip"), "{told}");
    unsafe { DP_DeleteDeepPot(dp) };
}
