//! The one computation behind all entry points.

use crate::handle::{Extra, Facts, Loaded, State};
use crate::list::Nlist;
use std::ffi::c_int;
use weir_engine::backend::{Request, Results};
use weir_ffi::ghosts::GhostList;
use weir_ffi::potential::Rows;
use weir_ffi::Error;

/// Numbers of clients.
pub trait Real: Copy {
    /// Relative size of a rounding error.
    const EPSILON: f64;
    /// To double.
    fn get(self) -> f64;
    /// From double.
    fn put(x: f64) -> Self;
}

impl Real for f64 {
    const EPSILON: f64 = f64::EPSILON;
    fn get(self) -> f64 {
        self
    }
    fn put(x: f64) -> f64 {
        x
    }
}

impl Real for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    fn get(self) -> f64 {
        f64::from(self)
    }
    fn put(x: f64) -> f32 {
        x as f32
    }
}

/// Arguments of a call, as they came.
pub struct Call<T> {
    pub frames: c_int,
    /// Atoms, ghosts included.
    pub atoms: c_int,
    pub coord: *const T,
    pub atype: *const c_int,
    /// Every frame has types of its own.
    pub mixed: bool,
    pub cell: *const T,
    pub fparam: *const T,
    pub aparam: *const T,
    pub charge_spin: *const T,
    /// Ghosts, list, steps since the list was made.
    pub list: Option<(c_int, *const Nlist, c_int)>,
    pub energy: *mut f64,
    pub force: *mut T,
    pub virial: *mut T,
    pub atomic_energy: *mut T,
    pub atomic_virial: *mut T,
}

/// # Safety
/// `data` is null or has `count` entries.
unsafe fn read<T: Real>(data: *const T, count: usize) -> Option<Vec<f64>> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, count) }.iter().map(|x| x.get()).collect())
}

/// # Safety
/// `out` is null or has room for the values behind `at`.
unsafe fn write<T: Real>(out: *mut T, at: usize, values: impl IntoIterator<Item = f64>) {
    if !out.is_null() {
        for (k, x) in values.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *out.add(at + k) = T::put(x) };
        }
    }
}

fn count(number: c_int, what: &str) -> Result<usize, Error> {
    usize::try_from(number).map_err(|_| Error::Argument(format!("{number} {what}")))
}

impl<T: Real> Call<T> {
    /// Computes with every model of a handle; results of several models stand behind each other.
    ///
    /// # Safety
    /// Arrays are as long as the interface says.
    pub unsafe fn run(&self, facts: &Facts, state: &mut State) -> Result<(), Error> {
        let (frames, all) = (count(self.frames, "frames")?, count(self.atoms, "atoms")?);
        if state.models.len() > 1 && frames != 1 {
            return Err(Error::Unsupported(format!("several models compute one frame at a time, not {frames}")));
        }
        let ghosts = count(self.list.map_or(0, |l| l.0), "ghost atoms")?;
        let Some(local) = all.checked_sub(ghosts) else {
            return Err(Error::Argument(format!("{ghosts} ghosts among {all} atoms")));
        };
        if all > 0 && (self.coord.is_null() || self.atype.is_null()) {
            return Err(Error::Argument("coordinates or types are null".into()));
        }
        // SAFETY: lengths as the interface says.
        let (extra, types) = unsafe {
            let extra = Extra {
                fparam: read(self.fparam, frames * facts.fparam as usize),
                aparam: read(self.aparam, frames * local * facts.aparam as usize),
                charge_spin: read(self.charge_spin, frames * facts.charge_spin as usize),
            };
            let count = if self.mixed { frames * all } else { all };
            (extra, if count == 0 { &[][..] } else { std::slice::from_raw_parts(self.atype, count) })
        };
        let request = Request { atomic_virial: !self.atomic_virial.is_null() };
        let charge_spin = state.charge_spin;
        let compared = &mut state.compared;
        for (m, model) in state.models.iter_mut().enumerate() {
            for frame in 0..frames {
                // SAFETY: as above.
                let (x, cell) = unsafe {
                    let at = |p: *const T, n: usize| if p.is_null() { p } else { p.add(frame * n) };
                    (read(at(self.coord, 3 * all), 3 * all).unwrap_or_default(), read(at(self.cell, 9), 9))
                };
                let x: Vec<[f64; 3]> = x.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect();
                let cell = cell.map(|c| [[c[0], c[1], c[2]], [c[3], c[4], c[5]], [c[6], c[7], c[8]]]);
                let parameters = extra.frame(facts, charge_spin, frame, local);
                let own = if self.mixed { &types[frame * all..(frame + 1) * all] } else { types };
                match &self.list {
                    None => {
                        model.potential.compute(own, &x, cell.as_ref(), &parameters, request)?;
                    }
                    // SAFETY: as above.
                    Some(list) => unsafe {
                        let fresh = frame == 0 && list.2 == 0;
                        let compare = (fresh && !*compared).then_some(facts.cutoff);
                        step::<T>(model, list, fresh, compare, own, local, &x, cell.as_ref(), &parameters, request)?;
                        *compared |= fresh;
                    },
                }
                // SAFETY: as above.
                unsafe { self.hand_out(model.potential.results(), m * frames + frame, all) };
            }
        }
        Ok(())
    }

    /// Writes results at place `n`; ghosts get zeros, their share is the owners'.
    unsafe fn hand_out(&self, r: &Results, n: usize, all: usize) {
        let ghosts = all - r.forces.len();
        let zeros = |k: usize| std::iter::repeat_n(0.0, ghosts * k);
        // SAFETY: arrays as long as the interface says.
        unsafe {
            write(self.energy, n, [r.energy]);
            write(self.force, n * 3 * all, r.forces.iter().flatten().copied().chain(zeros(3)));
            write(self.virial, n * 9, r.virial.iter().flatten().copied());
            write(self.atomic_energy, n * all, r.atomic_energy.iter().copied().chain(zeros(1)));
            let atomic = r.atomic_virial.iter().flatten().flatten().copied();
            write(self.atomic_virial, n * 9 * all, atomic.chain(zeros(9)));
        }
    }
}

/// A step with a list; a new one (`fresh`), or one whose atoms have other types by now, is copied first, and looked through for
/// what it lacks within `compare`.
///
/// # Safety
/// The list's arrays are as long as it says.
unsafe fn step<T: Real>(
    model: &mut Loaded,
    &(_, nlist, ago): &(c_int, *const Nlist, c_int),
    fresh: bool,
    compare: Option<f64>,
    types: &[i32],
    local: usize,
    x: &[[f64; 3]],
    cell: Option<&Rows>,
    parameters: &weir_engine::backend::FrameParameters,
    request: Request,
) -> Result<(), Error> {
    // SAFETY: null or a list of this library.
    let nlist = unsafe { nlist.as_ref() };
    let Some(nlist) = nlist else { return Err(Error::Argument("the neighbour list is null".into())) };
    nlist.check_ranks()?;
    let largest = x.iter().flatten().fold(0.0f64, |m, v| if v.is_finite() { m.max(v.abs()) } else { m });
    // A few roundings of the client's arithmetic; beyond that, its coordinates are taken literally.
    let error = 1e-9 + 8.0 * T::EPSILON * largest;
    // Types that changed (a client's Monte Carlo moves) change ghosts' and virtual atoms' parts of the list, too.
    let changed = |l: &GhostList| (l.local(), l.all()) == (local, types.len()) && l.types() != types;
    if fresh || model.list.as_ref().is_some_and(changed) {
        model.list = None;
        // SAFETY: as promised.
        let (raw, owners) = unsafe { (nlist.read()?, nlist.owners(types.len() as c_int)?) };
        let strict = matches!(owners, weir_ffi::ghosts::Owners::Swaps(_));
        let mut list = GhostList::new(types, local, &raw, &owners)?;
        list.hand_over(&mut model.potential, x, cell, error, strict)?;
        if let Some(cutoff) = compare {
            list.tell_missing(&mut model.potential, x, cutoff, error);
        }
        model.list = Some(list);
    }
    let Some(list) = &mut model.list else {
        return Err(Error::Argument(format!(
            "the first call with a neighbour list says that it is {ago} steps old; give 0 with a new list"
        )));
    };
    if (list.local(), list.all()) != (local, types.len()) {
        return Err(Error::Argument(format!(
            "{local} owned of {} atoms, but the last new list was of {} and {}; give ago = 0 with a new list",
            types.len(),
            list.local(),
            list.all()
        )));
    }
    list.compute(&mut model.potential, x, cell, error, parameters, request)
}
