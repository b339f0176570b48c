//! GROMACS trr in single and double precision: positions, velocities, forces, box. Frames without positions are passed over.

use super::adopt::Atoms;
use super::error::StructureError;
use super::xdr::{cell_of_nm, Xdr};
use super::Structure;

const MAGIC: i32 = 1993;
const VERSION: &[u8; 12] = b"GMX_trn_file";

/// eV/A per kJ/mol/nm.
const FORCE: f64 = 1000.0 / 96_485.332_123_310_02 / 10.0;

pub(crate) struct TrrFrames {
    xdr: Xdr,
    atoms: Atoms,
}

impl TrrFrames {
    pub(crate) fn new(xdr: Xdr, atoms: Atoms) -> Self {
        Self { xdr, atoms }
    }

    /// The next frame that has positions.
    fn frame(&mut self) -> Result<Option<Structure>, StructureError> {
        loop {
            let Some(magic) = self.xdr.begin()? else { return Ok(None) };
            if magic != MAGIC {
                return Err(self.xdr.content(format!("magic number {MAGIC} of a trr frame"), magic));
            }
            let s = self.content()?;
            if !s.positions.is_empty() {
                return Ok(Some(self.atoms.adopt(s)));
            }
        }
    }

    fn content(&mut self) -> Result<Structure, StructureError> {
        let x = &mut self.xdr;
        let (length, again) = (x.int("the version")?, x.int("the version")?);
        if (length, again) != (13, 12) || x.bytes(12, "the version")? != VERSION {
            return Err(x.content("version GMX_trn_file", "another one"));
        }
        let mut header = [0i32; 13];
        for v in &mut header {
            *v = x.int("the frame header")?;
        }
        let [ir, e, cell, virial, pressure, top, sym, positions, velocities, forces, count, step, _nre] = header;
        if [ir, e, top, sym] != [0; 4] {
            return Err(x.content("no parts of the obsolete kinds ir, e, top, sym", "some"));
        }
        let count = u64::try_from(count).map_err(|_| x.content("a number of atoms", count))?;
        self.atoms.expect(&x.path, x.frame, count)?;
        // Bytes of one real: from the size of whatever part is there.
        let of_box = [cell, virial, pressure].into_iter().find(|s| *s != 0).map(|s| (i64::from(s), 9));
        let of_atoms =
            [positions, velocities, forces].into_iter().find(|s| *s != 0).map(|s| (i64::from(s), 3 * count as i64));
        let real = match of_box.or(of_atoms) {
            Some((size, n)) if size == 4 * n => 4,
            Some((size, n)) if size == 8 * n => 8,
            // An empty frame; its time is a float in every file seen.
            None => 4,
            Some((size, n)) => return Err(x.content(format!("{} or {} bytes for {n} numbers", 4 * n, 8 * n), size)),
        };
        let is = |size: i32, n: u64| size == 0 || i128::from(size) == i128::from(real) * i128::from(n);
        if ![cell, virial, pressure].iter().all(|s| is(*s, 9))
            || ![positions, velocities, forces].iter().all(|s| is(*s, 3 * count))
        {
            return Err(x.content("parts of one precision for all atoms", "sizes that do not fit"));
        }
        let number = |x: &mut Xdr, what: &str| if real == 8 { x.double(what) } else { x.float(what) };
        let time = number(x, "the time")?;
        number(x, "lambda")?;
        let mut s = Structure {
            step: u64::try_from(step).ok(),
            time: Some(time).filter(|t| t.is_finite()),
            ..Structure::default()
        };
        for (size, is_cell) in [(cell, true), (virial, false), (pressure, false)] {
            if size != 0 {
                let mut v = [0.0; 9];
                for c in &mut v {
                    *c = number(x, "the box")?;
                }
                if is_cell {
                    s.cell = cell_of_nm(v);
                }
            }
        }
        let mut rows = |size: i32, what: &str, factor: f64| -> Result<Option<Vec<[f64; 3]>>, StructureError> {
            if size == 0 {
                return Ok(None);
            }
            let mut rows = Vec::new();
            for _ in 0..count {
                let mut v = [0.0; 3];
                for c in &mut v {
                    *c = number(x, what)? * factor;
                }
                rows.push(v);
            }
            Ok(Some(rows))
        };
        s.positions = rows(positions, "positions", 10.0)?.unwrap_or_default();
        s.velocities = rows(velocities, "velocities", 10.0)?;
        s.forces = rows(forces, "forces", FORCE)?;
        Ok(s)
    }
}

impl Iterator for TrrFrames {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame().transpose();
        self.xdr.frame += 1;
        frame
    }
}
