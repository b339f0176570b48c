//! One step: what it brings, its operations in order, what it is asked.

use super::super::array::Array;
use super::super::buffers::CELL_NUMBERS;
use super::super::driver::{DriverError, Stream};
use super::super::memory::failed;
use super::super::neighbours::{self, Flags};
use super::super::upload::Atoms;
use super::label::Label;
use super::record::Key;
use super::trace::Trace;
use super::{Ends, Executor, Input};
use crate::cpu::Store;
use weir_engine::backend::ComputeError;
use weir_engine::graph::{Drift, Images};
use weir_engine::plan::placement::{Op, SlotId};
use weir_engine::reference::{initial_node_features, ResolvedParameters};

impl Executor {
    /// One step at these positions: results wait in staging and buffers if the flags are clear; else the list or the plan has to be made
    /// again. `atoms` are those of this list; `images` say what its image numbers mean (for a table, room was reserved), `drift` how far
    /// atoms may be from where it was built. `seeds` weigh the atoms' energies, in sorted order.
    ///
    /// # Errors
    /// [`ComputeError`].
    pub fn step(
        &mut self,
        atoms: Atoms,
        input: Input,
        images: Images,
        drift: &Drift,
        parameters: &ResolvedParameters,
        seeds: Option<&[f64]>,
    ) -> Result<Flags, ComputeError> {
        self.launcher.launches = 0;
        self.arenas.begin();
        let queued = self.send(atoms, input, images, drift, parameters, seeds);
        // Waited for after an error too: what was queued reads memory of ours.
        let waited = self.driver().synchronise(Stream::Compute);
        if let Err(e) = queued.and(waited) {
            self.forget();
            return Err(failed(e));
        }
        // Before the flags: what was computed from bytes that never came says nothing.
        if let Err(e) = self.arenas.settle() {
            self.forget();
            return Err(e);
        }
        self.launches = self.launcher.launches;
        let staging = self.staging.as_ref().expect("a step comes after its plan");
        let flags = Flags::from(staging.read::<[u16; 4]>(staging.flags)[0]);
        if flags == Flags::default() {
            if let Err(e) = self.read_trace() {
                self.forget();
                return Err(failed(e));
            }
            if seeds.is_none() {
                self.code.ran = Some(self.key(input.ends(), images));
            }
            self.check_stored()?;
        }
        Ok(flags)
    }

    /// After an error: nothing may run on, and nothing on the device is relied upon but what is never written again.
    pub(super) fn forget(&mut self) {
        for stream in Stream::ALL {
            let _ = self.driver().synchronise(stream);
        }
        self.atoms_sent = false;
        self.parameters = None;
        self.unrecord();
    }

    fn key(&self, ends: Ends, images: Images) -> Key {
        let with = self.parameters.as_ref().is_some_and(|p| !p.aparam.is_empty());
        let per_atom = if with { self.model.fitting.numb_aparam } else { 0 };
        Key { ends, per_atom, table: matches!(images, Images::Table(_)) }
    }

    /// Brings what has changed, and queues the step.
    fn send(
        &mut self,
        atoms: Atoms,
        input: Input,
        images: Images,
        drift: &Drift,
        parameters: &ResolvedParameters,
        seeds: Option<&[f64]>,
    ) -> Result<(), DriverError> {
        let driver = self.launcher.driver.clone();
        self.send_atoms(atoms)?;
        if self.parameters.as_ref() != Some(parameters) {
            let z = initial_node_features(&self.model, parameters);
            self.upload.parameters(driver.as_ref(), &self.buffers, &self.model, &self.shapes, parameters, &z)?;
            self.parameters = Some(parameters.clone());
        }
        let staging = self.staging.as_mut().expect("a step comes after its plan");
        let rows = match images {
            Images::Lattice(cell) => cell.rows,
            Images::None | Images::Table(_) => [[0.0; 3]; 3],
        };
        let mut numbers = [0.0; CELL_NUMBERS as usize];
        numbers[..9].copy_from_slice(rows.as_flattened());
        numbers[9..18].copy_from_slice(drift.deformation.as_flattened());
        numbers[18] = drift.limit2;
        staging.write(staging.cell, &numbers);
        if let Input::Host(positions) = input {
            staging.write(staging.positions, positions.as_flattened());
        }
        if let (Images::Table(rows), Some(table)) = (images, &self.table) {
            self.upload.table(driver.as_ref(), table.array, rows)?;
        }
        let key = self.key(input.ends(), images);
        match seeds {
            None => self.queue_or_replay(key),
            Some(seeds) => {
                self.upload.seeds(driver.as_ref(), &self.buffers, seeds)?;
                self.queue(key, true)
            }
        }
    }

    /// The whole step, from positions to results in staging.
    pub(super) fn queue(&mut self, key: Key, seeded: bool) -> Result<(), DriverError> {
        let driver = self.launcher.driver.clone();
        let device = driver.as_ref();
        let copy = |to: Array, from: Array| match to.bytes.min(from.bytes) {
            0 => Ok(()),
            // SAFETY: arrays of buffers and staging, which live as long as the plan, or the caller's, who answers for them until the
            // step has been waited for.
            bytes => unsafe { device.copy(Stream::Compute, to.at, from.at, bytes) },
        };
        let staging = self.staging.as_ref().expect("a step comes after its plan");
        let (s, b) = (
            [staging.positions, staging.cell, staging.energy, staging.totals, staging.flags, staging.too_large],
            &self.buffers,
        );
        let [positions, cell, energy, totals, flags, too_large] = s;
        let (from, to) = match key.ends {
            Ends::Host => (positions, staging.forces),
            Ends::Device { positions, forces } => {
                let bytes = b.positions.bytes;
                (Array { at: positions, bytes }, Array { at: forces, bytes })
            }
        };
        copy(b.positions, from)?;
        copy(b.cell, cell)?;
        self.launcher.begin();
        let list = self.list.as_ref().expect("a step comes after its list");
        let table = self.table.as_ref().filter(|_| key.table).map_or(Array::NONE, |t| t.array);
        neighbours::fill(list, &mut self.launcher, &self.buffers, &self.layout, table)?;
        driver.fill(Stream::Compute, self.buffers.too_large.at, 0, self.buffers.too_large.bytes)?;
        if self.options.poison {
            for k in 0..self.layout.plan.program.slots.len() {
                self.arenas.discard(device, SlotId(k as u32))?;
            }
            self.arenas.discard_insides(device)?;
        }
        let mark = |trace: &Option<Trace>, at| trace.as_ref().map_or(Ok(()), |t| t.mark(device, at));
        mark(&self.trace, 0)?;
        let program = std::mem::take(&mut self.layout.plan.program);
        let done = program.forward.iter().chain(&program.backward).enumerate().try_for_each(|(at, op)| {
            self.rises = at < program.forward.len();
            self.named(op, seeded)?;
            mark(&self.trace, at + 1)?;
            for &id in self.dead.get(at).into_iter().flatten() {
                self.arenas.discard(device, id)?;
            }
            Ok(())
        });
        self.layout.plan.program = program;
        done?;
        let sums = self.totals()?;
        self.join()?;
        self.launcher.mark()?;
        self.arenas.join(device)?;
        let b = &self.buffers;
        for (to, from) in
            [(energy, b.energy), (to, b.forces), (totals, sums), (flags, b.flags), (too_large, b.too_large)]
        {
            copy(to, from)?;
        }
        self.trace.as_ref().map_or(Ok(()), |t| t.end(device))
    }

    /// An operation, between marks for profilers where they are wanted.
    fn named(&mut self, op: &Op, seeded: bool) -> Result<(), DriverError> {
        if !self.options.ranges {
            return self.run(op, seeded);
        }
        let driver = self.launcher.driver.clone();
        driver.range(Some(Label::of(op).text()));
        let done = self.run(op, seeded);
        driver.range(None);
        done
    }

    fn run(&mut self, op: &Op, seeded: bool) -> Result<(), DriverError> {
        let driver = self.launcher.driver.clone();
        match *op {
            Op::Forward { layer, tile, input, output } if self.shapes.sequential => {
                self.forward_in_turn(layer, tile, input, output, true)
            }
            Op::Rebuild { layer, tile, input, output } if self.shapes.sequential => {
                self.forward_in_turn(layer, tile, input, output, false)
            }
            Op::Backward { layer, tile, input, adjoint } if self.shapes.sequential => {
                self.backward_in_turn(layer, tile, input, adjoint)
            }
            // Every part of the layer has been gathered by its own.
            Op::Gather { .. } if self.shapes.sequential => Ok(()),
            Op::Finish { layer } if self.shapes.sequential => self.finish_in_turn(layer),
            Op::Geometry => self.geometry(),
            Op::Project { layer } => self.project(layer),
            Op::Forward { layer, tile, input, output } => self.forward(layer, tile, input, output, true),
            Op::Rebuild { layer, tile, input, output } => self.forward(layer, tile, input, output, false),
            Op::Fit => {
                self.join()?;
                self.fit(seeded)
            }
            Op::Clear { .. } => {
                self.sums_start = true;
                Ok(())
            }
            Op::Backward { layer, tile, input, adjoint } => self.backward(layer, tile, input, adjoint),
            Op::Gather { layer, tile } => {
                let moment_bar = self.buffers.moment_bar;
                self.fork()?;
                self.beside(|e| e.gather(layer, tile, moment_bar))
            }
            Op::Finish { layer } => self.finish(layer),
            Op::Assemble { tile, adjoint } => self.edge_gradients(tile, adjoint),
            Op::Save { from, to, ticket } | Op::Load { from, to, ticket } => {
                self.arenas.copy(driver.as_ref(), from, to, ticket)
            }
            Op::Wait { ticket } => self.arenas.wait(driver.as_ref(), ticket),
        }
    }

    fn check_stored(&self) -> Result<(), ComputeError> {
        if self.store == Store::Exact {
            return Ok(());
        }
        let staging = self.staging.as_ref().expect("a step comes after its plan");
        let flags = &staging.read::<u32>(staging.too_large)[..self.shapes.layers + 1];
        match flags.iter().position(|f| *f != 0) {
            Some(layer) => Err(ComputeError::Stored { layer, value: f64::INFINITY, store: self.store.to_string() }),
            None => Ok(()),
        }
    }

    /// Numbers of an array, brought to the host.
    ///
    /// # Errors
    /// The driver's.
    pub fn read<N: bytemuck::Pod>(&self, array: Array, count: usize) -> Result<Vec<N>, ComputeError> {
        let mut out = vec![N::zeroed(); count];
        let bytes = std::mem::size_of_val(out.as_slice()) as u64;
        assert!(bytes <= array.bytes, "{count} numbers of an array of {} bytes", array.bytes);
        // SAFETY: `out` lives until the stream has been waited for, which happens after an error too.
        let sent = unsafe { self.driver().copy(Stream::Compute, out.as_mut_ptr() as u64, array.at, bytes) };
        let waited = self.driver().synchronise(Stream::Compute);
        sent.and(waited).map_err(failed)?;
        Ok(out)
    }
}
