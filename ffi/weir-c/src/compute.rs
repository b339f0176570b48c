//! Energy, forces, virial.

use crate::handle::{at, no_system, Handle, System};
use crate::list::{list, Neighbours};
use std::ffi::c_int;
use weir_engine::backend::{Request, Results};
use weir_engine::graph::{Cell, Images};
use weir_ffi::potential::Rows;
use weir_ffi::units::Units;
use weir_ffi::Error;

/// `weir_results`.
#[repr(C)]
pub struct Outputs {
    /// Size of this structure, as the client was compiled.
    pub struct_size: usize,
    /// One number, or null; so are the others.
    pub energy: *mut f64,
    /// 3 an atom.
    pub forces: *mut f64,
    /// 9.
    pub virial: *mut f64,
    /// 1 an atom.
    pub atomic_energy: *mut f64,
    /// 9 an atom.
    pub atomic_virial: *mut f64,
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; arrays as long as the header says.
#[no_mangle]
pub unsafe extern "C" fn weir_compute(
    p: *mut Handle,
    positions: *const f64,
    cell: *const f64,
    neighbours: *const Neighbours,
    out: *mut Outputs,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { at(p) }) else { return 1 };
    let units = handle.units;
    handle.run(|state| {
        // SAFETY: the caller's promise.
        let Some(out) = (unsafe { out.as_ref() }) else { return Err(Error::Argument("the results are null".into())) };
        if out.struct_size != std::mem::size_of::<Outputs>() {
            let text =
                format!("struct_size of the results is {}, not {}", out.struct_size, std::mem::size_of::<Outputs>());
            return Err(Error::Argument(text));
        }
        let Some(system) = &state.system else { return Err(no_system()) };
        if positions.is_null() && system.atoms > 0 {
            return Err(Error::Argument("positions are null".into()));
        }
        let scale = units.length();
        // SAFETY: 3 numbers an atom, 9 for the box.
        let (x, cell): (Vec<[f64; 3]>, Option<Rows>) = unsafe {
            let row = |&k: &u32| std::array::from_fn(|a| *positions.add(3 * k as usize + a) * scale);
            let cell = (!cell.is_null())
                .then(|| std::array::from_fn(|r| std::array::from_fn(|a| *cell.add(3 * r + a) * scale)));
            (system.rows.iter().map(row).collect(), cell)
        };
        let request = Request { atomic_virial: !out.atomic_virial.is_null() };
        // SAFETY: null or a list.
        match unsafe { neighbours.as_ref() } {
            None => {
                state.taken = None;
                state.potential.compute(&system.types, &x, cell.as_ref(), &system.parameters, request)?;
            }
            Some(given) => {
                let prepared = cell.as_ref().map(Cell::new).transpose().map_err(|e| Error::Compute(e.into()))?;
                // SAFETY: the caller's promise.
                unsafe { given.check(system.atoms) }?;
                let periodic = prepared.is_some();
                // Until the step has gone well nothing is kept: after an error the list is taken over anew.
                let mut taken = state.taken.take();
                // SAFETY: the caller's promise.
                if !taken.as_ref().is_some_and(|t| unsafe { t.is(given, periodic) }) {
                    // SAFETY: the caller's promise.
                    let list = unsafe { list(system, given, prepared.as_ref()) }?;
                    state.potential.take_list(&system.types, &x, cell.as_ref(), &list)?;
                    // SAFETY: the caller's promise.
                    unsafe { taken.get_or_insert_default().keep(given, periodic) };
                }
                let images = Images::from(prepared.as_ref());
                state.potential.compute_given(&x, images, &system.parameters, request)?;
                state.taken = taken;
            }
        }
        // SAFETY: arrays as long as the header says.
        unsafe { hand_out(state.potential.results(), system, units, out) };
        Ok(())
    })
}

/// See `weir.h`.
///
/// # Safety
/// Null or a handle; arrays as long as the header says, positions and forces in the memory of the handle's device.
#[no_mangle]
pub unsafe extern "C" fn weir_compute_device(
    p: *mut Handle,
    positions: *const f64,
    cell: *const f64,
    forces: *mut f64,
    energy: *mut f64,
    virial: *mut f64,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { at(p) }) else { return 1 };
    let units = handle.units;
    handle.run(|state| {
        let Some(system) = &state.system else { return Err(no_system()) };
        if state.potential.backend().1.is_some() && !matches!(units, Units::Metal) {
            let text = "device pointers: numbers on a device are not converted: create the potential with WEIR_UNITS_METAL, or pass host memory";
            return Err(Error::Unsupported(text.into()));
        }
        if system.rows.iter().enumerate().any(|(k, &row)| k as u32 != row) || system.rows.len() < system.atoms {
            let text = "device pointers: rows on a device are not sorted out: set a system without a group, or pass host memory";
            return Err(Error::Unsupported(text.into()));
        }
        if (positions.is_null() || forces.is_null()) && system.atoms > 0 {
            return Err(Error::Argument("positions or forces are null".into()));
        }
        // SAFETY: 9 numbers for the box.
        let cell: Option<Rows> = (!cell.is_null())
            .then(|| std::array::from_fn(|r| std::array::from_fn(|a| unsafe { *cell.add(3 * r + a) })));
        let (from, to) = (positions as u64, forces as u64);
        state.taken = None;
        // SAFETY: the caller's promise.
        let totals = unsafe {
            state.potential.compute_on_device(&system.types, from, to, cell.as_ref(), &system.parameters)?
        };
        // SAFETY: null, or one number and nine.
        unsafe {
            if !energy.is_null() {
                *energy = totals.energy;
            }
            if !virial.is_null() {
                totals.virial.iter().flatten().enumerate().for_each(|(k, v)| *virial.add(k) = *v);
            }
        }
        Ok(())
    })
}

/// # Safety
/// Arrays are null or as long as the header says.
unsafe fn hand_out(r: &Results, system: &System, units: Units, out: &Outputs) {
    let (energy, force) = (units.energy(), units.force());
    // SAFETY: as promised; rows are below the number of atoms.
    unsafe {
        let spread = |to: *mut f64, values: &[f64], width: usize, unit: f64| {
            if to.is_null() {
                return;
            }
            if system.rows.len() < system.atoms {
                std::slice::from_raw_parts_mut(to, width * system.atoms).fill(0.0);
            }
            for (k, &row) in system.rows.iter().enumerate() {
                for a in 0..width {
                    *to.add(width * row as usize + a) = values[width * k + a] * unit;
                }
            }
        };
        if !out.energy.is_null() {
            *out.energy = r.energy * energy;
        }
        if !out.virial.is_null() {
            r.virial.iter().flatten().enumerate().for_each(|(k, v)| *out.virial.add(k) = v * energy);
        }
        spread(out.forces, r.forces.as_flattened(), 3, force);
        spread(out.atomic_energy, &r.atomic_energy, 1, energy);
        spread(out.atomic_virial, r.atomic_virial.as_deref().unwrap_or(&[]).as_flattened(), 9, energy);
    }
}
