//! LAMMPS data files: atom styles atomic, charge, molecular (bond, angle) and full. Atoms come back in the order of their ids.

use std::collections::HashMap;

use super::error::{shorten, StructureError};
use super::lammps::{bad_units, cell, element_of, elements_of_types, Units};
use super::lines::{real, Lines};
use super::Structure;

/// Sections that hold nothing we need.
const OTHER_SECTIONS: &[&str] = &[
    "Bonds",
    "Angles",
    "Dihedrals",
    "Impropers",
    "Ellipsoids",
    "Lines",
    "Triangles",
    "Bodies",
    "Pair Coeffs",
    "PairIJ Coeffs",
    "Bond Coeffs",
    "Angle Coeffs",
    "Dihedral Coeffs",
    "Improper Coeffs",
    "BondBond Coeffs",
    "BondAngle Coeffs",
    "MiddleBondTorsion Coeffs",
    "EndBondTorsion Coeffs",
    "AngleTorsion Coeffs",
    "AngleAngleTorsion Coeffs",
    "BondBond13 Coeffs",
    "AngleAngle Coeffs",
    "Bond Type Labels",
    "Angle Type Labels",
    "Dihedral Type Labels",
    "Improper Type Labels",
];

/// Atom styles with other columns. Any other word behind `Atoms` is a comment.
const OTHER_STYLES: &[&str] = &[
    "amoeba",
    "apip",
    "body",
    "bpm/sphere",
    "dielectric",
    "dipole",
    "dpd",
    "edpd",
    "electron",
    "ellipsoid",
    "hybrid",
    "line",
    "mdpd",
    "oxdna",
    "peri",
    "rheo",
    "rheo/thermal",
    "smd",
    "sph",
    "sphere",
    "spin",
    "tdpd",
    "template",
    "tri",
    "wavepacket",
];

/// Columns of a line in `Atoms`: where type and x stand.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Style {
    kind: usize,
    x: usize,
}

const ATOMIC: Style = Style { kind: 1, x: 2 };
const CHARGE: Style = Style { kind: 1, x: 3 };
const MOLECULAR: Style = Style { kind: 2, x: 3 };
const FULL: Style = Style { kind: 2, x: 4 };

#[derive(Default)]
struct Data {
    atoms: Option<u64>,
    types: u64,
    bounds: [Option<[f64; 2]>; 3],
    tilt: [f64; 3],
    vectors: [Option<[f64; 3]>; 3],
    units: Option<String>,
    /// Mass and comment by type.
    masses: HashMap<u64, (f64, String)>,
    labels: HashMap<String, u64>,
    /// Style comment behind `Atoms`.
    style: Option<String>,
    /// Lines of the section `Atoms`.
    rows: Vec<String>,
    velocities: Option<HashMap<i64, [f64; 3]>>,
}

/// Reads the one frame of a data file. `types` (from `--types`) go before masses and comments.
pub(crate) fn read_lammps_data(mut lines: Lines, types: &[String]) -> Result<Structure, StructureError> {
    let title = lines.need("the title line")?.trim().to_string();
    let mut data = Data { units: units_in(&title), ..Data::default() };
    let mut section = None;
    while let Some(line) = lines.next_filled()? {
        let (text, comment) = line.split_once('#').unwrap_or((line, ""));
        let (text, comment) = (text.trim().to_string(), comment.trim().to_string());
        if text.is_empty() {
            continue;
        }
        let first_is_letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
        let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if first_is_letter && is_section(&name) {
            if name == "Atoms" && !comment.is_empty() {
                data.style = Some(comment);
            }
            if name == "Velocities" {
                data.velocities = Some(HashMap::new());
            }
            section = Some(name);
            continue;
        }
        match section.as_deref() {
            None => header(&mut data, &lines, &text)?,
            Some("Masses") => mass(&mut data, &lines, &text, comment)?,
            Some("Atom Type Labels") => {
                let (id, label) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
                let id = id.parse().map_err(|_| lines.syntax("a type number and its label"))?;
                data.labels.insert(label.trim().to_string(), id);
            }
            Some("Atoms") => {
                if data.rows.len() as u64 >= data.atoms.unwrap_or(0) {
                    return Err(lines.syntax(format!("{} lines in Atoms", data.atoms.unwrap_or(0))));
                }
                data.rows.push(text);
            }
            Some("Velocities") => {
                let fields: Vec<&str> = text.split_whitespace().collect();
                let v: Option<Vec<f64>> = fields.iter().skip(1).take(3).map(|f| real(f)).collect();
                let id = fields[0].parse().ok();
                match (id, v.as_deref()) {
                    (Some(id), Some(&[x, y, z])) => data.velocities.get_or_insert_default().insert(id, [x, y, z]),
                    _ => return Err(lines.syntax("an atom id and vx vy vz")),
                };
            }
            Some(_) => {}
        }
    }
    build(data, &lines, types, title)
}

fn is_section(name: &str) -> bool {
    matches!(name, "Masses" | "Atoms" | "Velocities" | "Atom Type Labels") || OTHER_SECTIONS.contains(&name)
}

/// `write_data` leaves `..., units = metal` in the title.
fn units_in(title: &str) -> Option<String> {
    let after = title.split_once("units =")?.1.trim();
    Some(after.split(|c: char| !c.is_ascii_alphabetic()).next()?.to_string())
}

fn header(data: &mut Data, lines: &Lines, text: &str) -> Result<(), StructureError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let at = fields.iter().position(|f| f.starts_with(|c: char| c.is_ascii_alphabetic()));
    let at = at.ok_or_else(|| lines.syntax("a header line such as \"100 atoms\", or a section name"))?;
    let numbers: Option<Vec<f64>> = fields[..at].iter().map(|f| real(f).filter(|x| x.is_finite())).collect();
    let numbers = numbers.ok_or_else(|| lines.syntax("numbers before the header keyword"))?;
    let count = || fields[0].parse::<u32>().map_err(|_| lines.syntax("a number of atoms or types"));
    match (fields[at..].join(" ").as_str(), &numbers[..]) {
        ("atoms", [_]) => data.atoms = Some(count()?.into()),
        ("atom types", [_]) => data.types = count()?.into(),
        ("xlo xhi", [lo, hi]) => data.bounds[0] = Some([*lo, *hi]),
        ("ylo yhi", [lo, hi]) => data.bounds[1] = Some([*lo, *hi]),
        ("zlo zhi", [lo, hi]) => data.bounds[2] = Some([*lo, *hi]),
        ("xy xz yz", [xy, xz, yz]) => data.tilt = [*xy, *xz, *yz],
        ("avec", [x, y, z]) => data.vectors[0] = Some([*x, *y, *z]),
        ("bvec", [x, y, z]) => data.vectors[1] = Some([*x, *y, *z]),
        ("cvec", [x, y, z]) => data.vectors[2] = Some([*x, *y, *z]),
        ("atoms" | "atom types" | "xlo xhi" | "ylo yhi" | "zlo zhi" | "xy xz yz" | "avec" | "bvec" | "cvec", _) => {
            return Err(lines.syntax("as many numbers as the header keyword takes"));
        }
        // Counts of bonds and the like.
        _ => {}
    }
    Ok(())
}

fn mass(data: &mut Data, lines: &Lines, text: &str, comment: String) -> Result<(), StructureError> {
    let mut fields = text.split_whitespace();
    let kind = fields.next().unwrap_or("");
    let id = data.labels.get(kind).copied().or_else(|| kind.parse().ok());
    let value = fields.next().and_then(real).filter(|m| m.is_finite());
    let (Some(id), Some(value)) = (id, value) else { return Err(lines.syntax("a type and its mass")) };
    data.masses.insert(id, (value, comment));
    Ok(())
}

impl Data {
    /// The columns of `Atoms`: from the comment behind the section name, else from the number of columns.
    fn columns(&self, path: &str) -> Result<Style, StructureError> {
        let named = self.style.as_deref().and_then(|s| s.split_whitespace().next());
        match named {
            Some("atomic") => return Ok(ATOMIC),
            Some("charge") => return Ok(CHARGE),
            Some("molecular" | "bond" | "angle") => return Ok(MOLECULAR),
            Some("full") => return Ok(FULL),
            Some(other) if OTHER_STYLES.contains(&other) => {
                return Err(StructureError::Needs {
                    path: path.to_string(),
                    what: format!("atom style \"{other}\" is not supported"),
                    advice: "write the data file with atom style atomic, charge, molecular or full".to_string(),
                });
            }
            _ => {}
        }
        let is_type = |text: &str| {
            text.parse::<u64>().is_ok_and(|t| (1..=self.types.max(1)).contains(&t)) || self.labels.contains_key(text)
        };
        let all = |column: usize| self.rows.iter().all(|r| r.split_whitespace().nth(column).is_some_and(is_type));
        let width = self.rows.first().map_or(0, |r| r.split_whitespace().count());
        // Three image flags may follow; a style is taken if its type column holds types throughout.
        let fits = |style: &Style| (width == style.x + 3 || width == style.x + 6) && all(style.kind);
        let candidates: Vec<Style> = [ATOMIC, CHARGE, MOLECULAR, FULL].into_iter().filter(fits).collect();
        match candidates[..] {
            [one] => Ok(one),
            _ => Err(StructureError::Needs {
                path: path.to_string(),
                what: format!("cannot tell the atom style from {width} columns in Atoms"),
                advice: "name it behind the section, for example \"Atoms # full\"".to_string(),
            }),
        }
    }

    fn lattice(&self, path: &str) -> Result<[[f64; 3]; 3], StructureError> {
        if let [Some(a), Some(b), Some(c)] = self.vectors {
            return Ok([a, b, c]);
        }
        match self.bounds {
            [Some(x), Some(y), Some(z)] => Ok(cell([x, y, z].map(|[lo, hi]| hi - lo), self.tilt)),
            _ => Err(StructureError::Truncated {
                path: path.to_string(),
                frame: 1,
                expected: "header lines xlo xhi, ylo yhi and zlo zhi".to_string(),
            }),
        }
    }

    fn element(&self, kind: u64, given: &[&'static str]) -> Option<&'static str> {
        if !given.is_empty() {
            return given.get(usize::try_from(kind).ok()?.checked_sub(1)?).copied();
        }
        let label = self.labels.iter().find(|(_, id)| **id == kind).map(|(l, _)| l.as_str());
        match self.masses.get(&kind) {
            Some((mass, comment)) => element_of(Some(*mass), comment.split_whitespace().next().or(label).unwrap_or("")),
            None => element_of(None, label.unwrap_or("")),
        }
    }
}

fn build(data: Data, lines: &Lines, types: &[String], title: String) -> Result<Structure, StructureError> {
    let path = &lines.path;
    let Some(count) = data.atoms else { return Err(lines.truncated("a header line \"N atoms\"")) };
    if data.rows.len() as u64 != count {
        return Err(lines.truncated(format!("{count} lines in Atoms, of which {} are there", data.rows.len())));
    }
    let given = elements_of_types(path, types)?;
    let mut s = Structure { title, cell: Some(data.lattice(path)?), ..Structure::default() };
    let style = data.columns(path)?;
    let units = match &data.units {
        None => Units::METAL,
        Some(name) => Units::named(name).ok_or_else(|| bad_units(path, name))?,
    };
    let mut atoms = Vec::new();
    let mut by_type: HashMap<u64, &'static str> = HashMap::new();
    let mut images = false;
    for (i, line) in data.rows.iter().enumerate() {
        let row: Vec<&str> = line.split_whitespace().collect();
        let bad = |expected: &str| StructureError::Content {
            path: path.clone(),
            frame: 1,
            expected: format!("{expected} in line {} of Atoms", i + 1),
            found: shorten(line),
        };
        if row.len() != style.x + 3 && row.len() != style.x + 6 {
            return Err(bad(&format!("{} columns, or {} with image flags,", style.x + 3, style.x + 6)));
        }
        let id: i64 = row[0].parse().map_err(|_| bad("an atom id"))?;
        let kind = row[style.kind];
        let kind = data.labels.get(kind).copied().or_else(|| kind.parse().ok()).ok_or_else(|| bad("an atom type"))?;
        let element = match by_type.get(&kind) {
            Some(element) => element,
            None => {
                let element = data.element(kind, &given).ok_or_else(|| StructureError::Needs {
                    path: path.clone(),
                    what: format!(
                        "the element of atom type {kind} (atom {id}) is not known from Masses or its comment"
                    ),
                    advice: "give one element per type: --types O,H".to_string(),
                })?;
                by_type.insert(kind, element);
                element
            }
        };
        let mut x = [0.0; 3];
        for k in 0..3 {
            x[k] = real(row[style.x + k]).ok_or_else(|| bad("x y z"))?;
        }
        images |= row.len() == style.x + 6 && row[style.x + 3..].iter().any(|f| *f != "0");
        atoms.push((id, element, x));
    }
    atoms.sort_by_key(|(id, ..)| *id);
    if let Some(pair) = atoms.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(StructureError::Content {
            path: path.clone(),
            frame: 1,
            expected: "every atom id once".to_string(),
            found: format!("id {} twice", pair[0].0),
        });
    }
    if let Some(velocities) = &data.velocities {
        let v: Option<Vec<[f64; 3]>> = atoms.iter().map(|(id, ..)| velocities.get(id).copied()).collect();
        let v = v.ok_or_else(|| lines.truncated("velocities of all atoms"))?;
        s.velocities = Some(v.into_iter().map(|v| v.map(|x| x * units.velocity)).collect());
        if data.units.is_none() {
            s.remarks.push("the file names no units: velocities are taken in A/ps (units metal)".to_string());
        }
    }
    if images {
        s.remarks.push("image flags are ignored: positions stay as given".to_string());
    }
    s.remarks
        .push("LAMMPS data files do not say what is periodic: all three directions are taken as periodic".to_string());
    s.original = (0..atoms.len()).collect();
    s.symbols = atoms.iter().map(|(_, element, _)| element.to_string()).collect();
    s.positions = atoms.iter().map(|(.., x)| *x).collect();
    Ok(s)
}
