//! Results as a table for people.

use crate::eval::volume;
use crate::report;
use std::fmt::Write;
use weir_engine::backend::{Calculator, Results};
use weir_engine::md::units::BAR;
use weir_engine::structure::Structure;

/// Rows of atoms shown.
const ROWS: usize = 20;

/// One frame.
pub fn frame(
    structure: &Structure,
    results: &Results,
    number: u64,
    seconds: f64,
    calculator: &dyn Calculator,
    atomic: bool,
) -> String {
    let atoms = structure.len();
    let size = |f: &[f64; 3]| (f[0] * f[0] + f[1] * f[1] + f[2] * f[2]).sqrt();
    let mut text = String::new();
    let out = &mut text;
    // Writing to a string cannot fail.
    let mut line = |label: &str, value: String| writeln!(out, "{label:<16}{value}").expect("text");
    line("frame", number.to_string());
    line("atoms", atoms.to_string());
    line("energy", format!("{:.9} eV ({:.9} eV/atom)", results.energy, results.energy / atoms as f64));
    let largest = results.forces.iter().map(size).fold(0.0, f64::max);
    let square: f64 = results.forces.iter().map(|f| size(f).powi(2)).sum();
    line("forces", format!("largest {largest:.6}, rms {:.6} eV/A", (square / (3 * atoms) as f64).sqrt()));
    for (k, row) in results.virial.iter().enumerate() {
        let label = if k == 0 { "virial (eV)" } else { "" };
        line(label, format!("{:16.9} {:16.9} {:16.9}", row[0], row[1], row[2]));
    }
    if let Some(volume) = volume(structure) {
        let trace: f64 = (0..3).map(|k| results.virial[k][k]).sum();
        line("pressure", format!("{:.3} bar (without the kinetic part)", trace / (3.0 * volume) * BAR));
    }
    line("time", report::duration(seconds));
    line("peak memory", report::peak(&calculator.peak_bytes()));
    let energy = if atomic { "   energy (eV)" } else { "" };
    writeln!(text, "\n{:>8} {:>3}   {:>14} {:>14} {:>14}{energy}", "atom", "", "fx (eV/A)", "fy", "fz").expect("text");
    for i in 0..atoms.min(ROWS) {
        let f = results.forces[i];
        write!(text, "{i:>8} {:>3}   {:>14.8} {:>14.8} {:>14.8}", structure.symbols[i], f[0], f[1], f[2])
            .expect("text");
        if atomic {
            write!(text, " {:>13.8}", results.atomic_energy[i]).expect("text");
        }
        text.push('\n');
    }
    if atoms > ROWS {
        writeln!(text, "     ... {} more (--json - or --json FILE gives all, with all digits)", atoms - ROWS)
            .expect("text");
    }
    text.push('\n');
    text
}
