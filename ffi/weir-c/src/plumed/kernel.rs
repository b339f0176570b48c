//! The commands: what is told before `init`, what every step brings, and the step.

use std::ffi::{c_char, c_int, c_long, c_longlong, c_void, CStr, CString};
use std::path::{Path, PathBuf};
use weir_engine::backend::{Request, Results};
use weir_ffi::affinity::{with, Affinity};
use weir_ffi::potential::Rows;
use weir_ffi::units::KJ_MOL;
use weir_ffi::{text, Error, Potential, Source};

use super::config::{Config, Periodic};
use super::elements::{resolve, Atoms};
use super::forward::Forward;
use super::log::EnergyLog;

/// Version of PLUMED's interface that is spoken: the one GROMACS 2025 needs for restarts and checkpoints is 4.
const API: c_int = 4;

/// A in nm.
const NM: f64 = 10.0;

/// What a command's pointer points to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Int,
    /// In the precision of the MD code.
    Real,
    Text,
    /// An array, an answer, a communicator: not ours to copy.
    Other,
}

fn value_of(key: &str) -> Value {
    match key {
        "setRealPrecision" | "setRestart" | "setNatoms" => Value::Int,
        "setMDEnergyUnits" | "setMDLengthUnits" | "setMDTimeUnits" | "setMDMassUnits" | "setMDChargeUnits"
        | "setKbT" | "setTimestep" => Value::Real,
        "setMDEngine" | "setLogFile" => Value::Text,
        _ => Value::Other,
    }
}

/// Pointers of the step, as last given.
#[derive(Clone, Copy)]
struct Arrays {
    positions: *const c_void,
    cell: *const c_void,
    forces: *mut c_void,
    virial: *mut c_void,
    /// Global index of each local atom; null: in order.
    global: *const c_int,
}

impl Default for Arrays {
    fn default() -> Self {
        let null = std::ptr::null_mut();
        Arrays { positions: null, cell: null, forces: null, virial: null, global: null.cast() }
    }
}

/// What `init` makes.
struct Run {
    config: Config,
    potential: Potential,
    atoms: Atoms,
    log: Option<EnergyLog>,
    positions: Vec<[f64; 3]>,
    /// Local index of each of the model's atoms.
    place: Vec<u32>,
    /// Local index of every atom of the system.
    local: Vec<u32>,
    started: bool,
}

/// An object of the MD code: talks PLUMED's commands.
pub struct Kernel {
    /// Bytes of a real number: 4 or 8.
    precision: usize,
    /// The MD code's units in kJ/mol, nm, ps.
    energy: f64,
    length: f64,
    time: f64,
    timestep: f64,
    restart: bool,
    ranks: bool,
    atoms: Option<usize>,
    local: Option<usize>,
    step: i64,
    arrays: Arrays,
    file: Option<PathBuf>,
    config: Option<Config>,
    /// What was told before the configuration was read, for the kernel that it may name.
    early: Vec<(CString, Vec<u8>)>,
    forward: Option<Forward>,
    run: Option<Run>,
    /// Cores before the MD code pins its threads.
    wide: Option<Affinity>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

fn argument<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Argument(text.into()))
}

impl Kernel {
    /// One that was told nothing yet.
    pub fn new() -> Self {
        Kernel {
            precision: 8,
            energy: 1.0,
            length: 1.0,
            time: 1.0,
            timestep: 0.0,
            restart: false,
            ranks: false,
            atoms: None,
            local: None,
            step: 0,
            arrays: Arrays::default(),
            file: None,
            config: None,
            early: Vec::new(),
            forward: None,
            run: None,
            wide: Affinity::here(),
        }
    }

    /// After a panic: whatever may be half done goes.
    pub(super) fn forget(&mut self) {
        self.run = None;
    }

    /// Does what a command says, then hands it on to a real kernel where there is one.
    ///
    /// # Errors
    /// Unknown commands, commands out of order, whatever configuration, model and step can fail at.
    ///
    /// # Safety
    /// `value` points to what PLUMED's interface says of this command (null where it says nothing), in the precision that was told; arrays stay
    /// where they are until `performCalc` has returned.
    pub unsafe fn command(&mut self, key: &CStr, value: *const c_void) -> Result<(), Error> {
        let word = key.to_string_lossy();
        let takes_nothing = ["init", "prepareCalc", "performCalc"].contains(&word.as_ref());
        if value.is_null() && !takes_nothing && word != "setMPIComm" {
            return argument(format!("{word}: the value is null"));
        }
        // SAFETY: the caller's promise, for this and for all that it calls.
        unsafe {
            self.own(&word, value)?;
            if word == "setPlumedDat" {
                return self.open_forward();
            }
            match &self.forward {
                Some(forward) => forward.command(key, value),
                None => {
                    self.keep(key, value);
                    Ok(())
                }
            }
        }
    }

    /// # Safety
    /// As [`Kernel::command`].
    unsafe fn own(&mut self, word: &str, value: *const c_void) -> Result<(), Error> {
        // SAFETY: the caller's promise: each command's value is of the type read here.
        unsafe {
            let int = || *value.cast::<c_int>();
            match word {
                "setRealPrecision" => match int() {
                    4 => self.precision = 4,
                    8 => self.precision = 8,
                    other => return argument(format!("real numbers of {other} bytes: Weir takes 4 or 8")),
                },
                "setMDEnergyUnits" => self.energy = self.unit(word, value)?,
                "setMDLengthUnits" => self.length = self.unit(word, value)?,
                "setMDTimeUnits" => self.time = self.unit(word, value)?,
                "setMDMassUnits" | "setMDChargeUnits" | "setKbT" | "setMDEngine" | "setLogFile" => {}
                "setPlumedDat" => {
                    let path = PathBuf::from(text::take(value.cast::<c_char>()).unwrap_or_default().as_ref());
                    self.config = Some(Config::read(&path)?);
                    self.file = Some(path);
                }
                "getApiVersion" => *value.cast::<c_int>().cast_mut() = API,
                "setRestart" => self.restart = int() != 0,
                // What it points to differs between versions of GROMACS; it is told only where there are several ranks.
                "setMPIComm" => self.ranks = true,
                "setNatoms" => match usize::try_from(int()) {
                    Ok(atoms) if atoms > 0 => self.atoms = Some(atoms),
                    _ => return argument(format!("setNatoms: {} atoms", int())),
                },
                "setTimestep" => self.timestep = self.real(value, 0),
                "init" => self.init()?,
                "setStep" => self.step = i64::from(int()),
                "setStepLong" => self.step = *value.cast::<c_long>(),
                "setStepLongLong" => self.step = *value.cast::<c_longlong>(),
                "setAtomsNlocal" => self.local = Some(usize::try_from(int()).unwrap_or(0)),
                "setAtomsGatindex" => self.arrays.global = value.cast(),
                "setPositions" => self.arrays.positions = value,
                "setBox" => self.arrays.cell = value,
                "setForces" => self.arrays.forces = value.cast_mut(),
                "setVirial" => self.arrays.virial = value.cast_mut(),
                "setMasses" | "setCharges" | "prepareCalc" | "setStopFlag" | "doCheckPoint" => {}
                "performCalc" => self.perform()?,
                other => {
                    return Err(Error::Unsupported(format!(
                        "the MD code gave the PLUMED command \"{other}\", which Weir does not know; it speaks those of GROMACS 2025 and 2026"
                    )))
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// `value` points to at least `k + 1` reals.
    unsafe fn real(&self, value: *const c_void, k: usize) -> f64 {
        // SAFETY: the caller's promise; arrays of MD codes are aligned for their type.
        unsafe {
            match self.precision {
                4 => f64::from(*value.cast::<f32>().add(k)),
                _ => *value.cast::<f64>().add(k),
            }
        }
    }

    /// # Safety
    /// As [`Kernel::real`].
    unsafe fn add(&self, value: *mut c_void, k: usize, x: f64) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.precision {
                4 => {
                    let at = value.cast::<f32>().add(k);
                    *at = (f64::from(*at) + x) as f32;
                }
                _ => *value.cast::<f64>().add(k) += x,
            }
        }
    }

    /// # Safety
    /// `value` points to a real.
    unsafe fn unit(&self, word: &str, value: *const c_void) -> Result<f64, Error> {
        // SAFETY: the caller's promise.
        match unsafe { self.real(value, 0) } {
            unit if unit.is_finite() && unit > 0.0 => Ok(unit),
            other => argument(format!("{word}: {other} is no unit")),
        }
    }

    /// Keeps what a real kernel must be told later.
    ///
    /// # Safety
    /// As [`Kernel::command`].
    unsafe fn keep(&mut self, key: &CStr, value: *const c_void) {
        if self.file.is_some() {
            return;
        }
        // SAFETY: the value is of the type that the table says.
        let bytes = unsafe {
            match value_of(&key.to_string_lossy()) {
                Value::Int => std::slice::from_raw_parts(value.cast::<u8>(), std::mem::size_of::<c_int>()).to_vec(),
                Value::Real => std::slice::from_raw_parts(value.cast::<u8>(), self.precision).to_vec(),
                Value::Text => CStr::from_ptr(value.cast()).to_bytes_with_nul().to_vec(),
                Value::Other => return,
            }
        };
        self.early.push((key.to_owned(), bytes));
    }

    /// Opens the kernel that the configuration names and tells it what it missed.
    fn open_forward(&mut self) -> Result<(), Error> {
        let Some((kernel, input)) = self.config.as_ref().and_then(|c| c.forward.clone()) else { return Ok(()) };
        let forward = Forward::open(&kernel)?;
        for (key, bytes) in self.early.drain(..) {
            // Aligned for whatever it is.
            let mut room = vec![0u64; bytes.len().div_ceil(8)];
            // SAFETY: the bytes of the command's value, copied into a block that is as long and aligned for an integer, a real or a text.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr().cast::<u8>(), bytes.len());
                forward.command(&key, room.as_ptr().cast())?;
            }
        }
        forward.file(c"setPlumedDat", &input)?;
        self.forward = Some(forward);
        Ok(())
    }

    fn init(&mut self) -> Result<(), Error> {
        if self.ranks {
            return argument(
                "more than one MPI rank: this version of Weir computes on one rank only; start GROMACS on one rank per simulation (gmx_mpi -multidir gives each one) and set WEIR_THREADS to the number of cores",
            );
        }
        if self.run.is_some() {
            return argument(
                "init was given before: an object is for one run, make another with plumed_plumedmain_create",
            );
        }
        // A copy: where the model cannot be opened, a second try is told the same.
        let (Some(config), Some(natoms)) = (self.config.clone(), self.atoms) else {
            return argument("init before setPlumedDat and setNatoms: no configuration, no atoms");
        };
        let in_file = |e: Error| match (&self.file, e) {
            (Some(file), Error::Argument(text)) if !text.starts_with(&file.display().to_string()) => {
                Error::Argument(format!("{}: {text}", file.display()))
            }
            (_, e) => e,
        };
        let potential = Potential::open(Source::File(&config.model), &config.settings, None)?;
        let atoms = resolve(&config, natoms, &potential.model().type_map).map_err(in_file)?;
        let place = atoms.rows.clone();
        self.run = Some(Run {
            config,
            potential,
            atoms,
            log: None,
            positions: Vec::new(),
            place,
            local: (0..natoms as u32).collect(),
            started: false,
        });
        Ok(())
    }

    /// The step: forces and virial are added to the MD code's.
    ///
    /// # Safety
    /// Arrays as long as the MD code said.
    unsafe fn perform(&mut self) -> Result<(), Error> {
        let Some(mut run) = self.run.take() else { return argument("performCalc before init") };
        // SAFETY: the caller's promise.
        let done = unsafe { self.step(&mut run) };
        self.run = Some(run);
        done
    }

    /// # Safety
    /// As [`Kernel::perform`].
    unsafe fn step(&mut self, run: &mut Run) -> Result<(), Error> {
        let natoms = run.local.len();
        let arrays = std::mem::take(&mut self.arrays);
        let local = self.local.take();
        if local.is_some_and(|n| n != natoms) {
            return Err(Error::Unsupported(format!(
                "this rank has {} of {natoms} atoms: Weir computes on one rank only; start GROMACS on one rank and set WEIR_THREADS to the number of cores",
                local.unwrap_or(0)
            )));
        }
        for (what, pointer) in [
            ("setPositions", arrays.positions),
            ("setBox", arrays.cell),
            ("setForces", arrays.forces.cast_const()),
            ("setVirial", arrays.virial.cast_const()),
        ] {
            if pointer.is_null() {
                return argument(format!("performCalc without {what}"));
            }
        }
        // SAFETY: natoms entries, as the MD code said.
        unsafe { place(run, arrays.global) }?;
        let scale = self.length * NM;
        // SAFETY: three reals an atom; places are below their number.
        unsafe {
            run.positions.clear();
            let x = |k: &u32| std::array::from_fn(|a| self.real(arrays.positions, 3 * *k as usize + a) * scale);
            run.positions.extend(run.place.iter().map(x));
        }
        // SAFETY: nine reals.
        let cell: Rows =
            unsafe { std::array::from_fn(|r| std::array::from_fn(|a| self.real(arrays.cell, 3 * r + a) * scale)) };
        let zero = cell.iter().flatten().all(|x| *x == 0.0);
        let cell = match run.config.periodic {
            Periodic::No => None,
            Periodic::Yes if zero => return argument("pbc yes, but the box of the run is zero"),
            _ => (!zero).then_some(cell),
        };
        // The first step starts the threads.
        let wide = if run.started { None } else { self.wide };
        let parameters = &run.config.parameters;
        with(wide.as_ref(), || {
            run.potential
                .compute(&run.atoms.types, &run.positions, cell.as_ref(), parameters, Request::default())
                .map(|_| ())
        })?;
        if !run.started {
            run.started = true;
            self.open_log(run)?;
        }
        let results = run.potential.results();
        // SAFETY: three reals an atom and nine reals.
        unsafe { self.hand_out(results, &run.place, &arrays) };
        if let Some(log) = run.log.as_mut().filter(|_| self.step.unsigned_abs() % run.config.energy_every == 0) {
            let virial = results.virial.map(|row| row.map(|x| x * KJ_MOL));
            log.write(self.now(), results.energy * KJ_MOL, &virial)?;
        }
        Ok(())
    }

    /// ps.
    fn now(&self) -> f64 {
        self.step as f64 * self.timestep * self.time
    }

    fn open_log(&self, run: &mut Run) -> Result<(), Error> {
        let Some(path) = run.config.energy_log.as_deref() else { return Ok(()) };
        // Half a step of room: times are rounded in the file.
        let from = self.now() - 0.5 * self.timestep * self.time;
        run.log = Some(EnergyLog::open(Path::new(path), self.restart, from)?);
        Ok(())
    }

    /// # Safety
    /// Arrays as long as said.
    unsafe fn hand_out(&self, r: &Results, place: &[u32], arrays: &Arrays) {
        let energy = KJ_MOL / self.energy;
        let force = energy * NM * self.length;
        // SAFETY: three reals an atom, nine of the virial.
        unsafe {
            for (k, f) in place.iter().zip(&r.forces) {
                for a in 0..3 {
                    self.add(arrays.forces, 3 * *k as usize + a, f[a] * force);
                }
            }
            for (k, v) in r.virial.iter().flatten().enumerate() {
                // PLUMED's virial is minus the sum of r (x) F.
                self.add(arrays.virial, k, -v * energy);
            }
        }
    }
}

/// Where the model's atoms stand in the MD code's arrays.
///
/// # Safety
/// `global` is null or has an entry for every atom.
unsafe fn place(run: &mut Run, global: *const c_int) -> Result<(), Error> {
    let natoms = run.local.len();
    if global.is_null() {
        run.place.clear();
        run.place.extend(&run.atoms.rows);
        return Ok(());
    }
    run.local.fill(u32::MAX);
    for k in 0..natoms {
        // SAFETY: the caller's promise.
        let atom = unsafe { *global.add(k) };
        match usize::try_from(atom).ok().and_then(|a| run.local.get_mut(a)) {
            Some(place) if *place == u32::MAX => *place = k as u32,
            _ => return argument(format!("setAtomsGatindex: atom {atom} is twice there or none of {natoms}")),
        }
    }
    for (place, row) in run.place.iter_mut().zip(&run.atoms.rows) {
        *place = run.local[*row as usize];
    }
    Ok(())
}
