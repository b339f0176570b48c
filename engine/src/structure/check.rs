//! What every frame must fulfil, whatever format it came from.

use super::error::StructureError;
use super::Structure;

/// Signed volume of a cell (rows are the vectors), A^3.
pub(crate) fn volume(cell: &[[f64; 3]; 3]) -> f64 {
    let [a, b, c] = cell;
    a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
}

/// True if the three vectors span a volume that is more than rounding noise of their lengths.
pub(crate) fn spans_volume(cell: &[[f64; 3]; 3]) -> bool {
    let lengths: f64 = cell.iter().map(|v| v.iter().map(|x| x * x).sum::<f64>().sqrt()).product();
    let volume = volume(cell).abs();
    volume.is_finite() && lengths.is_finite() && volume > 1e-10 * lengths && volume > 1e-9
}

/// Refuses frames that no potential can be evaluated for: NaN, no atoms, a flat cell, arrays of different lengths.
pub(crate) fn check(s: &Structure, path: &str, frame: u64) -> Result<(), StructureError> {
    let n = s.positions.len();
    if n == 0 {
        return Err(StructureError::Empty { path: path.to_string(), what: format!("frame {frame} has no atoms") });
    }
    let lengths = [
        ("element symbols", Some(s.symbols.len())),
        ("original indices", Some(s.original.len())),
        ("velocities", s.velocities.as_ref().map(Vec::len)),
        ("masses", s.masses.as_ref().map(Vec::len)),
        ("forces", s.forces.as_ref().map(Vec::len)),
    ];
    for (what, length) in lengths {
        if length.is_some_and(|l| l != n) {
            return Err(StructureError::Count {
                path: path.to_string(),
                frame,
                what: what.to_string(),
                expected: n as u64,
                found: length.unwrap_or(0) as u64,
            });
        }
    }
    let finite = |what: &'static str, rows: &[[f64; 3]]| {
        for (atom, row) in rows.iter().enumerate() {
            if let Some(value) = row.iter().copied().find(|x| !x.is_finite()) {
                return Err(StructureError::NotFinite { path: path.to_string(), frame, what, atom: atom + 1, value });
            }
        }
        Ok(())
    };
    finite("position", &s.positions)?;
    // Whether a mass is above zero is asked by molecular dynamics: energies of sites without mass are fine. Before velocities, which may
    // have been made from momenta with it.
    for (atom, &value) in s.masses.iter().flatten().enumerate() {
        if !value.is_finite() {
            let (path, what) = (path.to_string(), "mass");
            return Err(StructureError::NotFinite { path, frame, what, atom: atom + 1, value });
        }
    }
    finite("velocity", s.velocities.as_deref().unwrap_or(&[]))?;
    finite("force", s.forces.as_deref().unwrap_or(&[]))?;
    for label in s.energy.iter().chain(s.virial.iter().flatten().flatten()) {
        if !label.is_finite() {
            return Err(StructureError::Content {
                path: path.to_string(),
                frame,
                expected: "a finite energy and virial".to_string(),
                found: label.to_string(),
            });
        }
    }
    if let Some(cell) = &s.cell {
        if !spans_volume(cell) {
            return Err(StructureError::ZeroVolume { path: path.to_string(), frame, volume: volume(cell).abs() });
        }
    }
    Ok(())
}
