//! LAMMPS text dumps, frame by frame. Atoms come back in the order of their ids.

use super::adopt::Atoms;
use super::error::{shorten, StructureError};
use super::lammps::{bad_units, cell, Units};
use super::lines::{real, Lines};
use super::read_poscar::combine;
use super::symbols::symbol;
use super::Structure;

pub(crate) struct DumpFrames {
    lines: Lines,
    /// Elements of the types 1, 2, ...
    types: Vec<&'static str>,
    /// Atoms in the order of their ids, from another file.
    atoms: Option<Atoms>,
    units: Option<Units>,
}

/// Id, element, and position, velocity and force of one atom.
type Row = (i64, Option<&'static str>, [[f64; 3]; 3]);

/// Where the columns stand that we use.
struct Columns {
    width: usize,
    id: Option<usize>,
    element: Option<usize>,
    kind: Option<usize>,
    position: [usize; 3],
    scaled: bool,
    velocity: Option<[usize; 3]>,
    force: Option<[usize; 3]>,
}

struct Bounds {
    origin: [f64; 3],
    cell: [[f64; 3]; 3],
    periodic: bool,
    /// The line does not say what is periodic.
    silent: bool,
}

impl DumpFrames {
    pub(crate) fn new(lines: Lines, types: Vec<&'static str>, atoms: Option<Atoms>) -> Self {
        Self { lines, types, atoms, units: None }
    }

    fn frame(&mut self) -> Result<Option<Structure>, StructureError> {
        let mut s = Structure::default();
        let (mut count, mut bounds) = (None, None);
        let mut begun = false;
        let mut time = None;
        loop {
            let lines = &mut self.lines;
            let Some(item) = lines.next_filled()? else {
                return if begun { Err(lines.truncated("ITEM: ATOMS")) } else { Ok(None) };
            };
            let Some(item) = item.trim().strip_prefix("ITEM:").map(|i| i.trim().to_string()) else {
                return Err(lines.syntax("ITEM: TIMESTEP or another ITEM"));
            };
            begun = true;
            if item == "TIMESTEP" {
                let step = lines.need("the time step")?.trim().parse().ok();
                s.step = Some(step.ok_or_else(|| lines.syntax("the time step"))?);
            } else if item == "TIME" {
                let value = real(lines.need("the time")?);
                time = Some(value.filter(|t| t.is_finite()).ok_or_else(|| lines.syntax("the time"))?);
            } else if item == "UNITS" {
                let name = lines.need("the unit style")?.trim().to_string();
                self.units = Some(Units::named(&name).ok_or_else(|| bad_units(&lines.path, &name))?);
            } else if item == "NUMBER OF ATOMS" {
                let n = lines.need("the number of atoms")?.trim().parse::<u32>().ok();
                count = Some(n.ok_or_else(|| lines.syntax("the number of atoms"))?);
            } else if let Some(rest) = item.strip_prefix("BOX BOUNDS") {
                bounds = Some(read_bounds(lines, rest)?);
            } else if let Some(rest) = item.strip_prefix("ATOMS") {
                let (Some(count), Some(bounds)) = (count, bounds) else {
                    return Err(lines.syntax("ITEM: NUMBER OF ATOMS and ITEM: BOX BOUNDS before ITEM: ATOMS"));
                };
                s.time = time.map(|t| t * self.units.unwrap_or(Units::METAL).time);
                if let Some(atoms) = &self.atoms {
                    atoms.expect(&lines.path, lines.frame, count.into())?;
                }
                self.atoms_of(&mut s, rest, count as usize, &bounds)?;
                return Ok(Some(match &self.atoms {
                    Some(atoms) => atoms.adopt(s),
                    None => s,
                }));
            } else {
                return Err(lines.syntax("a known ITEM"));
            }
        }
    }

    fn atoms_of(
        &mut self,
        s: &mut Structure,
        header: &str,
        count: usize,
        bounds: &Bounds,
    ) -> Result<(), StructureError> {
        let columns = columns(header)
            .ok_or_else(|| self.lines.syntax("x y z, xu yu zu, xs ys zs or xsu ysu zsu among the columns"))?;
        let units = self.units.unwrap_or(Units::METAL);
        let mut rows: Vec<Row> = Vec::new();
        for atom in 0..count {
            self.lines.need(&format!("atom {} of {count}", atom + 1))?;
            let lines = &self.lines;
            let fields: Vec<&str> = lines.current().split_whitespace().collect();
            if fields.len() != columns.width {
                return Err(lines.syntax(format!("{} columns for atom {} of {count}", columns.width, atom + 1)));
            }
            let vector = |at: [usize; 3]| -> Result<[f64; 3], StructureError> {
                let mut v = [0.0; 3];
                for (x, k) in v.iter_mut().zip(at) {
                    *x = real(fields[k]).ok_or_else(|| lines.syntax_found("a number", shorten(fields[k])))?;
                }
                Ok(v)
            };
            let id = match columns.id {
                Some(k) => fields[k].parse().map_err(|_| lines.syntax_found("an atom id", shorten(fields[k])))?,
                None => atom as i64,
            };
            let mut x = vector(columns.position)?;
            if columns.scaled {
                let v = combine(&bounds.cell, x);
                x = [0, 1, 2].map(|k| bounds.origin[k] + v[k]);
            }
            let v = columns.velocity.map(vector).transpose()?.unwrap_or_default().map(|x| x * units.velocity);
            let f = columns.force.map(vector).transpose()?.unwrap_or_default().map(|x| x * units.force);
            rows.push((id, self.element(&columns, &fields, id)?, [x, v, f]));
        }
        rows.sort_by_key(|(id, ..)| *id);
        if let Some(pair) = rows.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(self.lines.syntax_found("every atom id once", format!("id {} twice", pair[0].0)));
        }
        s.symbols = rows.iter().map(|(_, e, _)| e.unwrap_or("X").to_string()).collect();
        s.original = (0..count).collect();
        s.positions = rows.iter().map(|(.., [x, _, _])| *x).collect();
        s.velocities = columns.velocity.map(|_| rows.iter().map(|(.., [_, v, _])| *v).collect());
        s.forces = columns.force.map(|_| rows.iter().map(|(.., [_, _, f])| *f).collect());
        if bounds.periodic {
            s.cell = Some(bounds.cell);
        }
        if bounds.silent {
            s.remarks.push(
                "BOX BOUNDS does not say what is periodic: all three directions are taken as periodic".to_string(),
            );
        }
        if self.units.is_none() && (s.velocities.is_some() || s.forces.is_some()) {
            s.remarks.push(
                "the dump names no units: velocities are taken in A/ps and forces in eV/A (units metal)".to_string(),
            );
        }
        Ok(())
    }

    /// Element of one line; `None` where another file names the atoms.
    fn element(&self, columns: &Columns, fields: &[&str], id: i64) -> Result<Option<&'static str>, StructureError> {
        if self.atoms.is_some() {
            return Ok(None);
        }
        let unknown = |seen: &str, hint: &str| StructureError::UnknownElement {
            path: self.lines.path.clone(),
            frame: self.lines.frame,
            atom: usize::try_from(id).unwrap_or(0),
            seen: seen.to_string(),
            hint: hint.to_string(),
        };
        let advice = "; give one element per type: --types O,H";
        if let Some(k) = columns.kind.filter(|_| !self.types.is_empty()) {
            let kind = fields[k].parse::<usize>().ok().and_then(|t| t.checked_sub(1));
            return match kind.and_then(|t| self.types.get(t)) {
                Some(element) => Ok(Some(element)),
                None => Err(unknown(&format!("type {} of {} types", fields[k], self.types.len()), advice)),
            };
        }
        match (columns.element, columns.kind) {
            (Some(k), _) => symbol(fields[k]).map(Some).ok_or_else(|| unknown(fields[k], advice)),
            // `dump_modify ... types labels` writes names.
            (None, Some(k)) => {
                symbol(fields[k]).map(Some).ok_or_else(|| unknown(&format!("type {}", fields[k]), advice))
            }
            (None, None) => Err(unknown("neither element nor type column", "; give the atoms with --atoms FILE")),
        }
    }
}

impl Iterator for DumpFrames {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame().transpose();
        self.lines.frame += 1;
        frame
    }
}

fn columns(header: &str) -> Option<Columns> {
    let names: Vec<&str> = header.split_whitespace().collect();
    let at = |name: &str| names.iter().position(|n| *n == name);
    let three = |a: &str, b: &str, c: &str| Some([at(a)?, at(b)?, at(c)?]);
    let direct = three("x", "y", "z").or_else(|| three("xu", "yu", "zu"));
    let position = direct.or_else(|| three("xs", "ys", "zs")).or_else(|| three("xsu", "ysu", "zsu"))?;
    Some(Columns {
        width: names.len(),
        id: at("id"),
        element: at("element"),
        kind: at("type"),
        position,
        scaled: direct.is_none(),
        velocity: three("vx", "vy", "vz"),
        force: three("fx", "fy", "fz"),
    })
}

/// The three lines of a box and the flags behind `BOX BOUNDS`.
fn read_bounds(lines: &mut Lines, flags: &str) -> Result<Bounds, StructureError> {
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let general = flags.starts_with(&["abc", "origin"]);
    let tilted = flags.starts_with(&["xy", "xz", "yz"]);
    let boundary = &flags[if general { 2 } else { 3 * usize::from(tilted) }..];
    let (periodic, silent) = match boundary {
        [] => (true, true),
        ["pp", "pp", "pp"] => (true, false),
        [a, b, c] if [a, b, c].iter().all(|f| f.len() == 2 && !f.contains('p')) => (false, false),
        [a, b, c] if [a, b, c].iter().all(|f| f.len() == 2) => {
            return Err(StructureError::MixedPeriodicity {
                path: lines.path.clone(),
                frame: lines.frame,
                pbc: boundary.join(" "),
            })
        }
        _ => return Err(lines.syntax("ITEM: BOX BOUNDS [xy xz yz] and three boundary flags such as pp")),
    };
    let width = if general { 4 } else { 2 + usize::from(tilted) };
    let mut rows = [[0.0; 4]; 3];
    for row in &mut rows {
        let numbers: Option<Vec<f64>> = lines.need("a line of box bounds")?.split_whitespace().map(real).collect();
        let numbers = numbers.filter(|n| n.len() == width || (width == 2 && n.len() == 3 && n[2] == 0.0));
        let numbers = numbers.ok_or_else(|| lines.syntax(format!("{width} box bounds")))?;
        for (x, n) in row.iter_mut().zip(numbers) {
            *x = n;
        }
    }
    if general {
        let cell = rows.map(|r| [r[0], r[1], r[2]]);
        return Ok(Bounds { origin: rows.map(|r| r[3]), cell, periodic, silent });
    }
    let [xy, xz, yz] = if tilted { rows.map(|r| r[2]) } else { [0.0; 3] };
    // The bounds of a tilted box are those of the box around it.
    let extra_lo = [xy.min(xz).min(xy + xz).min(0.0), yz.min(0.0), 0.0];
    let extra_hi = [xy.max(xz).max(xy + xz).max(0.0), yz.max(0.0), 0.0];
    let origin = [0, 1, 2].map(|k| rows[k][0] - extra_lo[k]);
    let length = [0, 1, 2].map(|k| rows[k][1] - extra_hi[k] - origin[k]);
    Ok(Bounds { origin, cell: cell(length, [xy, xz, yz]), periodic, silent })
}
