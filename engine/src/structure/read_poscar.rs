//! VASP's POSCAR and CONTCAR (VASP 5 and newer).

use super::check::{spans_volume, volume};
use super::error::StructureError;
use super::lines::{real, Lines};
use super::symbols::symbol;
use super::Structure;

/// Reads the one frame of a POSCAR. `types` are the elements of a file without a line of symbols (VASP 4).
pub(crate) fn read_poscar(mut lines: Lines, types: &[String]) -> Result<Structure, StructureError> {
    let mut s = Structure { title: lines.need("the comment line")?.trim().to_string(), ..Structure::default() };
    let scale = numbers(lines.need("the scaling factor")?);
    let scale = match scale.as_deref() {
        Some([one]) if *one != 0.0 => [*one; 3],
        Some([x, y, z]) if *x > 0.0 && *y > 0.0 && *z > 0.0 => [*x, *y, *z],
        _ => {
            return Err(
                lines.syntax("the scaling factor: one number (negative: the cell volume) or three positive ones")
            )
        }
    };
    let mut cell = [[0.0; 3]; 3];
    for row in &mut cell {
        lines.need("a lattice vector")?;
        *row = vector(&lines)?;
    }
    let scale = if scale[0] < 0.0 {
        if !spans_volume(&cell) {
            return Err(StructureError::ZeroVolume { path: lines.path.clone(), frame: 1, volume: volume(&cell).abs() });
        }
        [(-scale[0] / volume(&cell).abs()).cbrt(); 3]
    } else {
        scale
    };
    cell = cell.map(|row| [row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]]);
    s.cell = Some(cell);
    let species = symbols_and_counts(&mut lines, types)?;
    let count: usize = species.iter().map(|(_, n)| *n as usize).sum();

    let mut mode = lines.need("Direct or Cartesian")?.trim().to_string();
    if mode.starts_with(['S', 's']) {
        mode = lines.need("Direct or Cartesian")?.trim().to_string();
    }
    let cartesian = match mode.chars().next() {
        Some('C' | 'c' | 'K' | 'k') => true,
        Some('D' | 'd') => false,
        _ => return Err(lines.syntax("Direct or Cartesian")),
    };
    // Symbols grow with the lines read: a lying count allocates nothing.
    let expanded = species.iter().flat_map(|(element, n)| std::iter::repeat_n(*element, *n as usize));
    for (atom, element) in expanded.enumerate() {
        lines.need(&format!("atom {} of {count}", atom + 1))?;
        let v = vector(&lines)?;
        s.positions.push(if cartesian {
            [v[0] * scale[0], v[1] * scale[1], v[2] * scale[2]]
        } else {
            combine(&cell, v)
        });
        s.symbols.push(element.to_string());
        s.original.push(atom);
    }
    s.velocities = velocities(&mut s.remarks, &mut lines, count)?;
    Ok(s)
}

/// Elements with their numbers of atoms, in the order of the positions.
fn symbols_and_counts(lines: &mut Lines, types: &[String]) -> Result<Vec<(&'static str, u32)>, StructureError> {
    let line = lines.need("the line of element symbols")?;
    let mut words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
    let is_count = |w: &String| w.parse::<u32>().is_ok();
    if !words.is_empty() && words.iter().all(is_count) {
        if types.len() != words.len() {
            return Err(StructureError::Needs {
                path: lines.path.clone(),
                what: format!("no line of element symbols before the {} counts (VASP 4 format)", words.len()),
                advice: "add that line, or give the elements with --types A,B,...".to_string(),
            });
        }
        lines.back();
        words = types.to_vec();
    }
    if words.is_empty() {
        return Err(lines.syntax("the line of element symbols"));
    }
    let mut elements = Vec::new();
    for word in &words {
        // `Ti_pv/2a8f...` names the pseudopotential and its hash.
        let bare = word.split(['/', '_']).next().unwrap_or("");
        elements.push(symbol(bare).ok_or_else(|| lines.syntax_found("an element symbol", word.as_str()))?);
    }
    let counts: Option<Vec<u32>> =
        lines.need("the numbers of atoms")?.split_whitespace().map(|w| w.parse().ok()).collect();
    let counts = counts.filter(|c| c.len() == elements.len());
    let counts = counts.ok_or_else(|| lines.syntax(format!("{} numbers of atoms", elements.len())))?;
    let total: u64 = counts.iter().map(|c| u64::from(*c)).sum();
    if total > u64::from(u32::MAX) {
        return Err(lines.syntax("at most 4294967295 atoms"));
    }
    Ok(elements.into_iter().zip(counts).collect())
}

/// The optional velocity block: Cartesian A/fs, or absent.
fn velocities(
    remarks: &mut Vec<String>,
    lines: &mut Lines,
    count: usize,
) -> Result<Option<Vec<[f64; 3]>>, StructureError> {
    let Some(mode) = lines.next()? else { return Ok(None) };
    let mode = mode.trim().to_ascii_lowercase();
    if !mode.is_empty() && !mode.starts_with(['c', 'k']) {
        remarks.push(format!("the block \"{mode}\" after the positions is not read (only Cartesian velocities are)"));
        return Ok(None);
    }
    if lines.next_filled()?.is_none() {
        return Ok(None);
    }
    lines.back();
    let mut velocities = Vec::new();
    for atom in 0..count {
        lines.need(&format!("velocity {} of {count}", atom + 1))?;
        velocities.push(vector(lines)?.map(|x| x * 1000.0));
    }
    Ok(Some(velocities))
}

fn numbers(line: &str) -> Option<Vec<f64>> {
    line.split_whitespace().map_while(|w| real(w).map(|x| x.is_finite().then_some(x))).collect()
}

/// The three numbers a line begins with; flags of selective dynamics and comments may follow.
fn vector(lines: &Lines) -> Result<[f64; 3], StructureError> {
    let mut words = lines.current().split_whitespace();
    let mut v = [0.0; 3];
    for x in &mut v {
        *x = words.next().and_then(real).ok_or_else(|| lines.syntax("three numbers"))?;
    }
    Ok(v)
}

/// `v[0] * a + v[1] * b + v[2] * c`.
pub(crate) fn combine(cell: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|k| v[0] * cell[0][k] + v[1] * cell[1][k] + v[2] * cell[2][k])
}
