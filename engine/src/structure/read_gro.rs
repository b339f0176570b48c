//! GROMACS `.gro`: fixed columns of any precision, one or many frames. nm and nm/ps become A and A/ps.

use super::elements::{Elements, Resolved};
use super::error::{shorten, StructureError};
use super::lines::{real, reals, Lines};
use super::Structure;

/// A per nm.
const NM: f64 = 10.0;

pub(crate) struct GroFrames {
    lines: Lines,
    elements: Elements,
}

impl GroFrames {
    pub(crate) fn new(lines: Lines, elements: Elements) -> Self {
        Self { lines, elements }
    }

    fn frame(&mut self) -> Result<Option<Structure>, StructureError> {
        let lines = &mut self.lines;
        let Some(title) = lines.next()? else { return Ok(None) };
        let title = title.trim().to_string();
        let Some(count) = lines.next()? else {
            // A blank line at the end of the file is no frame.
            return if title.is_empty() { Ok(None) } else { Err(lines.truncated("the number of atoms")) };
        };
        let Ok(count) = count.trim().parse::<u32>() else { return Err(lines.syntax("the number of atoms")) };
        let mut s = Structure { file_atoms: count as usize, ..Structure::default() };
        s.time = after(&title, "t=").and_then(|t| t.parse().ok()).filter(|t: &f64| t.is_finite());
        s.step = after(&title, "step=").and_then(|t| t.parse().ok());
        s.title = title;
        let mut velocities = Vec::new();
        let mut width = 0;
        let mut dropped = 0usize;
        for atom in 0..count as usize {
            let frame = lines.frame;
            lines.need(&format!("atom {} of {count}", atom + 1))?;
            let line = lines.current();
            if atom == 0 {
                width = column_width(line).ok_or_else(|| {
                    lines.syntax("residue number, residue, atom name, atom number (5 columns each) and x y z with decimal points")
                })?;
            }
            let bad = |what: &str| lines.syntax(format!("{what} of atom {} of {count} in its columns", atom + 1));
            let text = |from: usize, to: usize| line.get(from..to).map(str::trim);
            let number: i64 = text(0, 5).and_then(|t| t.parse().ok()).ok_or_else(|| bad("the residue number"))?;
            let residue = text(5, 10).ok_or_else(|| bad("the residue name"))?;
            let name = text(10, 15).filter(|n| !n.is_empty()).ok_or_else(|| bad("the atom name"))?;
            let vector = |from: usize| {
                let mut v = [0.0; 3];
                for (k, x) in v.iter_mut().enumerate() {
                    let at = from + k * width;
                    // The last column may be cut of trailing blanks, not of digits.
                    *x = line.get(at..(at + width).min(line.len())).and_then(real)?;
                }
                Some(v)
            };
            let position = vector(20).ok_or_else(|| bad("x y z"))?;
            let velocity = match line.get(20 + 3 * width..).map(str::trim) {
                Some(rest) if !rest.is_empty() => Some(vector(20 + 3 * width).ok_or_else(|| bad("vx vy vz"))?),
                _ => None,
            };
            let element = match self.elements.resolve(frame, atom, residue, name, "")? {
                Resolved::Element(element) => element,
                Resolved::Virtual => {
                    dropped += 1;
                    continue;
                }
            };
            if let Some(v) = velocity {
                velocities.push(v.map(|x| x * NM));
            }
            s.symbols.push(element.to_string());
            s.positions.push(position.map(|x| x * NM));
            s.original.push(atom);
            s.residues.push(residue.to_string());
            s.residue_numbers.push(number);
            s.names.push(name.to_string());
        }
        lines.need("the box line")?;
        let numbers = reals(lines.current()).unwrap_or_default();
        s.cell = cell(&numbers).ok_or_else(|| lines.syntax_found("3 or 9 box numbers", shorten(lines.current())))?;
        if velocities.len() == s.len() {
            s.velocities = (!velocities.is_empty()).then_some(velocities);
        } else if !velocities.is_empty() {
            return Err(StructureError::Count {
                path: lines.path.clone(),
                frame: lines.frame,
                what: "velocities, of all atoms or of none".to_string(),
                expected: s.len() as u64,
                found: velocities.len() as u64,
            });
        }
        if dropped > 0 {
            s.remarks.push(format!("{dropped} virtual sites are dropped"));
        }
        Ok(Some(s))
    }
}

impl Iterator for GroFrames {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame().transpose();
        self.lines.frame += 1;
        frame
    }
}

/// Distance of the decimal points of x and y: the width of every number.
fn column_width(line: &str) -> Option<usize> {
    let numbers = line.get(20..)?;
    let mut points = numbers.bytes().enumerate().filter(|(_, b)| *b == b'.').map(|(i, _)| i);
    let (x, y) = (points.next()?, points.next()?);
    Some(y - x).filter(|w| (2..=64).contains(w))
}

/// The word that follows the last `key`, which begins a word itself.
fn after<'a>(title: &'a str, key: &str) -> Option<&'a str> {
    let (before, rest) = title.rsplit_once(key)?;
    rest.split_whitespace().next().filter(|_| before.is_empty() || before.ends_with(char::is_whitespace))
}

/// `None` = not 3 or 9 numbers; a box of zeros means no periodicity.
#[allow(clippy::type_complexity)]
fn cell(v: &[f64]) -> Option<Option<[[f64; 3]; 3]>> {
    if v.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let rows = match *v {
        [x, y, z] => [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]],
        // The file's order is v1x v2y v3z v1y v1z v2x v2z v3x v3y.
        [ax, by, cz, ay, az, bx, bz, cx, cy] => [[ax, ay, az], [bx, by, bz], [cx, cy, cz]],
        _ => return None,
    };
    Some(v.iter().any(|x| *x != 0.0).then(|| rows.map(|row| row.map(|x| x * NM))))
}
