//! The doors that are libraries: `libweir.so` and `libdeepmd_c.so`, opened as a client opens them.

use crate::system::{Ghosts, System};
use libloading::os::unix::{Library, Symbol};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::Path;
use std::ptr::{null, null_mut};

/// A way in: one step of a system.
pub trait Door {
    /// Not timed: what the client has at hand before it calls.
    fn ready(&mut self, system: &System);
    fn step(&mut self);
    /// Of the last step, eV.
    fn energy(&self) -> f64;
    /// CPU seconds of other processes so far, and a step's own wall time where only the other side can tell it.
    fn elsewhere(&mut self) -> (f64, Option<f64>) {
        (0.0, None)
    }
}

pub fn open(folder: &Path, name: &str) -> Library {
    let path = folder.join(name);
    // SAFETY: our own libraries.
    unsafe { Library::new(&path) }.unwrap_or_else(|e| panic!("{}: {e}; build it first", path.display()))
}

pub fn function<T>(library: &Library, name: &str) -> Symbol<T> {
    // SAFETY: types are those of weir.h, c_api.h and PLUMED's interface.
    unsafe { library.get(name.as_bytes()) }.unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub fn text(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

#[repr(C)]
struct Results {
    size: usize,
    energy: *mut f64,
    forces: *mut f64,
    virial: *mut f64,
    atomic_energy: *mut f64,
    atomic_virial: *mut f64,
}

#[repr(C)]
struct Neighbours {
    atoms: usize,
    first: *const u64,
    neighbour: *const i32,
    shift: *const i32,
}

type WeirCompute = unsafe extern "C" fn(*mut c_void, *const f64, *const f64, *const Neighbours, *mut Results) -> c_int;

/// `weir.h`, with a list of Weir's own or of the client's.
pub struct Weir {
    library: Library,
    handle: *mut c_void,
    compute: Symbol<WeirCompute>,
    x: Vec<[f64; 3]>,
    cell: [[f64; 3]; 3],
    forces: Vec<[f64; 3]>,
    list: Option<(Vec<u64>, Vec<i32>, Vec<i32>)>,
    energy: f64,
}

impl Weir {
    pub fn new(folder: &Path, model: &Path, system: &System, list: Option<&Ghosts>) -> Self {
        let library = open(folder, "libweir.so");
        let create: Symbol<unsafe extern "C" fn(*const c_char, *const c_char, *const c_char, c_int) -> *mut c_void> =
            function(&library, "weir_create");
        let set: Symbol<unsafe extern "C" fn(*mut c_void, usize, *const i32, *const i32, usize) -> c_int> =
            function(&library, "weir_set_types");
        // SAFETY: as weir.h says.
        let handle = unsafe { create(text(model).as_ptr(), null(), null(), 0) };
        assert!(!handle.is_null());
        // SAFETY: a type for every atom.
        assert_eq!(unsafe { set(handle, system.len(), system.types.as_ptr(), null(), 0) }, 0);
        let list = list.map(|g| {
            let shift = g.neighbour.iter().flat_map(|&j| g.image[j as usize]).collect();
            (g.first.clone(), g.neighbour.iter().map(|&j| g.owner[j as usize]).collect(), shift)
        });
        let compute = function(&library, "weir_compute");
        let forces = vec![[0.0; 3]; system.len()];
        Weir { library, handle, compute, x: Vec::new(), cell: system.cell(), forces, list, energy: 0.0 }
    }
}

impl Door for Weir {
    fn ready(&mut self, system: &System) {
        self.x.clone_from(&system.x);
    }

    fn step(&mut self) {
        let (mut energy, mut virial) = (0.0, [0.0; 9]);
        let mut results = Results {
            size: std::mem::size_of::<Results>(),
            energy: &raw mut energy,
            forces: self.forces.as_mut_ptr().cast(),
            virial: virial.as_mut_ptr(),
            atomic_energy: null_mut(),
            atomic_virial: null_mut(),
        };
        let list = self.list.as_ref().map(|(first, neighbour, shift)| Neighbours {
            atoms: self.x.len(),
            first: first.as_ptr(),
            neighbour: neighbour.as_ptr(),
            shift: shift.as_ptr(),
        });
        let list = list.as_ref().map_or(null(), |l| &raw const *l);
        // SAFETY: arrays are as long as weir.h says.
        let code = unsafe {
            (self.compute)(self.handle, self.x.as_ptr().cast(), self.cell.as_ptr().cast(), list, &raw mut results)
        };
        assert_eq!(code, 0);
        self.energy = energy;
    }

    fn energy(&self) -> f64 {
        self.energy
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let destroy: Symbol<unsafe extern "C" fn(*mut c_void)> = function(&self.library, "weir_destroy");
        // SAFETY: made by weir_create.
        unsafe { destroy(self.handle) };
    }
}

type Compute2 = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    c_int,
    *const f64,
    *const c_int,
    *const f64,
    *const f64,
    *const f64,
    *mut f64,
    *mut f64,
    *mut f64,
    *mut f64,
    *mut f64,
);
type ComputeNlist2 = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    c_int,
    *const f64,
    *const c_int,
    *const f64,
    c_int,
    *const c_void,
    c_int,
    *const f64,
    *const f64,
    *mut f64,
    *mut f64,
    *mut f64,
    *mut f64,
    *mut f64,
);

/// DeePMD-kit's C API, without a list or with that of LAMMPS.
pub struct Deepmd {
    library: Library,
    handle: *mut c_void,
    x: Vec<[f64; 3]>,
    types: Vec<c_int>,
    cell: [[f64; 3]; 3],
    forces: Vec<[f64; 3]>,
    list: Option<List>,
    energy: f64,
}

struct List {
    ghosts: Ghosts,
    nlist: *mut c_void,
    age: c_int,
    /// What the list points to.
    _arrays: (Vec<c_int>, Vec<c_int>, Vec<*const c_int>),
}

impl Deepmd {
    pub fn new(folder: &Path, model: &Path, system: &System, ghosts: Option<Ghosts>) -> Self {
        let library = open(folder, "libdeepmd_c.so");
        let create: Symbol<unsafe extern "C" fn(*const c_char) -> *mut c_void> = function(&library, "DP_NewDeepPot");
        // SAFETY: a text.
        let handle = unsafe { create(text(model).as_ptr()) };
        let mut types: Vec<c_int> = system.types.clone();
        let list = ghosts.map(|ghosts| {
            types = ghosts.owner.iter().map(|&o| system.types[o as usize]).collect();
            let n = system.len();
            let count: Vec<c_int> = (0..n).map(|k| (ghosts.first[k + 1] - ghosts.first[k]) as c_int).collect();
            let begin: Vec<*const c_int> =
                (0..n).map(|k| ghosts.neighbour[ghosts.first[k] as usize..].as_ptr()).collect();
            let centres: Vec<c_int> = (0..n as c_int).collect();
            let new: Symbol<
                unsafe extern "C" fn(c_int, *const c_int, *const c_int, *const *const c_int) -> *mut c_void,
            > = function(&library, "DP_NewNlist");
            let map: Symbol<unsafe extern "C" fn(*mut c_void, *const c_int)> = function(&library, "DP_NlistSetMapping");
            // SAFETY: arrays that live as long as the list.
            let nlist = unsafe { new(n as c_int, centres.as_ptr(), count.as_ptr(), begin.as_ptr()) };
            // SAFETY: an owner for every atom.
            unsafe { map(nlist, ghosts.owner.as_ptr()) };
            List { ghosts, nlist, age: 0, _arrays: (centres, count, begin) }
        });
        let forces = vec![[0.0; 3]; types.len()];
        let mut door = Deepmd { library, handle, x: Vec::new(), types, cell: system.cell(), forces, list, energy: 0.0 };
        door.check();
        door
    }

    fn check(&mut self) {
        let check: Symbol<unsafe extern "C" fn(*mut c_void) -> *const c_char> =
            function(&self.library, "DP_DeepPotCheckOK");
        let free: Symbol<unsafe extern "C" fn(*const c_char)> = function(&self.library, "DP_DeleteChar");
        // SAFETY: a text of the library, which takes it back.
        unsafe {
            let said = check(self.handle);
            assert_eq!(CStr::from_ptr(said).to_str().unwrap(), "");
            free(said);
        }
    }
}

impl Door for Deepmd {
    fn ready(&mut self, system: &System) {
        match &self.list {
            None => self.x.clone_from(&system.x),
            Some(list) => self.x = system.with_ghosts(&list.ghosts),
        }
    }

    fn step(&mut self) {
        let (mut energy, mut virial) = (0.0, [0.0; 9]);
        let (n, x, t, cell) =
            (self.x.len() as c_int, self.x.as_ptr().cast(), self.types.as_ptr(), self.cell.as_ptr().cast());
        let (f, v) = (self.forces.as_mut_ptr().cast(), virial.as_mut_ptr());
        // SAFETY: arrays are as long as c_api.h says.
        unsafe {
            match &mut self.list {
                None => {
                    let call: Symbol<Compute2> = function(&self.library, "DP_DeepPotCompute2");
                    call(self.handle, 1, n, x, t, cell, null(), null(), &raw mut energy, f, v, null_mut(), null_mut());
                }
                Some(list) => {
                    let call: Symbol<ComputeNlist2> = function(&self.library, "DP_DeepPotComputeNList2");
                    let ghosts = n - (list.ghosts.first.len() as c_int - 1);
                    let (own, age) = (list.nlist.cast_const(), list.age);
                    call(
                        self.handle,
                        1,
                        n,
                        x,
                        t,
                        cell,
                        ghosts,
                        own,
                        age,
                        null(),
                        null(),
                        &raw mut energy,
                        f,
                        v,
                        null_mut(),
                        null_mut(),
                    );
                    list.age += 1;
                }
            }
        }
        self.check();
        self.energy = energy;
    }

    fn energy(&self) -> f64 {
        self.energy
    }
}

impl Drop for Deepmd {
    fn drop(&mut self) {
        let delete: Symbol<unsafe extern "C" fn(*mut c_void)> = function(&self.library, "DP_DeleteDeepPot");
        let forget: Symbol<unsafe extern "C" fn(*mut c_void)> = function(&self.library, "DP_DeleteNlist");
        // SAFETY: made by the library; null is harmless.
        unsafe {
            forget(self.list.as_ref().map_or(null_mut(), |l| l.nlist));
            delete(self.handle);
        }
    }
}
