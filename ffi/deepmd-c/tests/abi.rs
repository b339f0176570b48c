//! The C interface apart from lists: symbols, handles, errors, frames, numbers of either precision, several models.
#![allow(missing_docs)]
// SAFETY of all calls: they keep to the contract of the C interface, which is what is tested here.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use deepmd_c::*;
use std::ffi::{c_char, c_int, CString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::{null, null_mut};

#[test]
fn the_library_exports_every_function_of_version_30() {
    let names: Vec<&str> = include_str!("names.txt").lines().collect();
    assert_eq!(names.len(), 166);
    // Beside this program, or one folder up.
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|d| d.join("libdeepmd_c.so")).find(|p| p.is_file());
    let library = found.expect("libdeepmd_c.so is built with the tests");
    let Ok(nm) = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output() else {
        eprintln!("skipped: nm (binutils) is not here");
        return;
    };
    let table = String::from_utf8(nm.stdout).unwrap();
    let mut exported: Vec<&str> =
        table.lines().filter_map(|l| l.split(" T ").nth(1)).filter(|n| n.starts_with("DP_")).collect();
    exported.sort_unstable();
    assert_eq!(exported, names);
    let Ok(dynamic) = Command::new("readelf").arg("-d").arg(&library).output() else { return };
    let dynamic = String::from_utf8(dynamic.stdout).unwrap();
    assert!(dynamic.contains("Library soname: [libdeepmd_c.so]"), "{dynamic}");
}

fn compute(dp: *mut Handle, s: &System, frames: usize, x: &[f64], cells: Option<&[f64]>) -> Out {
    let n = s.types.len();
    let mut energies = vec![f64::NAN; frames];
    let mut o = Out {
        energy: 0.0,
        force: vec![f64::NAN; 3 * n * frames],
        virial: vec![f64::NAN; 9 * frames],
        atomic_energy: vec![f64::NAN; n * frames],
        atomic_virial: vec![f64::NAN; 9 * n * frames],
    };
    unsafe {
        DP_DeepPotCompute2(
            dp,
            frames as c_int,
            n as c_int,
            x.as_ptr(),
            s.types.as_ptr(),
            cells.map_or(null(), |c| c.as_ptr()),
            null(),
            null(),
            energies.as_mut_ptr(),
            o.force.as_mut_ptr(),
            o.virial.as_mut_ptr(),
            o.atomic_energy.as_mut_ptr(),
            o.atomic_virial.as_mut_ptr(),
        );
    }
    o.energy = energies.iter().sum();
    o
}

#[test]
fn frames_follow_each_other_and_any_output_may_be_null() {
    let dp = open(&tiny());
    let (s, t) = (system(20, 6.5, 1), system(20, 6.9, 1));
    let (a, b) = (direct(&s, Some(&s.cell), true), direct(&t, Some(&t.cell), true));
    let x = [s.x.concat(), t.x.concat()].concat();
    let cells = [s.cell.concat(), t.cell.concat()].concat();
    let o = compute(dp, &s, 2, &x, Some(&cells));
    assert_eq!(ok(dp), "");
    assert!((o.energy - a.energy - b.energy).abs() < 1e-10);
    assert!(largest(&o.force, &[a.forces.concat(), b.forces.concat()].concat()) < 1e-10);
    assert!(largest(&o.virial, &[a.virial.concat(), b.virial.concat()].concat()) < 1e-9);
    assert!(largest(&o.atomic_energy, &[a.atomic_energy.clone(), b.atomic_energy.clone()].concat()) < 1e-10);
    let av = [a.atomic_virial.clone().unwrap().concat(), b.atomic_virial.clone().unwrap().concat()].concat();
    assert!(largest(&o.atomic_virial, &av) < 1e-9);
    let none = null_mut();
    let mut energy = 0.0;
    unsafe {
        let cell = s.cell.as_flattened().as_ptr();
        DP_DeepPotCompute(dp, 20, x.as_ptr(), s.types.as_ptr(), cell, &mut energy, none, none, none, none);
        assert!((energy - a.energy).abs() < 1e-10);
        DP_DeepPotCompute(dp, 20, x.as_ptr(), s.types.as_ptr(), null(), &mut energy, none, none, none, none);
        assert!((energy - direct(&s, None, false).energy).abs() < 1e-10);
        // Every frame with types of its own.
        let types: Vec<c_int> = s.types.iter().chain(s.types.iter().rev()).copied().collect();
        let mut reversed = s.clone();
        reversed.types.reverse();
        let mut energies = [0.0; 2];
        let twice = [s.x.concat(), s.x.concat()].concat();
        let cells = [s.cell.concat(), s.cell.concat()].concat();
        let (e, p) = (energies.as_mut_ptr(), null());
        DP_DeepPotComputeMixedType(
            dp,
            2,
            20,
            twice.as_ptr(),
            types.as_ptr(),
            cells.as_ptr(),
            p,
            p,
            e,
            none,
            none,
            none,
            none,
        );
        assert!((energies[0] - a.energy).abs() < 1e-10);
        assert!((energies[1] - direct(&reversed, Some(&s.cell), false).energy).abs() < 1e-10);
        assert_eq!(ok(dp), "");
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn single_precision_clients_get_rounded_numbers() {
    let dp = open(&tiny());
    let s = system(20, 6.5, 1);
    let f = |v: Vec<f64>| v.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let (x, cell) = (f(s.x.concat()), f(s.cell.concat()));
    let rounded =
        |v: &[f32]| -> Vec<[f64; 3]> { v.chunks(3).map(|c| [c[0].into(), c[1].into(), c[2].into()]).collect() };
    let c = rounded(&cell);
    let t = System { x: rounded(&x), types: s.types.clone(), cell: [c[0], c[1], c[2]] };
    let expected = direct(&t, Some(&t.cell), false);
    let (mut energy, mut force, mut virial) = (0.0f64, vec![0.0f32; 60], vec![0.0f32; 9]);
    let none = null_mut();
    let check = |energy: f64, force: &[f32]| {
        assert!((energy - expected.energy).abs() < 1e-5, "{energy} {}", expected.energy);
        let wide: Vec<f64> = force.iter().map(|&v| v.into()).collect();
        assert!(largest(&wide, &expected.forces.concat()) < 1e-5);
    };
    unsafe {
        let (e, fo, v) = (&mut energy as *mut f64, force.as_mut_ptr(), virial.as_mut_ptr());
        DP_DeepPotComputef(dp, 20, x.as_ptr(), s.types.as_ptr(), cell.as_ptr(), e, fo, v, none, none);
        check(energy, &force);
        // Ghosts of a single-precision client stand a rounding off the lattice.
        let g = ghosts(&t, 5.5, [true; 3], 0);
        let gx = f(g.x.clone());
        let mut all = vec![1.0f32; 3 * g.all()];
        let list = g.nlist();
        DP_NlistSetMapping(list, g.owner.as_ptr());
        let (n, ghosts) = (g.all() as c_int, (g.all() - 20) as c_int);
        let (p, fo) = (null(), all.as_mut_ptr());
        DP_DeepPotComputeNListf2(
            dp,
            1,
            n,
            gx.as_ptr(),
            g.types.as_ptr(),
            cell.as_ptr(),
            ghosts,
            list,
            0,
            p,
            p,
            e,
            fo,
            v,
            none,
            none,
        );
        assert_eq!(ok(dp), "");
        check(energy, &all[..60]);
        assert!(all[60..].iter().all(|f| *f == 0.0));
        DP_DeleteNlist(list);
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn getters_tell_what_the_model_is_through_either_handle() {
    let dp = open(&tiny());
    unsafe {
        assert_eq!((DP_DeepPotGetCutoff(dp), DP_DeepBaseModelGetCutoff(dp)), (4.5, 4.5));
        assert_eq!((DP_DeepPotGetNumbTypes(dp), DP_DeepBaseModelGetNumbTypesSpin(dp)), (5, 0));
        assert_eq!(taken(DP_DeepBaseModelGetTypeMap(dp)), "H C N O S");
        assert_eq!((DP_DeepPotGetDimFParam(dp), DP_DeepPotGetDimAParam(dp), DP_DeepPotGetDimChgSpin(dp)), (0, 0, 0));
        assert!(!DP_DeepPotIsAParamNAll(dp) && !DP_DeepPotHasDefaultFParam(dp));
        assert!(!DP_DeepPotSupportsDeviceEdgeInference(dp));
        DP_DeepPotSetChargeSpin(dp, null(), 0);
        assert_eq!(ok(dp), "");
        DP_DeepPotSetChargeSpin(dp, [1.0, 2.0].as_ptr(), 2);
        assert_eq!(ok(dp), "2 numbers of charge and spin, but the model takes 0");
        DP_DeleteDeepBaseModel(dp);
    }
}

#[test]
fn errors_wait_for_check_ok_and_leave_the_handle_usable() {
    let s = system(20, 6.5, 1);
    let missing = unsafe { DP_NewDeepPot(text(Path::new("/nowhere/model.dp")).as_ptr()) };
    assert!(!missing.is_null());
    let said = ok(missing);
    assert!(said.contains("/nowhere/model.dp"), "{said}");
    assert_eq!(ok(missing), "");
    compute(missing, &s, 1, &s.x.concat(), None);
    assert_eq!(ok(missing), said);
    let junk = unsafe { DP_NewDeepPotWithParam2(c"junk.dp".as_ptr(), 0, b"no model".as_ptr().cast(), 8) };
    assert!(ok(junk).contains("junk.dp"));
    let dp = open(&tiny());
    let mut broken = s.clone();
    broken.types[3] = 9;
    compute(dp, &broken, 1, &s.x.concat(), None);
    assert!(ok(dp).contains("atom 3 has type 9, but the model has 5 types"));
    let mut x = s.x.concat();
    x[4] = f64::NAN;
    compute(dp, &s, 1, &x, None);
    assert!(ok(dp).contains("coordinate y of atom 1 is NaN"));
    let o = compute(dp, &s, 1, &s.x.concat(), Some(s.cell.as_flattened()));
    assert_eq!(ok(dp), "");
    assert!((o.energy - direct(&s, Some(&s.cell), false).energy).abs() < 1e-10);
    for handle in [missing, junk, dp] {
        unsafe { DP_DeleteDeepPot(handle) };
    }
}

#[test]
fn models_come_from_bytes_too() {
    let bytes = std::fs::read(tiny()).unwrap();
    let (name, size) = (text(&tiny()), bytes.len() as c_int);
    let mut read = 0;
    unsafe {
        let content = DP_ReadFileToChar2(name.as_ptr(), &mut read);
        assert_eq!(read, size);
        assert_eq!(std::slice::from_raw_parts(content.cast::<u8>(), bytes.len()), bytes);
        let dp = DP_NewDeepPotWithParam2(c"label".as_ptr(), 3, content, read);
        DP_DeleteChar(content);
        assert_eq!(ok(dp), "");
        assert_eq!(DP_DeepPotGetNumbTypes(dp), 5);
        DP_DeleteDeepPot(dp);
        let error = DP_ReadFileToChar2(c"/nowhere".as_ptr(), &mut read);
        assert!(read < 0);
        assert_eq!(taken(error).len() as c_int, -read);
        assert_eq!(taken(DP_ReadFileToChar(c"/nowhere".as_ptr())), "");
    }
}

#[test]
fn null_is_harmless() {
    let s = system(4, 6.0, 1);
    unsafe {
        DP_DeleteDeepPot(null_mut());
        DP_DeleteDeepPotModelDevi(null_mut());
        DP_DeleteDeepSpin(null_mut());
        DP_DeleteDeepSpinModelDevi(null_mut());
        DP_DeleteDeepTensor(null_mut());
        DP_DeleteDipoleChargeModifier(null_mut());
        DP_DeleteDeepBaseModel(null_mut());
        DP_DeleteDeepBaseModelDevi(null_mut());
        DP_DeleteNlist(null_mut());
        DP_DeleteChar(null());
        DP_NlistSetMask(null_mut(), 1);
        DP_NlistSetMapping(null_mut(), null());
        assert_eq!(taken(DP_NlistCheckOK(null())), "");
        assert_eq!(ok(null_mut()), "");
        assert_eq!(DP_DeepPotGetCutoff(null_mut()), 0.0);
        assert_eq!(taken(DP_DeepPotGetTypeMap(null_mut())), "");
        compute(null_mut(), &s, 1, &s.x.concat(), None);
        let none = DP_NewDeepPot(null());
        assert_eq!(ok(none), "no model is given");
        DP_DeleteDeepPot(none);
        let dp = open(&tiny());
        let (n, e) = (null_mut(), null_mut());
        DP_DeepPotCompute(dp, 4, null(), s.types.as_ptr(), null(), e, n, n, n, n);
        assert_eq!(ok(dp), "coordinates or types are null");
        DP_DeepPotComputeNList(dp, 4, s.x.concat().as_ptr(), s.types.as_ptr(), null(), 0, null(), 0, e, n, n, n, n);
        assert_eq!(ok(dp), "the neighbour list is null");
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn several_models_are_compared_one_behind_the_other() {
    let names = [text(&tiny()), text(&models().join("tiny.pt"))];
    let pointers = names.each_ref().map(|n| n.as_ptr());
    let s = system(20, 6.5, 1);
    let expected = direct(&s, Some(&s.cell), false);
    let (mut energy, mut force, mut virial) = ([0.0; 2], vec![0.0; 120], vec![0.0; 18]);
    unsafe {
        let dp = DP_NewDeepPotModelDevi(pointers.as_ptr(), 2);
        assert_eq!(taken(DP_DeepPotModelDeviCheckOK(dp)), "");
        assert_eq!((DP_DeepPotModelDeviGetCutoff(dp), DP_DeepBaseModelDeviGetNumbTypes(dp)), (4.5, 5));
        let (x, cell, none) = (s.x.concat(), s.cell.as_flattened().as_ptr(), null_mut());
        let (e, f, v) = (energy.as_mut_ptr(), force.as_mut_ptr(), virial.as_mut_ptr());
        DP_DeepPotModelDeviCompute(dp, 20, x.as_ptr(), s.types.as_ptr(), cell, e, f, v, none, none);
        assert_eq!(taken(DP_DeepPotModelDeviCheckOK(dp)), "");
        for m in 0..2 {
            assert!((energy[m] - expected.energy).abs() < 1e-10);
            assert!(largest(&force[60 * m..60 * (m + 1)], &expected.forces.concat()) < 1e-10);
            assert!(largest(&virial[9 * m..9 * (m + 1)], &expected.virial.concat()) < 1e-9);
        }
        let p = null();
        let twice = [x.clone(), x].concat();
        DP_DeepPotModelDeviCompute2(dp, 2, 20, twice.as_ptr(), s.types.as_ptr(), p, p, p, e, f, v, none, none);
        assert!(taken(DP_DeepBaseModelDeviCheckOK(dp)).contains("one frame at a time"));
        DP_DeleteDeepPotModelDevi(dp);
        let none = DP_NewDeepPotModelDevi(pointers.as_ptr(), 0);
        assert_eq!(taken(DP_DeepPotModelDeviCheckOK(none)), "no model is given");
        DP_DeleteDeepPotModelDevi(none);
    }
}

#[test]
fn what_is_not_computed_says_so() {
    type New = unsafe extern "C" fn() -> *mut Handle;
    type Check = unsafe extern "C" fn(*mut Handle) -> *const c_char;
    let kinds: [(New, Check, &str); 4] = [
        (as_new(DP_NewDeepSpin), DP_DeepSpinCheckOK, "spin models"),
        (as_new(DP_NewDeepSpinModelDevi), DP_DeepSpinModelDeviCheckOK, "spin models"),
        (as_new(DP_NewDeepTensor), DP_DeepTensorCheckOK, "tensor models"),
        (as_new(DP_NewDipoleChargeModifier), DP_DipoleChargeModifierCheckOK, "dipole charge modifiers"),
    ];
    for (new, check, said) in kinds {
        unsafe {
            let handle = new();
            assert!(taken(check(handle)).starts_with(said));
            DP_DeepSpinCompute2(handle);
            assert!(taken(check(handle)).starts_with(said));
            DP_DeleteDeepSpin(handle);
        }
    }
    let dp = open(&tiny());
    unsafe {
        DP_DeepPotComputeEdgesGPU(dp);
        assert!(ok(dp).contains("graphs in device memory are not supported"));
        DP_DeleteDeepPot(dp);
    }
}

fn as_new(f: extern "C" fn() -> *mut Handle) -> unsafe extern "C" fn() -> *mut Handle {
    f
}

#[test]
fn selections_number_what_is_chosen() {
    let types = [0, 2, 1, 0, 2, 1];
    let (mut forward, mut back, mut real, mut ghosts) = ([9; 6], [9; 6], 0, 0);
    let mut out = [7; 8];
    unsafe {
        let (f, b) = (forward.as_mut_ptr(), back.as_mut_ptr());
        DP_SelectByType(6, types.as_ptr(), 2, 2, [2, 0].as_ptr(), f, &mut real, b, &mut ghosts);
        let rows: Vec<c_int> = (0..12).collect();
        DP_SelectMapInt(rows.as_ptr(), forward.as_ptr(), 2, 6, 4, out.as_mut_ptr());
    }
    assert_eq!((forward, real, ghosts), ([0, 1, -1, 2, 3, -1], 4, 1));
    assert_eq!(back[..4], [0, 1, 3, 4]);
    assert_eq!(out, [0, 1, 2, 3, 6, 7, 8, 9]);
}

fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("WEIR_SHARED") {
        Some(f) => PathBuf::from(f),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    folder.join("fixtures/models").is_dir().then(|| folder.join("fixtures/models"))
}

#[test]
fn parameters_reach_the_model() {
    let Some(models) = shared() else {
        eprintln!("skipped: ../shared is not here");
        return;
    };
    use std::sync::Arc;
    use weir_backends::cpu::{create, CpuOptions};
    use weir_engine::backend::{FrameParameters, Request, Results};
    for name in ["fparam_aparam", "chg_spin"] {
        let path = models.join(name).join("model.dp");
        let model = Arc::new(weir_engine::model::load(&path, &Default::default()).unwrap());
        let mut s = system(12, 6.0, 4);
        s.types.iter_mut().for_each(|t| *t %= model.types() as c_int);
        let (nf, na) = (model.fitting.numb_fparam, model.fitting.numb_aparam);
        let charged = model.descriptor.options.add_chg_spin_ebd;
        let fparam: Vec<f64> = (0..nf).map(|k| 0.3 + k as f64).collect();
        let aparam: Vec<f64> = (0..12 * na).map(|k| 0.1 * k as f64).collect();
        let given = FrameParameters {
            fparam: (nf > 0).then(|| fparam.clone()),
            aparam: (na > 0).then(|| aparam.clone()),
            charge_spin: charged.then_some([1.0, 2.0]),
        };
        let mut expected = Results::default();
        let mut calculator = create(model, &s.types, &CpuOptions::default()).unwrap();
        calculator.compute(&s.x, Some(&s.cell), &given, Request::default(), &mut expected).unwrap();
        let dp = open(&path);
        let mut energies = [0.0; 2];
        unsafe {
            assert_eq!(DP_DeepPotGetDimFParam(dp), nf as c_int);
            assert_eq!(DP_DeepPotGetDimAParam(dp), na as c_int);
            assert_eq!(DP_DeepPotGetDimChgSpin(dp), if charged { 2 } else { 0 });
            let twice = |v: &[f64]| [v, v].concat();
            let (x, cell) = (twice(&s.x.concat()), twice(s.cell.as_flattened()));
            let (f, a, q) = (twice(&fparam), twice(&aparam), [1.0, 2.0, 1.0, 2.0]);
            let p = |v: &Vec<f64>| if v.is_empty() { null() } else { v.as_ptr() };
            let (e, none) = (energies.as_mut_ptr(), null_mut());
            for set in [false, true] {
                // Charge and spin with the call, or before it.
                let with = if set { null() } else { q.as_ptr() };
                if set && charged {
                    DP_DeepPotSetChargeSpin(dp, q.as_ptr(), 2);
                }
                let (t, c) = (s.types.as_ptr(), cell.as_ptr());
                DP_DeepPotCompute3(dp, 2, 12, x.as_ptr(), t, c, p(&f), p(&a), with, e, none, none, none, none);
                assert_eq!(ok(dp), "", "{name}");
                for energy in energies {
                    assert!((energy - expected.energy).abs() < 1e-9 * expected.energy.abs().max(1.0), "{name}");
                }
            }
            DP_DeleteDeepPot(dp);
        }
    }
}

#[test]
fn handles_work_from_several_threads() {
    let dp = open(&tiny()) as usize;
    let s = system(20, 6.5, 1);
    let expected = direct(&s, Some(&s.cell), false).energy;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let o = compute(dp as *mut Handle, &s, 1, &s.x.concat(), Some(s.cell.as_flattened()));
                    assert!((o.energy - expected).abs() < 1e-10);
                }
            });
        }
    });
    assert_eq!(ok(dp as *mut Handle), "");
    unsafe { DP_DeleteDeepPot(dp as *mut Handle) };
}

#[test]
fn the_summary_goes_to_standard_output() {
    // Only that it can be called with any text.
    unsafe { DP_PrintSummary(CString::new("  ").unwrap().as_ptr()) };
    unsafe { DP_PrintSummary(null()) };
}
