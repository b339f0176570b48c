//! The PLUMED kernel in `libweir.so`, as GROMACS talks to it.

use crate::libraries::{function, open, text, Door};
use crate::system::System;
use libloading::os::unix::{Library, Symbol};
use std::ffi::{c_char, c_int, c_void, CStr};
use std::path::{Path, PathBuf};
use std::ptr::null;

type Cmd = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void);

/// The PLUMED kernel, in GROMACS' units and single precision.
pub struct Plumed {
    library: Library,
    object: *mut c_void,
    cmd: Symbol<Cmd>,
    x: Vec<[f32; 3]>,
    cell: [[f32; 3]; 3],
    forces: Vec<[f32; 3]>,
    step: i64,
    log: PathBuf,
}

impl Plumed {
    pub fn new(folder: &Path, model: &Path, system: &System, scratch: &Path) -> Self {
        let library = open(folder, "libweir.so");
        let create: Symbol<unsafe extern "C" fn() -> *mut c_void> = function(&library, "plumed_plumedmain_create");
        let cmd: Symbol<Cmd> = function(&library, "plumed_plumedmain_cmd");
        let (dat, log) = (scratch.join("weir.dat"), scratch.join("energy.xvg"));
        let of = |symbol: &str| {
            let rows = system.symbols.iter().enumerate().filter(|(_, s)| *s == symbol);
            rows.map(|(k, _)| (k + 1).to_string()).collect::<Vec<_>>().join(" ")
        };
        let elements: String = ["O", "H"].iter().map(|s| format!("element {s} {}\n", of(s))).collect();
        let head = format!("model {}\nenergy_log {}\nenergy_every 1\n", model.display(), log.display());
        std::fs::write(&dat, head + &elements).unwrap();
        // SAFETY: takes nothing.
        let object = unsafe { create() };
        let side = system.cell().map(|row| row.map(|x| (0.1 * x) as f32));
        let n = system.len();
        let door = Plumed { library, object, cmd, x: Vec::new(), cell: side, forces: vec![[0.0; 3]; n], step: 0, log };
        door.tell(c"setRealPrecision", &4i32);
        let file = text(&dat);
        // SAFETY: a text.
        unsafe { (door.cmd)(door.object, c"setPlumedDat".as_ptr(), file.as_ptr().cast()) };
        door.tell(c"setNatoms", &(n as c_int));
        door.tell(c"setTimestep", &0.0005f32);
        // SAFETY: takes no value.
        unsafe { (door.cmd)(door.object, c"init".as_ptr(), null()) };
        door
    }

    fn tell<T: ?Sized>(&self, key: &CStr, value: &T) {
        // SAFETY: values are what the commands take.
        unsafe { (self.cmd)(self.object, key.as_ptr(), (&raw const *value).cast()) }
    }
}

impl Door for Plumed {
    fn ready(&mut self, system: &System) {
        self.x = system.x.iter().map(|x| x.map(|v| (0.1 * v) as f32)).collect();
    }

    fn step(&mut self) {
        let mut virial = [0f32; 9];
        self.tell(c"setStepLong", &self.step);
        self.tell(c"setPositions", &self.x[..]);
        self.tell(c"setBox", &self.cell);
        let (f, v) = (self.forces.as_mut_ptr().cast::<c_void>(), virial.as_mut_ptr().cast::<c_void>());
        // SAFETY: three reals an atom, nine reals; no value.
        unsafe {
            (self.cmd)(self.object, c"setForces".as_ptr(), f);
            (self.cmd)(self.object, c"setVirial".as_ptr(), v);
            (self.cmd)(self.object, c"performCalc".as_ptr(), null());
        }
        self.step += 1;
    }

    fn energy(&self) -> f64 {
        // This interface tells none: its log does.
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().last().and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap() / 96.48533212
    }
}

impl Drop for Plumed {
    fn drop(&mut self) {
        let finalize: Symbol<unsafe extern "C" fn(*mut c_void)> = function(&self.library, "plumed_plumedmain_finalize");
        // SAFETY: made by create.
        unsafe { finalize(self.object) };
    }
}
