//! PDB: ATOM and HETATM, CRYST1, MODEL by MODEL, one alternate location per residue.

use std::collections::HashMap;

use super::elements::{Elements, Resolved};
use super::error::StructureError;
use super::lines::Lines;
use super::Structure;

pub(crate) struct PdbFrames {
    lines: Lines,
    elements: Elements,
    cell: Option<[[f64; 3]; 3]>,
    title: String,
    /// Remarks on the header, given with the first frame.
    remarks: Vec<String>,
}

/// One ATOM or HETATM record.
struct Record {
    name: String,
    alternate: char,
    residue: String,
    /// Chain, residue number and insertion code, as written.
    place: String,
    number: i64,
    position: [f64; 3],
    occupancy: f64,
    element: String,
}

impl PdbFrames {
    pub(crate) fn new(lines: Lines, elements: Elements) -> Self {
        Self { lines, elements, cell: None, title: String::new(), remarks: Vec::new() }
    }

    fn frame(&mut self) -> Result<Option<Structure>, StructureError> {
        let mut records = Vec::new();
        let mut in_model = false;
        loop {
            let Some(line) = self.lines.next()? else {
                if in_model && !records.is_empty() {
                    return Err(self.lines.truncated("ENDMDL"));
                }
                break;
            };
            let kind = line.get(..6).unwrap_or(line).trim_end();
            match kind {
                "ATOM" | "HETATM" => {
                    let record = record(&self.lines, &records)?;
                    records.push(record);
                }
                "MODEL" if records.is_empty() => in_model = true,
                "MODEL" => {
                    self.lines.back();
                    break;
                }
                "ENDMDL" | "END" if !records.is_empty() => break,
                "ENDMDL" => in_model = false,
                "CRYST1" => self.crystal()?,
                "TITLE" if self.title.is_empty() => self.title = line.get(10..).unwrap_or("").trim().to_string(),
                _ => {}
            }
        }
        if records.is_empty() {
            return Ok(None);
        }
        self.build(records).map(Some)
    }

    fn crystal(&mut self) -> Result<(), StructureError> {
        let line = self.lines.current();
        let mut v = [0.0; 6];
        for (k, (from, to)) in [(6, 15), (15, 24), (24, 33), (33, 40), (40, 47), (47, 54)].into_iter().enumerate() {
            v[k] = field(line, from, to).parse().ok().filter(|x: &f64| x.is_finite()).ok_or_else(|| {
                self.lines.syntax("CRYST1 with a b c (9 columns each) and three angles (7 columns each)")
            })?;
        }
        let group = field(line, 55, 66).to_string();
        if v[..3] == [1.0; 3] || v[..3] == [0.0; 3] {
            self.remarks.push("CRYST1 is a placeholder: read without periodicity".to_string());
            self.cell = None;
            return Ok(());
        }
        if !matches!(group.as_str(), "" | "P 1" | "P1" | "1") {
            self.remarks
                .push(format!("CRYST1 has space group {group}: its symmetric copies are not made, the cell holds the file's atoms only"));
        }
        self.cell = Some(cell_of_angles(v).ok_or_else(|| self.lines.syntax("cell lengths and angles of a real cell"))?);
        Ok(())
    }

    fn build(&mut self, records: Vec<Record>) -> Result<Structure, StructureError> {
        let mut s = Structure {
            cell: self.cell,
            title: self.title.clone(),
            file_atoms: records.len(),
            remarks: std::mem::take(&mut self.remarks),
            ..Structure::default()
        };
        let keep = keep_locations(&records);
        let (mut alternates, mut sites) = (0usize, 0usize);
        for (atom, r) in records.into_iter().enumerate() {
            if !keep[atom] {
                alternates += 1;
                continue;
            }
            match self.elements.resolve(self.lines.frame, atom, &r.residue, &r.name, &r.element)? {
                Resolved::Virtual => sites += 1,
                Resolved::Element(element) => {
                    s.symbols.push(element.to_string());
                    s.positions.push(r.position);
                    s.original.push(atom);
                    s.residues.push(r.residue);
                    s.residue_numbers.push(r.number);
                    s.names.push(r.name);
                }
            }
        }
        if alternates > 0 {
            s.remarks.push(format!(
                "{alternates} atoms of alternate locations are dropped (per residue the one of highest occupancy is kept, A before B)"
            ));
        }
        if sites > 0 {
            s.remarks.push(format!("{sites} virtual sites are dropped"));
        }
        if s.symbols.iter().any(|e| e == "C") && !s.symbols.iter().any(|e| e == "H") {
            s.remarks
                .push("no hydrogen atoms: a potential needs them (add them with gmx pdb2gmx or the like)".to_string());
        }
        Ok(s)
    }
}

impl Iterator for PdbFrames {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame().transpose();
        self.lines.frame += 1;
        frame
    }
}

fn field(line: &str, from: usize, to: usize) -> &str {
    line.get(from..to.min(line.len())).unwrap_or("").trim()
}

fn record(lines: &Lines, before: &[Record]) -> Result<Record, StructureError> {
    let line = lines.current();
    if !line.is_ascii() {
        return Err(lines.syntax("an ATOM record of ASCII characters"));
    }
    let mut position = [0.0; 3];
    for (k, x) in position.iter_mut().enumerate() {
        *x = field(line, 30 + 8 * k, 38 + 8 * k)
            .parse()
            .map_err(|_| lines.syntax("x, y, z in columns 31-38, 39-46, 47-54"))?;
    }
    let name = field(line, 12, 16).to_string();
    if name.is_empty() {
        return Err(lines.syntax("an atom name in columns 13-16"));
    }
    let place = line.get(21..27).unwrap_or("").to_string();
    let number = field(line, 22, 26).parse().unwrap_or_else(|_| {
        // Hexadecimal and other overflow notations: count on.
        before.last().map_or(0, |last| last.number + i64::from(last.place != place))
    });
    // Old files have the identity code and the line number in columns 73-80.
    let element =
        Some(field(line, 76, 78)).filter(|e| e.bytes().all(|b| b.is_ascii_alphabetic())).unwrap_or("").to_string();
    Ok(Record {
        name,
        alternate: line.as_bytes().get(16).map_or(' ', |b| *b as char),
        // Column 21 belongs to four-letter residue names of CHARMM and AMBER.
        residue: field(line, 17, 21).to_string(),
        place,
        number,
        position,
        occupancy: field(line, 54, 60).parse().unwrap_or(0.0),
        element,
    })
}

/// Which atoms stay: those without an alternate location, and per residue those of the location with the highest mean
/// occupancy (the first letter if equal); an atom that this location lacks keeps its own best one.
fn keep_locations(records: &[Record]) -> Vec<bool> {
    // Occupancy sum and count by residue and location.
    let mut sums: HashMap<&str, HashMap<char, (f64, f64)>> = HashMap::new();
    for r in records.iter().filter(|r| r.alternate != ' ') {
        let (sum, count) = sums.entry(&r.place).or_default().entry(r.alternate).or_default();
        *sum += r.occupancy;
        *count += 1.0;
    }
    let best: HashMap<&str, char> = sums
        .iter()
        .filter_map(|(place, locations)| {
            let better = |a: &(&char, &(f64, f64)), b: &(&char, &(f64, f64))| {
                let mean = |x: &(&char, &(f64, f64))| x.1 .0 / x.1 .1;
                mean(a).total_cmp(&mean(b)).then(b.0.cmp(a.0))
            };
            locations.iter().max_by(better).map(|(location, _)| (*place, *location))
        })
        .collect();
    // Best location by residue and atom name where the residue's choice does not name the atom.
    let mut chosen: HashMap<(&str, &str), (bool, f64, char)> = HashMap::new();
    let mut residue_of: HashMap<&str, &str> = HashMap::new();
    for r in records.iter().filter(|r| r.alternate != ' ') {
        let preferred = best.get(r.place.as_str()) == Some(&r.alternate);
        if preferred {
            residue_of.insert(&r.place, &r.residue);
        }
        let this = (preferred, r.occupancy, r.alternate);
        let entry = chosen.entry((&r.place, &r.name)).or_insert(this);
        let order = this.0.cmp(&entry.0).then(this.1.total_cmp(&entry.1)).then(entry.2.cmp(&this.2));
        if order.is_gt() {
            *entry = this;
        }
    }
    records
        .iter()
        .map(|r| {
            r.alternate == ' '
                || (chosen.get(&(r.place.as_str(), r.name.as_str())).is_some_and(|c| c.2 == r.alternate)
                    // Two residue types in one place: the atoms of the other type go.
                    && residue_of.get(r.place.as_str()) == Some(&r.residue.as_str()))
        })
        .collect()
}

/// Rows a, b, c from lengths (A) and angles (degrees): a along x, b in the xy plane.
fn cell_of_angles([a, b, c, alpha, beta, gamma]: [f64; 6]) -> Option<[[f64; 3]; 3]> {
    // Exact zeros for right angles.
    let cos = |angle: f64| if angle == 90.0 { 0.0 } else { angle.to_radians().cos() };
    let (ca, cb, cg) = (cos(alpha), cos(beta), cos(gamma));
    let sg = (1.0 - cg * cg).sqrt();
    let cy = (ca - cb * cg) / sg;
    let cz2 = 1.0 - cb * cb - cy * cy;
    let real = [a, b, c].iter().all(|x| *x > 0.0) && sg > 1e-6 && cz2 > 1e-12;
    real.then(|| [[a, 0.0, 0.0], [b * cg, b * sg, 0.0], [c * cb, c * cy, c * cz2.sqrt()]])
}
