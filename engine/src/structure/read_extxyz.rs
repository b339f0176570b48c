//! Extended XYZ (the dialect of ASE) and plain XYZ, frame by frame.
//!
//! Header keys that are used (any capitalisation): `Lattice` (9 numbers, rows are the vectors, A), `pbc`, `Properties`,
//! `energy` (else `free_energy`, `ref_energy`, `dft_energy`), `virial` or `virials` (eV, minus the strain derivative of the
//! energy, column-major as ASE writes it), `stress` (eV/A^3, ASE's sign: virial = -volume * stress; 6 Voigt or 9 numbers),
//! `fparam`, `charge_spin`, `step`, `time` (ps), `title`, `vel_unit`. Columns: `species` or `Z` (atomic number), `pos`, `forces` or `force`
//! (eV/A), `momenta` (ASE units, sqrt(eV u)), `vel`, `velo`, `velocity` or `velocities` (in `vel_unit`: `A/ps`, `A/fs`, `nm/ps`
//! or `ase`; without it ASE units, A sqrt(eV/u), which a remark says), `masses` (g/mol; also those of the momenta), `aparam`. Everything
//! else is ignored, `mass` too: libAtoms writes it in eV fs^2/A^2.

use super::error::{shorten, StructureError};
use super::lines::{real, reals, Lines};
use super::symbols::{symbol, symbol_of_number};
use super::Structure;
use crate::element::mass;

/// A/ps in one ASE unit of velocity, A sqrt(eV/u): sqrt(e / u) with the CODATA 2014 constants that ASE uses.
pub const ASE_VELOCITY: f64 = 98.226_947_884_640_64;

/// Iterator over the frames of one file.
pub(crate) struct ExtxyzFrames {
    lines: Lines,
    /// Elements of numbers in the species column (LAMMPS writes types there).
    types: Vec<&'static str>,
}

impl ExtxyzFrames {
    pub(crate) fn new(lines: Lines, types: Vec<&'static str>) -> Self {
        Self { lines, types }
    }
}

impl Iterator for ExtxyzFrames {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = read_frame(&mut self.lines, &self.types).transpose();
        self.lines.frame += 1;
        frame
    }
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Species,
    Number,
    Position,
    Force,
    Velocity,
    Momentum,
    Mass,
    Aparam,
    Other,
}

struct Layout {
    columns: Vec<(Column, usize)>,
    /// Tokens a line must have.
    width: usize,
    /// More tokens than `width` are fine (plain XYZ).
    open: bool,
}

fn read_frame(lines: &mut Lines, types: &[&'static str]) -> Result<Option<Structure>, StructureError> {
    let Some(count) = lines.next_filled()? else { return Ok(None) };
    let Ok(count) = count.trim().parse::<u32>() else { return Err(lines.syntax("the number of atoms")) };
    lines.need("the comment line")?;
    let header = Header::parse(lines)?;
    let layout = match header.get(&["properties"]) {
        Some(text) => layout(text).ok_or_else(|| {
            lines.syntax_found("Properties=name:type:columns:... with species (or Z) and pos:R:3", shorten(text))
        })?,
        None => Layout { columns: vec![(Column::Species, 1), (Column::Position, 3)], width: 4, open: true },
    };
    let mut s = Structure { title: header.title(), ..Structure::default() };
    header.fill(&mut s, lines)?;
    let velocity_unit = header.velocity_unit(lines)?;
    read_atoms(&mut s, lines, count as usize, &layout, velocity_unit, types)?;
    if layout.columns.iter().any(|(c, _)| *c == Column::Velocity) && header.get(&["vel_unit"]).is_none() {
        s.remarks.push("velocities without vel_unit are taken in ASE units, A sqrt(eV/u) = 98.227 A/ps".to_string());
    }
    Ok(Some(s))
}

fn layout(text: &str) -> Option<Layout> {
    let parts: Vec<&str> = text.split(':').collect();
    let mut columns = Vec::new();
    let mut width = 0usize;
    for part in parts.chunks(3) {
        let [name, kind, n] = part else { return None };
        let n: usize = n.parse().ok().filter(|n| (1..=4096).contains(n))?;
        let vector = n == 3 && *kind == "R";
        let column = match name.to_ascii_lowercase().as_str() {
            "species" | "symbols" | "element" if n == 1 => Column::Species,
            "z" | "numbers" if n == 1 => Column::Number,
            "pos" | "positions" if vector => Column::Position,
            "forces" | "force" | "ref_forces" | "dft_forces" if vector => Column::Force,
            "vel" | "velo" | "velocity" | "velocities" if vector => Column::Velocity,
            "momenta" if vector => Column::Momentum,
            "masses" if n == 1 && matches!(*kind, "R" | "I") => Column::Mass,
            "aparam" if *kind == "R" => Column::Aparam,
            _ => Column::Other,
        };
        let repeated = columns.iter().any(|(c, _)| *c == column);
        columns.push((if repeated { Column::Other } else { column }, n));
        width += n;
    }
    let has = |wanted| columns.iter().any(|(c, _)| *c == wanted);
    ((has(Column::Species) || has(Column::Number)) && has(Column::Position)).then_some(Layout {
        columns,
        width,
        open: false,
    })
}

fn read_atoms(
    s: &mut Structure,
    lines: &mut Lines,
    count: usize,
    layout: &Layout,
    velocity_unit: f64,
    types: &[&'static str],
) -> Result<(), StructureError> {
    let has = |wanted| layout.columns.iter().any(|(c, _)| *c == wanted);
    let (mut velocities, mut forces, mut masses, mut aparam) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut deuterium = 0usize;
    for atom in 0..count {
        lines.need(&format!("atom {} of {count}", atom + 1))?;
        let tokens: Vec<&str> = lines.current().split_whitespace().collect();
        if tokens.len() < layout.width || (tokens.len() > layout.width && !layout.open) {
            return Err(lines.syntax(format!("{} columns for atom {} of {count}", layout.width, atom + 1)));
        }
        let mut at = 0;
        let (mut element, mut momentum) = (None, None);
        for &(column, n) in &layout.columns {
            let cells = &tokens[at..at + n];
            at += n;
            match column {
                Column::Other => {}
                Column::Species | Column::Number => {
                    if element.is_none() || column == Column::Species {
                        let found = match (column, cells[0].parse::<usize>()) {
                            (Column::Number, Ok(z)) => symbol_of_number(z),
                            (Column::Species, Ok(kind)) => types.get(kind.wrapping_sub(1)).copied(),
                            _ => symbol(cells[0]),
                        };
                        let found = found.ok_or_else(|| unknown(lines, atom, cells[0]))?;
                        deuterium += usize::from(matches!(cells[0], "D" | "T"));
                        element = Some(found);
                    }
                }
                Column::Mass => {
                    masses.push(real(cells[0]).ok_or_else(|| lines.syntax_found("a mass", shorten(cells[0])))?);
                }
                Column::Aparam => {
                    for cell in cells {
                        aparam.push(real(cell).ok_or_else(|| lines.syntax_found("a number", shorten(cell)))?);
                    }
                }
                Column::Position | Column::Force | Column::Velocity | Column::Momentum => {
                    let mut v = [0.0; 3];
                    for (x, cell) in v.iter_mut().zip(cells) {
                        *x = real(cell).ok_or_else(|| lines.syntax_found("a number", shorten(cell)))?;
                    }
                    match column {
                        Column::Position => s.positions.push(v),
                        Column::Force => forces.push(v),
                        Column::Velocity if velocity_unit == 1.0 => velocities.push(v),
                        Column::Velocity => velocities.push(v.map(|x| x * velocity_unit)),
                        _ => momentum = Some(v),
                    }
                }
            }
        }
        let element = element.unwrap_or("X");
        if let (Some(p), false) = (momentum, has(Column::Velocity)) {
            // As ASE does, by the file's own masses. A virtual atom has no mass and does not move by itself.
            let own = if has(Column::Mass) { masses.last().copied() } else { mass(element) };
            velocities.push(own.filter(|m| *m != 0.0).map_or([0.0; 3], |m| p.map(|x| x / m * ASE_VELOCITY)));
        }
        s.symbols.push(element.to_string());
        s.original.push(atom);
    }
    s.velocities = (has(Column::Velocity) || has(Column::Momentum)).then_some(velocities);
    s.forces = has(Column::Force).then_some(forces);
    s.masses = has(Column::Mass).then_some(masses);
    s.aparam = has(Column::Aparam).then_some(aparam);
    if deuterium > 0 {
        s.remarks.push(format!("{deuterium} deuterium or tritium atoms are read as hydrogen"));
    }
    Ok(())
}

fn unknown(lines: &Lines, atom: usize, seen: &str) -> StructureError {
    let hint = if seen.parse::<u64>().is_ok() {
        "; a number may be a type (give the elements of the types with --types O,H) or an atomic number (name the column Z:I:1)"
    } else {
        "; use element symbols, or X for a virtual atom without interactions"
    };
    StructureError::UnknownElement {
        path: lines.path.clone(),
        frame: lines.frame,
        atom: atom + 1,
        seen: seen.to_string(),
        hint: hint.to_string(),
    }
}

/// Key-value pairs of a comment line.
struct Header {
    pairs: Vec<(String, String)>,
    /// A plain comment that only looks like key-value pairs: unreadable values are no errors.
    plain: bool,
    comment: String,
}

impl Header {
    fn parse(lines: &Lines) -> Result<Self, StructureError> {
        let comment = lines.current().trim().to_string();
        let (pairs, complete) = key_values(&comment);
        let is = |key: &str| pairs.iter().any(|(k, _)| k == key);
        let plain = !is("properties") && !is("lattice");
        if !plain && !complete {
            return Err(lines.syntax("a closing quote or bracket"));
        }
        Ok(Self { pairs, plain, comment })
    }

    /// Value of the first of these keys that is there; of a repeated key the last value, as ASE takes it.
    fn get(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.pairs.iter().rev().find(|(k, _)| k == key)).map(|(_, v)| v.as_str())
    }

    fn title(&self) -> String {
        match self.get(&["title", "comment"]) {
            Some(title) => title.to_string(),
            None if self.plain => self.comment.clone(),
            None => String::new(),
        }
    }

    /// Finite numbers of the first of these keys that is there: as many as `counts` allow, any number where they are empty. In a plain comment, which may
    /// mean anything, what is none is as if it were not there.
    fn numbers(&self, lines: &Lines, keys: &[&str], counts: &[usize]) -> Result<Option<Vec<f64>>, StructureError> {
        let Some(text) = self.get(keys) else { return Ok(None) };
        let right = |n: usize| if counts.is_empty() { n > 0 } else { counts.contains(&n) };
        match reals(text) {
            Some(v) if right(v.len()) && v.iter().all(|x| x.is_finite()) => Ok(Some(v)),
            _ if self.plain => Ok(None),
            _ => {
                let counts: Vec<String> = counts.iter().map(|n| format!("{n} ")).collect();
                let expected = format!("{}= with {}finite numbers", keys[0], counts.join("or "));
                Err(lines.syntax_found(expected, shorten(text)))
            }
        }
    }

    fn fill(&self, s: &mut Structure, lines: &Lines) -> Result<(), StructureError> {
        let lattice = self.numbers(lines, &["lattice"], &[9])?.map(|v| [0, 3, 6].map(|i| [v[i], v[i + 1], v[i + 2]]));
        if self.periodic(lines, lattice.is_some())? {
            s.cell = lattice;
        }
        let energy = ["energy", "free_energy", "ref_energy", "dft_energy"];
        s.energy = self.numbers(lines, &energy, &[1])?.map(|v| v[0]);
        if let Some(v) = self.numbers(lines, &["virial", "virials", "ref_virial"], &[9])? {
            s.virial = Some([0, 1, 2].map(|i| [v[i], v[i + 3], v[i + 6]]));
        } else if let (Some(v), Some(cell)) = (self.numbers(lines, &["stress"], &[6, 9])?, s.cell) {
            let volume = super::check::volume(&cell).abs();
            let full = match v[..] {
                [xx, yy, zz, yz, xz, xy] => [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]],
                _ => [0, 1, 2].map(|i| [v[i], v[i + 3], v[i + 6]]),
            };
            s.virial = Some(full.map(|row| row.map(|x| -volume * x)));
        }
        s.charge_spin = self.numbers(lines, &["charge_spin"], &[2])?.map(|v| [v[0], v[1]]);
        // Not the model's default where it cannot be read: whoever writes the key means what it says.
        s.fparam = self.numbers(lines, &["fparam"], &[])?;
        s.time = self.numbers(lines, &["time"], &[1])?.map(|v| v[0]);
        s.step = self.get(&["step"]).and_then(|t| t.parse().ok());
        Ok(())
    }

    fn periodic(&self, lines: &Lines, has_lattice: bool) -> Result<bool, StructureError> {
        let Some(text) = self.get(&["pbc"]) else { return Ok(has_lattice) };
        let flags: Option<Vec<bool>> = text
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'))
            .filter(|t| !t.is_empty())
            .map(|t| match t.to_ascii_lowercase().as_str() {
                "t" | "true" | "1" | ".true." => Some(true),
                "f" | "false" | "0" | ".false." => Some(false),
                _ => None,
            })
            .collect();
        match flags.as_deref() {
            Some([one]) | Some([one, _, _]) if flags.iter().flatten().all(|f| f == one) => {
                if *one && !has_lattice {
                    return Err(lines.syntax("Lattice=\"...\" with pbc=\"T T T\""));
                }
                Ok(*one)
            }
            Some([_, _, _]) => Err(StructureError::MixedPeriodicity {
                path: lines.path.clone(),
                frame: lines.frame,
                pbc: text.to_string(),
            }),
            _ if self.plain => Ok(has_lattice),
            _ => Err(lines.syntax_found("pbc=\"T T T\" or pbc=\"F F F\"", shorten(text))),
        }
    }

    /// A/ps in one unit of the velocity columns.
    fn velocity_unit(&self, lines: &Lines) -> Result<f64, StructureError> {
        match self.get(&["vel_unit"]).map(str::to_ascii_lowercase).as_deref() {
            None | Some("ase") => Ok(ASE_VELOCITY),
            Some("a/ps") => Ok(1.0),
            Some("a/fs") => Ok(1000.0),
            Some("nm/ps") => Ok(10.0),
            Some(other) => Err(lines.syntax_found("vel_unit=A/ps, A/fs, nm/ps or ase", shorten(other))),
        }
    }
}

/// Splits `key=value key="quoted value" key={...} flag`. Keys come back in lower case, a flag with the value `T`. The
/// second result is false if a quote or bracket stays open.
fn key_values(text: &str) -> (Vec<(String, String)>, bool) {
    let mut pairs = Vec::new();
    let mut rest = text.chars().peekable();
    let mut complete = true;
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return (pairs, complete);
        }
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(c);
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let mut value = "T".to_string();
        if rest.next_if_eq(&'=').is_some() {
            while rest.next_if(|c| c.is_whitespace()).is_some() {}
            let (v, closed) = value_of(&mut rest);
            value = v;
            complete &= closed;
        }
        pairs.push((key.trim_matches(['"', '\'']).to_ascii_lowercase(), value));
    }
}

fn value_of(rest: &mut std::iter::Peekable<std::str::Chars>) -> (String, bool) {
    let (open, close) = match rest.peek() {
        Some('"') => ('"', '"'),
        Some('\'') => ('\'', '\''),
        Some('{') => ('{', '}'),
        Some('[') => ('[', ']'),
        _ => {
            let mut value = String::new();
            while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
                value.push(c);
            }
            return (value, true);
        }
    };
    rest.next();
    let mut value = String::new();
    let mut depth = 1u64;
    while let Some(c) = rest.next() {
        if c == '\\' {
            value.extend(rest.next());
            continue;
        }
        if c == close {
            depth -= 1;
            if depth == 0 {
                return (value, true);
            }
        } else if c == open {
            depth += 1;
        }
        value.push(c);
    }
    (value, false)
}
