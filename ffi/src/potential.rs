//! A model behind a handle: any number of atoms, in any order, virtual ones among them.

use crate::options::{resolve, Resolved};
use crate::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use weir_allocators::policy::{Layer, PolicyError};
use weir_backends::session::{Device, Session};
use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results, Totals};
use weir_engine::graph::{GivenList, Images, Pair};
use weir_engine::model::{load, load_bytes, LoadOptions, Model};

/// Where a model comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file.
    File(&'a Path),
    /// The bytes of one; the name stands in messages.
    Bytes(&'a [u8], &'a str),
}

/// Rows of lattice vectors, A.
pub type Rows = [[f64; 3]; 3];

/// The calculator in use and how its atoms are numbered.
struct Current {
    calculator: Box<dyn Calculator>,
    /// Types in the calculator's order, none negative.
    types: Vec<i32>,
    /// The client's index of each of them.
    row: Vec<u32>,
}

/// A model and what is needed to compute with it. Errors leave it usable.
pub struct Potential {
    session: Session,
    /// Types of the client's atoms as last given.
    given: Vec<i32>,
    current: Option<Current>,
    /// The list as last given, for its memory.
    list: GivenList,
    positions: Vec<[f64; 3]>,
    results: Results,
    warns: bool,
    /// Whether what steps have settled by themselves is told too.
    informs: bool,
    /// Remarks that were told: once is enough.
    told: Vec<String>,
}

impl Potential {
    /// Reads a model. `own` are settings that stand before the environment's; `gpu_rank` is a device to take where they name none. Remarks
    /// go to standard error, unless `WEIR_LOG=error`; what steps settle by themselves with `WEIR_LOG=info`.
    ///
    /// # Errors
    /// Unreadable models, missing heads, wrong settings, a GPU that is there and cannot be used, budgets that the model itself exceeds.
    pub fn open(source: Source, own: &Layer, gpu_rank: Option<usize>) -> Result<Self, Error> {
        let Resolved { policy, topology, device, remarks } = resolve(own, gpu_rank)?;
        let (warns, informs) = match policy.log.as_ref().map(|l| (l.value.to_lowercase(), &l.origin)) {
            None => (true, false),
            Some((level, _)) if level == "warn" => (true, false),
            Some((level, _)) if ["info", "debug"].contains(&level.as_str()) => (true, true),
            Some((level, _)) if level == "error" => (false, false),
            Some((level, origin)) => {
                let why = format!("\"{level}\" is not a log level: choose error, warn, info or debug");
                return Err(PolicyError::Value { origin: origin.clone(), why }.into());
            }
        };
        let options = LoadOptions { head: policy.head.as_ref().map(|h| h.value.clone()), allow_unknown: false };
        let model = match source {
            Source::File(path) => load(path, &options)?,
            Source::Bytes(bytes, name) => load_bytes(bytes, name, &options)?,
        };
        let session = Session::new(Arc::new(model), policy, topology).on(device);
        let (given, list, positions, results) = Default::default();
        let mut potential =
            Potential { session, given, current: None, list, positions, results, warns, informs, told: Vec::new() };
        potential.tell(remarks);
        potential.tell(potential.session.model.source.remarks.clone());
        // A lone atom is planned and dropped: a budget that not even the model fits, and (kernels are compiled, links measured) what a GPU
        // lacks, are told now and not at the first step.
        let (mut alone, remarks) = potential.session.calculator(&[0])?;
        potential.tell(remarks);
        alone.prepare(&[[0.0; 3]], None).map_err(|e| match e {
            ComputeError::Memory(why) => {
                ComputeError::Memory(format!("not even a single atom fits (more need more): {why}"))
            }
            other => other,
        })?;
        Ok(potential)
    }

    /// Tells what was not told before.
    pub(crate) fn tell(&mut self, remarks: Vec<String>) {
        for remark in remarks.into_iter().filter(|_| self.warns) {
            tell_once(&mut self.told, "warning: ", &remark);
        }
    }

    /// Threads that it computes with.
    pub fn threads(&self) -> usize {
        self.session.policy.threads.value
    }

    /// Whether warnings are told at all.
    pub fn warns(&self) -> bool {
        self.warns
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.session.model
    }

    /// Model, settings and memory in a few lines.
    pub fn summary(&self) -> String {
        let s = &self.session.model.source;
        let head = s.head.as_deref().map_or(String::new(), |h| format!(", head {h}"));
        let place = self.session.device().map_or("the CPU".to_string(), Device::title);
        format!(
            "weir {}: {} ({}{head}), sha256 {}\n{} arithmetic on {place}, {} threads; {}\n",
            env!("CARGO_PKG_VERSION"),
            s.path,
            s.format,
            s.sha256,
            self.session.precision(),
            self.session.policy.threads.value,
            self.session.policy.summary()
        )
    }

    /// Backend that computes (`cpu`, `cuda`, `hip`, `emulated`), and the number of its device as the driver counts; none on the CPU.
    pub fn backend(&self) -> (&'static str, Option<usize>) {
        match self.session.device() {
            None => ("cpu", None),
            Some(device) => (device.driver().name(), Some(device.index())),
        }
    }

    /// The plan in force, a sentence; none before the first step.
    pub fn plan(&self) -> Option<String> {
        self.current.as_ref()?.calculator.plan().map(|p| p.summary())
    }

    /// Largest number of bytes held so far, by tier.
    pub fn peak_bytes(&self) -> Vec<(String, u64)> {
        self.current.as_ref().map_or(Vec::new(), |c| c.calculator.peak_bytes())
    }

    /// Drops whatever a panic may have left half done.
    pub fn forget(&mut self) {
        self.current = None;
        self.given.clear();
    }

    /// Results of the last step in the client's order, eV and A; virtual atoms have zeros.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// Energy, forces and virial of a periodic (or, without a cell, isolated) system. `types` are indices into the type map, negative for
    /// virtual atoms, which the model does not see. Atomic parameters have a row for every atom of the client.
    ///
    /// # Errors
    /// Counts that do not fit, unknown types, whatever a step can fail at.
    pub fn compute(
        &mut self,
        types: &[i32],
        positions: &[[f64; 3]],
        cell: Option<&Rows>,
        parameters: &FrameParameters,
        request: Request,
    ) -> Result<&Results, Error> {
        self.choose(types, positions.len())?;
        self.gather(positions);
        self.step(parameters, request, |c, x, parameters, out| c.compute(x, cell, parameters, request, out))
    }

    /// As [`Potential::compute`] with positions (A) and forces (eV/A) in the memory of the device, N x 3 doubles each in the client's order.
    ///
    /// # Safety
    /// As [`Calculator::compute_on_device`].
    ///
    /// # Errors
    /// As [`Potential::compute`]; [`Error::Unsupported`] on the CPU, and for atoms that the model does not see.
    pub unsafe fn compute_on_device(
        &mut self,
        types: &[i32],
        positions: u64,
        forces: u64,
        cell: Option<&Rows>,
        parameters: &FrameParameters,
    ) -> Result<Totals, Error> {
        if self.session.device().is_none() {
            let text = format!("device pointers: {}", ComputeError::NoDevice("cpu"));
            return Err(Error::Unsupported(text));
        }
        if let Some(atom) = types.iter().position(|&t| t < 0) {
            return Err(Error::Unsupported(format!(
                "device pointers: the model does not see atom {atom}, and rows on a device are not sorted out: pass host memory"
            )));
        }
        self.choose(types, types.len())?;
        let sorted = |c: &Current| c.row.iter().enumerate().all(|(k, &row)| k as u32 == row);
        if self.current.as_ref().is_some_and(|c| !sorted(c)) {
            // The same atoms in another order than when they were numbered.
            self.forget();
            self.choose(types, types.len())?;
        }
        let parameters = self.own(parameters)?;
        let Some(c) = &mut self.current else { return Ok(Totals::default()) };
        // SAFETY: the caller's promise.
        Ok(unsafe { c.calculator.compute_on_device(positions, forces, cell, &parameters) }?)
    }

    /// As [`Potential::compute`], but the order of summation is fixed anew by these positions: the bits are those of `weir eval`, whatever
    /// was computed before. The neighbour list is made anew as well.
    ///
    /// # Errors
    /// As [`Potential::compute`].
    pub fn compute_afresh(
        &mut self,
        types: &[i32],
        positions: &[[f64; 3]],
        cell: Option<&Rows>,
        parameters: &FrameParameters,
        request: Request,
    ) -> Result<&Results, Error> {
        // Atoms numbered otherwise than the client's are summed otherwise.
        if self.given != types || self.current.as_ref().is_some_and(|c| !c.row.is_sorted()) {
            self.forget();
        }
        self.choose(types, positions.len())?;
        self.gather(positions);
        if let Some(c) = &mut self.current {
            c.calculator.reorder(&self.positions, cell);
        }
        self.step(parameters, request, |c, x, parameters, out| c.compute(x, cell, parameters, request, out))
    }

    /// Takes a neighbour list over for [`Potential::compute_given`]: pairs between the client's indices, both directions.
    ///
    /// # Errors
    /// Counts that do not fit, unknown types, bad positions.
    pub fn take_list(
        &mut self,
        types: &[i32],
        positions: &[[f64; 3]],
        cell: Option<&Rows>,
        list: &GivenList,
    ) -> Result<(), Error> {
        list.check_rows().map_err(ComputeError::from)?;
        self.take_pairs(types, positions, cell, &list.first, |k| list.pairs[k])
    }

    /// The same for pairs that are asked for one by one: `first` is the start of each atom's, N + 1 entries.
    pub(crate) fn take_pairs(
        &mut self,
        types: &[i32],
        positions: &[[f64; 3]],
        cell: Option<&Rows>,
        first: &[u32],
        pair: impl Fn(usize) -> Pair,
    ) -> Result<(), Error> {
        if first.len() != types.len() + 1 {
            let centres = first.len().saturating_sub(1);
            return Err(Error::Argument(format!("a list of {centres} centres for {} atoms", types.len())));
        }
        self.choose(types, positions.len())?;
        self.gather(positions);
        let Some(c) = &mut self.current else { return Ok(()) };
        let mut place = vec![u32::MAX; types.len()];
        for (k, &row) in c.row.iter().enumerate() {
            place[row as usize] = k as u32;
        }
        let own = &mut self.list;
        own.first.clear();
        own.first.push(0);
        own.pairs.clear();
        own.pairs.reserve(first[types.len()] as usize);
        for &row in &c.row {
            for pair in (first[row as usize]..first[row as usize + 1]).map(|k| pair(k as usize)) {
                match place.get(pair.owner as usize) {
                    None => return Err(Error::Argument(format!("a pair with atom {} of {}", pair.owner, types.len()))),
                    Some(&u32::MAX) => {}
                    Some(&owner) => own.pairs.push(Pair { owner, image: pair.image }),
                }
            }
            own.first.push(own.pairs.len() as u32);
        }
        Ok(c.calculator.take_list(own, &self.positions, cell)?)
    }

    /// As [`Potential::compute`] with the neighbours of [`Potential::take_list`].
    ///
    /// # Errors
    /// As [`Potential::compute`]; also where no list was taken for this number of atoms.
    pub fn compute_given(
        &mut self,
        positions: &[[f64; 3]],
        images: Images,
        parameters: &FrameParameters,
        request: Request,
    ) -> Result<&Results, Error> {
        if positions.len() != self.given.len() {
            let text = format!("{} atoms, but the neighbour list is of {}", positions.len(), self.given.len());
            return Err(Error::Argument(text));
        }
        self.gather(positions);
        self.step(parameters, request, |c, x, parameters, out| c.compute_given(x, images, parameters, request, out))
    }

    /// A step of the chosen calculator on the gathered positions; results go back to the client's order.
    fn step(
        &mut self,
        parameters: &FrameParameters,
        request: Request,
        compute: impl FnOnce(&mut dyn Calculator, &[[f64; 3]], &FrameParameters, &mut Results) -> Result<(), ComputeError>,
    ) -> Result<&Results, Error> {
        let parameters = self.own(parameters)?;
        if let Some(c) = &mut self.current {
            let computed = compute(c.calculator.as_mut(), &self.positions, &parameters, &mut self.results);
            let settled = c.calculator.settled().iter().filter(|_| self.informs);
            settled.for_each(|remark| tell_once(&mut self.told, "", remark));
            let came_up = c.calculator.came_up().to_vec();
            self.tell(came_up);
            computed?;
        }
        self.scatter(request);
        Ok(&self.results)
    }

    /// Finds or makes the calculator for these atoms. MD codes reorder atoms; where only the order changed, the calculator stays and the
    /// numbering follows: the k-th atom of a type takes the place of the k-th before.
    fn choose(&mut self, types: &[i32], positions: usize) -> Result<(), Error> {
        if types.len() != positions {
            return Err(Error::Argument(format!("{positions} positions for {} atoms", types.len())));
        }
        let known = self.session.model.types();
        if let Some(atom) = types.iter().position(|&t| t >= known as i32) {
            return Err(Error::Argument(format!(
                "atom {atom} has type {}, but the model has {known} types: {}",
                types[atom],
                self.session.model.type_map.join(" ")
            )));
        }
        if self.given == types {
            return Ok(());
        }
        let mut members: Vec<std::collections::VecDeque<u32>> = vec![Default::default(); known];
        for (row, &t) in types.iter().enumerate().filter(|(_, &t)| t >= 0) {
            members[t as usize].push_back(row as u32);
        }
        let real: usize = members.iter().map(|m| m.len()).sum();
        let same = self.current.as_ref().is_some_and(|c| {
            let mut counts = vec![0; known];
            c.types.iter().for_each(|&t| counts[t as usize] += 1);
            counts.iter().zip(&members).all(|(n, m)| *n == m.len())
        });
        if let (true, Some(c)) = (same, &mut self.current) {
            c.row = c.types.iter().map(|&t| members[t as usize].pop_front().expect("counted above")).collect();
        } else {
            // The old one's memory goes before the new one's comes.
            self.forget();
            if real > 0 {
                let row: Vec<u32> = (0..types.len() as u32).filter(|&k| types[k as usize] >= 0).collect();
                let own: Vec<i32> = row.iter().map(|&k| types[k as usize]).collect();
                let (calculator, remarks) = self.session.calculator(&own)?;
                self.tell(remarks);
                self.current = Some(Current { calculator, types: own, row });
            }
        }
        self.given = types.to_vec();
        Ok(())
    }

    /// Positions in the calculator's order.
    fn gather(&mut self, positions: &[[f64; 3]]) {
        self.positions.clear();
        if let Some(c) = &self.current {
            self.positions.extend(c.row.iter().map(|&k| positions[k as usize]));
        }
    }

    /// Parameters in the calculator's order.
    fn own(&self, given: &FrameParameters) -> Result<FrameParameters, Error> {
        let mut own = given.clone();
        let (Some(values), Some(c)) = (&given.aparam, &self.current) else { return Ok(own) };
        let width = self.session.model.fitting.numb_aparam;
        if values.len() != width * self.given.len() {
            let text = format!("{} atomic parameters for {} atoms with {width} each", values.len(), self.given.len());
            return Err(Error::Argument(text));
        }
        let of = |&k: &u32| &values[k as usize * width..(k as usize + 1) * width];
        own.aparam = Some(c.row.iter().flat_map(of).copied().collect());
        Ok(own)
    }

    /// Results from the calculator's order to the client's.
    fn scatter(&mut self, request: Request) {
        let atoms = self.given.len();
        let Some(c) = &self.current else {
            let atomic_virial = request.atomic_virial.then(|| vec![[0.0; 9]; atoms]);
            let (atomic_energy, forces) = (vec![0.0; atoms], vec![[0.0; 3]; atoms]);
            self.results = Results { atomic_energy, forces, atomic_virial, ..Results::default() };
            return;
        };
        if c.row.len() == atoms && c.row.iter().enumerate().all(|(k, &row)| k as u32 == row) {
            return;
        }
        let results = &mut self.results;
        fn spread<T: Copy>(values: &[T], row: &[u32], atoms: usize, zero: T) -> Vec<T> {
            let mut out = vec![zero; atoms];
            row.iter().zip(values).for_each(|(&k, v)| out[k as usize] = *v);
            out
        }
        results.atomic_energy = spread(&results.atomic_energy, &c.row, atoms, 0.0);
        results.forces = spread(&results.forces, &c.row, atoms, [0.0; 3]);
        results.atomic_virial = results.atomic_virial.take().map(|v| spread(&v, &c.row, atoms, [0.0; 9]));
    }
}

/// A line on standard error, unless it was written before.
fn tell_once(told: &mut Vec<String>, kind: &str, remark: &String) {
    if !told.contains(remark) {
        // A closed standard error must not end a run.
        let _ = writeln!(std::io::stderr().lock(), "weir: {kind}{remark}");
        told.push(remark.clone());
    }
}
