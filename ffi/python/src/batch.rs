//! Frames as they come from Python, and their results.

use weir_engine::backend::{FrameParameters, Request, Results};
use weir_ffi::potential::Rows;
use weir_ffi::{Error, Potential};

/// Frames with the same number of atoms, copied from Python: what other threads do to their arrays meanwhile changes nothing.
pub struct Batch {
    pub frames: usize,
    pub atoms: usize,
    /// One row for all frames, or a row each.
    pub types: Vec<i32>,
    /// A.
    pub positions: Vec<[f64; 3]>,
    /// 9 a frame, A.
    pub cells: Option<Vec<f64>>,
    /// A row a frame.
    pub fparam: Option<Vec<f64>>,
    /// A row a frame.
    pub aparam: Option<Vec<f64>>,
    /// 2 a frame.
    pub charge_spin: Option<Vec<f64>>,
    pub atomic: bool,
}

/// Row `k` of `count` equal ones.
fn row<T>(values: &[T], count: usize, k: usize) -> &[T] {
    let width = values.len() / count;
    &values[k * width..(k + 1) * width]
}

impl Batch {
    /// Whether all arrays are as long as they must be.
    pub fn check(&self) -> Result<(), Error> {
        let (frames, atoms) = (self.frames, self.atoms);
        let length = |what: &str, got: usize, fits: bool| match fits {
            true => Ok(()),
            false => Err(Error::Argument(format!("{got} values of {what} for {frames} frames of {atoms} atoms"))),
        };
        if atoms > i32::MAX as usize || frames.checked_mul(atoms).and_then(|n| n.checked_mul(9)).is_none() {
            return Err(Error::Argument(format!("{frames} frames of {atoms} atoms are too many")));
        }
        length("types", self.types.len(), self.types.len() == atoms || self.types.len() == frames * atoms)?;
        length("positions", self.positions.len(), self.positions.len() == frames * atoms)?;
        for (what, values, width) in [
            ("cells", &self.cells, Some(9)),
            ("charge_spin", &self.charge_spin, Some(2)),
            ("fparam", &self.fparam, None),
            ("aparam", &self.aparam, None),
        ] {
            let Some(values) = values else { continue };
            let fits = match width {
                Some(width) => values.len() == width * frames,
                None if frames == 0 => values.is_empty(),
                None => values.len() % frames == 0,
            };
            length(what, values.len(), fits)?;
        }
        Ok(())
    }

    /// Computes frame `k` and appends its results. Nothing computed before shows in them.
    pub fn compute(&self, k: usize, potential: &mut Potential, out: &mut Out) -> Result<(), Error> {
        let types = match self.types.len() == self.atoms {
            true => &self.types[..],
            false => row(&self.types, self.frames, k),
        };
        let positions = row(&self.positions, self.frames, k);
        let cell: Option<Rows> = self.cells.as_ref().map(|c| {
            let c = row(c, self.frames, k);
            [0, 3, 6].map(|i| [c[i], c[i + 1], c[i + 2]])
        });
        let own = |values: &Option<Vec<f64>>| values.as_ref().map(|v| row(v, self.frames, k).to_vec());
        let parameters = FrameParameters {
            fparam: own(&self.fparam),
            aparam: own(&self.aparam),
            charge_spin: own(&self.charge_spin).map(|v| [v[0], v[1]]),
        };
        let request = Request { atomic_virial: self.atomic };
        let results = potential.compute_afresh(types, positions, cell.as_ref(), &parameters, request)?;
        out.push(results);
        Ok(())
    }
}

/// Results of frames one after another, eV and A.
pub struct Out {
    pub energy: Vec<f64>,
    /// 3 an atom.
    pub forces: Vec<f64>,
    /// 9 a frame.
    pub virial: Vec<f64>,
    /// 1 an atom.
    pub atomic_energy: Vec<f64>,
    /// 9 an atom, where asked for.
    pub atomic_virial: Option<Vec<f64>>,
}

impl Out {
    /// Room for all frames, or [`Error::Argument`] where the system has no such memory.
    pub fn new(batch: &Batch) -> Result<Self, Error> {
        let room = |width: usize| {
            let mut values = Vec::new();
            let count = batch.frames * width;
            let short = |_| {
                Error::Argument(format!(
                    "no memory for the results of {} frames of {} atoms",
                    batch.frames, batch.atoms
                ))
            };
            values.try_reserve_exact(count).map_err(short)?;
            Ok::<_, Error>(values)
        };
        Ok(Out {
            energy: room(1)?,
            forces: room(3 * batch.atoms)?,
            virial: room(9)?,
            atomic_energy: room(batch.atoms)?,
            atomic_virial: if batch.atomic { Some(room(9 * batch.atoms)?) } else { None },
        })
    }

    fn push(&mut self, results: &Results) {
        self.energy.push(results.energy);
        self.forces.extend_from_slice(results.forces.as_flattened());
        self.virial.extend_from_slice(results.virial.as_flattened());
        self.atomic_energy.extend_from_slice(&results.atomic_energy);
        if let (Some(all), Some(own)) = (&mut self.atomic_virial, &results.atomic_virial) {
            all.extend_from_slice(own.as_flattened());
        }
    }
}
