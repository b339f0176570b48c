//! Extended XYZ as ASE reads it. Numbers are written with as many digits as give the same f64 back.

use std::io::{self, Write};

use super::Structure;

/// Writes one frame: species, positions (A), velocities (`vel`, A/ps, said by `vel_unit=A/ps`) and forces (eV/A) where the
/// structure has them, then `aparam` and `masses` (g/mol); in the header lattice, pbc, energy (eV), virial (eV, column-major as ASE reads it), step, time (ps),
/// title.
pub fn write_extxyz(w: &mut impl Write, s: &Structure) -> io::Result<()> {
    writeln!(w, "{}", s.len())?;
    if let Some(cell) = &s.cell {
        let v: Vec<String> = cell.iter().flatten().map(|x| format!("{x:?}")).collect();
        write!(w, "Lattice=\"{}\" ", v.join(" "))?;
    }
    write!(w, "Properties=species:S:1:pos:R:3")?;
    if s.velocities.is_some() {
        write!(w, ":vel:R:3")?;
    }
    if s.forces.is_some() {
        write!(w, ":forces:R:3")?;
    }
    let aparam = s.aparam.as_ref().filter(|a| !s.is_empty() && !a.is_empty() && a.len() % s.len() == 0);
    let aparam_width = aparam.map_or(0, |a| a.len() / s.len());
    if aparam_width > 0 {
        write!(w, ":aparam:R:{aparam_width}")?;
    }
    if s.masses.is_some() {
        write!(w, ":masses:R:1")?;
    }
    if s.velocities.is_some() {
        write!(w, " vel_unit=A/ps")?;
    }
    if let Some(e) = s.energy {
        write!(w, " energy={e:?}")?;
    }
    if let Some(v) = &s.virial {
        let column_major: Vec<String> = (0..9).map(|k| format!("{:?}", v[k % 3][k / 3])).collect();
        write!(w, " virial=\"{}\"", column_major.join(" "))?;
    }
    if let Some([q, m]) = s.charge_spin {
        write!(w, " charge_spin=\"{q:?} {m:?}\"")?;
    }
    if let Some(f) = &s.fparam {
        let v: Vec<String> = f.iter().map(|x| format!("{x:?}")).collect();
        write!(w, " fparam=\"{}\"", v.join(" "))?;
    }
    if let Some(step) = s.step {
        write!(w, " step={step}")?;
    }
    if let Some(time) = s.time {
        write!(w, " time={time:?}")?;
    }
    if !s.title.is_empty() {
        write!(w, " title=\"{}\"", quoted(&s.title))?;
    }
    writeln!(w, " pbc=\"{}\"", if s.cell.is_some() { "T T T" } else { "F F F" })?;
    let row = |w: &mut dyn Write, [x, y, z]: [f64; 3]| write!(w, " {x:?} {y:?} {z:?}");
    for i in 0..s.len() {
        write!(w, "{}", s.symbols[i])?;
        row(w, s.positions[i])?;
        if let Some(v) = &s.velocities {
            row(w, v[i])?;
        }
        if let Some(f) = &s.forces {
            row(w, f[i])?;
        }
        if let Some(a) = aparam.filter(|_| aparam_width > 0) {
            for x in &a[i * aparam_width..(i + 1) * aparam_width] {
                write!(w, " {x:?}")?;
            }
        }
        if let Some(m) = &s.masses {
            write!(w, " {:?}", m[i])?;
        }
        writeln!(w)?;
    }
    Ok(())
}

/// A title that survives inside double quotes on one line.
fn quoted(title: &str) -> String {
    let mut out = String::new();
    for c in title.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
