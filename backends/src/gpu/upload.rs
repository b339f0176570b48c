//! What is brought to the device when it changes: atoms, parameters, weights of energies. Positions go through `staging`.

use super::array::Array;
use super::buffers::Buffers;
use super::driver::{Driver, DriverError, Stream};
use crate::cpu::layout::Layout;
use crate::network::Shapes;
use weir_engine::model::Model;
use weir_engine::reference::ResolvedParameters;

/// The atoms of a list.
#[derive(Clone, Copy)]
pub struct Atoms<'a> {
    /// Input index of each sorted atom.
    pub order: &'a [u32],
    /// Types in input order.
    pub types: &'a [i32],
}

/// Host copies of what is on its way: they live until the step has been waited for.
pub struct Upload {
    double: bool,
    atoms: Vec<u8>,
    parameters: Vec<u8>,
    seeds: Vec<u8>,
    table: Vec<u8>,
}

/// Appends numbers and remembers where they go.
struct Parcel<'a> {
    bytes: &'a mut Vec<u8>,
    parts: Vec<(usize, Array, usize)>,
}

impl Parcel<'_> {
    fn add(&mut self, to: Array, data: &[u8]) {
        debug_assert!(data.len() as u64 <= to.bytes, "{} bytes for an array of {}", data.len(), to.bytes);
        self.parts.push((self.bytes.len(), to, data.len()));
        self.bytes.extend_from_slice(data);
    }

    fn send(self, driver: &dyn Driver) -> Result<(), DriverError> {
        for (at, to, len) in self.parts {
            if len > 0 {
                // SAFETY: the bytes belong to the `Upload`, which the executor keeps until it has waited for the stream.
                unsafe { driver.copy(Stream::Compute, to.at, self.bytes[at..].as_ptr() as u64, len as u64)? };
            }
        }
        Ok(())
    }
}

impl Upload {
    /// For messages in f64 or f32.
    pub fn new(double: bool) -> Self {
        Self { double, atoms: Vec::new(), parameters: Vec::new(), seeds: Vec::new(), table: Vec::new() }
    }

    /// What stays while list and plan do: order and types of the atoms, tiles and their capacities.
    ///
    /// # Errors
    /// The driver's.
    pub fn atoms(
        &mut self,
        driver: &dyn Driver,
        b: &Buffers,
        layout: &Layout,
        atoms: Atoms,
        types: u32,
    ) -> Result<(), DriverError> {
        self.atoms.clear();
        let mut p = Parcel { bytes: &mut self.atoms, parts: Vec::new() };
        p.add(b.order, bytemuck::cast_slice(atoms.order));
        let sorted = || atoms.order.iter().map(|&input| atoms.types[input as usize]);
        let kinds: Vec<u32> = sorted().map(|t| t.max(0) as u32).collect();
        let rules: Vec<u32> = sorted().map(|t| u32::try_from(t).unwrap_or(types)).collect();
        p.add(b.types, bytemuck::cast_slice(&kinds));
        p.add(b.rule, bytemuck::cast_slice(&rules));
        let starts = layout.tiles.iter().map(|t| t.start as u32);
        let centres: Vec<u32> = starts.chain([layout.capacity.atoms as u32]).collect();
        p.add(b.tile_centres, bytemuck::cast_slice(&centres));
        let pairs = layout.capacity.tile_pairs as u64;
        let sizes: Vec<u64> = layout.sizes.iter().flat_map(|t| [t.edges, pairs, t.angles]).collect();
        p.add(b.tile_sizes, bytemuck::cast_slice(&sizes));
        p.send(driver)
    }

    /// Tables and parameters that change rarely; `z` are the type embeddings.
    ///
    /// # Errors
    /// The driver's.
    pub fn parameters(
        &mut self,
        driver: &dyn Driver,
        b: &Buffers,
        model: &Model,
        s: &Shapes,
        parameters: &ResolvedParameters,
        z: &[f64],
    ) -> Result<(), DriverError> {
        self.parameters.clear();
        let double = self.double;
        let mut p = Parcel { bytes: &mut self.parameters, parts: Vec::new() };
        let activation = model.descriptor.options.activation;
        let mut table = vec![0.0; model.types() * s.np];
        for (row, z) in table.chunks_exact_mut(s.np).zip(z.chunks_exact(s.n)) {
            row.iter_mut().zip(z).for_each(|(x, &z)| *x = activation.evaluate(z).0);
        }
        match double {
            true => p.add(b.table, bytemuck::cast_slice(&table)),
            false => {
                let single: Vec<f32> = table.iter().map(|&x| x as f32).collect();
                p.add(b.table, bytemuck::cast_slice(&single));
            }
        }
        p.add(b.type_table, bytemuck::cast_slice(z));
        let frame: Vec<f64> = parameters.fparam.iter().chain(&model.fitting.case_embd).copied().collect();
        p.add(b.frame, bytemuck::cast_slice(&frame));
        p.add(b.per_atom, bytemuck::cast_slice(&parameters.aparam));
        p.send(driver)
    }

    /// Weights of the atoms' energies.
    ///
    /// # Errors
    /// The driver's.
    pub fn seeds(&mut self, driver: &dyn Driver, b: &Buffers, seeds: &[f64]) -> Result<(), DriverError> {
        self.seeds.clear();
        let mut p = Parcel { bytes: &mut self.seeds, parts: Vec::new() };
        p.add(b.seeds, bytemuck::cast_slice(seeds));
        p.send(driver)
    }

    /// Translations that a given list's images number.
    ///
    /// # Errors
    /// The driver's.
    pub fn table(&mut self, driver: &dyn Driver, to: Array, rows: &[[f64; 3]]) -> Result<(), DriverError> {
        self.table.clear();
        self.table.extend_from_slice(bytemuck::cast_slice(rows.as_flattened()));
        let (from, len) = (self.table.as_ptr() as u64, self.table.len() as u64);
        assert!(len <= to.bytes, "{len} bytes for an array of {}", to.bytes);
        match len {
            0 => Ok(()),
            // SAFETY: the bytes belong to us, whom the executor keeps until it has waited for the stream.
            _ => unsafe { driver.copy(Stream::Compute, to.at, from, len) },
        }
    }
}
