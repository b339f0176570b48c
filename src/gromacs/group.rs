//! A group by the model, the rest classical: the group's internal interactions leave the topology.
//!
//! Stock GROMACS has exclusions inside a molecule only, and grompp refuses excluded pairs beyond the cutoff in dynamics, whatever -maxwarn
//! says (`checkExclusionDistances`; it warns from 0.9 of the cutoff, and atoms move). So a group is a whole molecule, or whole unlinked parts
//! of one, and narrow.

use super::topology::{Kind, Line, Topology};
use super::{configuration, mdp, quoted, step, Job, Made};
use crate::problem::Usage;
use crate::structures::Reader;
use anyhow::{bail, Context, Result};
use std::collections::HashSet;
use weir_engine::structure::{self, ReadOptions, Structure};

/// Where to go instead.
const INSTEAD: &str = "let the model have the whole system (leave --group out), or use the native backend, which has no such limit (docs/gromacs-native.md)";

/// Part of the cutoff beyond which grompp warns of excluded pairs.
const LIMIT: f64 = 0.9;

/// Everything for a run with a group.
pub(super) fn prepare(job: &Job, reader: &Reader, selection: &str) -> Result<Made> {
    let need = |what: &str| Usage(format!("--group needs {what}"));
    let top = job
        .args
        .read
        .topology
        .as_ref()
        .ok_or_else(|| need("the topology of the classical run: --topology topol.top"))?;
    let text = job.mdp.as_ref().ok_or_else(|| need("the parameters of the classical run: --mdp md.mdp"))?;
    if job.args.read.select.is_some() || job.args.vacuum {
        return Err(Usage("--select and --vacuum are for whole systems: with --group all atoms stay".into()).into());
    }
    let read_by_grompp =
        |e: &std::ffi::OsStr| ["gro", "g96", "pdb", "ent", "brk"].iter().any(|k| e.eq_ignore_ascii_case(k));
    if !job.args.structure.extension().is_some_and(read_by_grompp) {
        let name = job.args.structure.display();
        return Err(
            Usage(format!("--group needs a structure that grompp reads (.gro, .g96, .pdb), {name} is none")).into()
        );
    }
    let whole = job.structure;
    let options = ReadOptions { select: Some(selection.to_string()), ..reader.options()? };
    let part = structure::read(&job.args.structure, &options).context("--group")?;
    super::known(&part, job.type_map)?;
    let group: Vec<usize> = part.original.clone();
    let cutoff = ["rvdw", "rcoulomb"].map(|key| mdp::value(text, key).map_or(Ok(1.0), str::parse::<f64>));
    let [Ok(rvdw), Ok(rcoulomb)] = cutoff else { bail!("--mdp: rvdw or rcoulomb is no number") };
    narrow(&part, rvdw.max(rcoulomb))?;
    let defines: Vec<String> = mdp::value(text, "define")
        .unwrap_or("")
        .split_whitespace()
        .filter_map(|w| Some(w.strip_prefix("-D")?.split('=').next()?.to_string()))
        .collect();
    let mut topology = Topology::read(top, &job.args.include, &defines)?;
    let atoms = if whole.file_atoms > 0 { whole.file_atoms } else { whole.len() };
    let local = excise(&mut topology, &group, atoms)?;
    let mut lines: String = topology.lines.iter().map(|l| format!("{}\n", l.text)).collect();
    lines.insert_str(0, "; written by weir gromacs prepare: the group's own interactions are left to the model\n");
    let seen: Vec<(usize, &str)> = group.iter().copied().zip(part.symbols.iter().map(String::as_str)).collect();
    let conf = std::fs::canonicalize(&job.args.structure).context("the structure")?;
    let files = vec![
        ("topol.top", lines),
        ("index.ndx", index(atoms, &group)),
        ("weir.dat", configuration::write(job.model, job.head, &seen, true, whole.cell.is_some())),
        ("grompp.mdp", text.clone()),
    ];
    let mut remarks: Vec<String> = step::remark(text, &part).into_iter().collect();
    if ["steep", "cg", "l-bfgs"].contains(&mdp::value(text, "integrator").unwrap_or("md")) {
        remarks.push(
            "GROMACS' minimisers do not see the model's energy: minimise with the classical topology before".into(),
        );
    }
    let summary = format!(
        "{} of {atoms} atoms by the model (molecule type {}), the rest as before; charges and Lennard-Jones of the group towards the rest stay",
        group.len(),
        local
    );
    let mut grompp = format!("-c {}", quoted(&conf));
    if restrained(&topology, &defines) {
        // Where the atoms are held: without it grompp ends with an error.
        grompp += &format!(" -r {}", quoted(&conf));
    }
    if let Some(index) = &job.args.read.index {
        // The parameters may name its groups.
        grompp += &format!(" -n {}", quoted(&std::fs::canonicalize(index).context("--index")?));
    }
    Ok(Made { files, remarks, summary, grompp })
}

/// Whether atoms are held at places, as far as is known: force fields that were not found may have restraints behind a define.
fn restrained(t: &Topology, defines: &[String]) -> bool {
    let held = |l: &Line| l.active && l.section == "position_restraints" && !l.fields().is_empty();
    t.lines.iter().any(held) || (!t.missing.is_empty() && defines.iter().any(|d| d.contains("POSRES")))
}

fn index(atoms: usize, group: &[usize]) -> String {
    let rows = |list: &mut dyn Iterator<Item = usize>| {
        let words: Vec<String> = list.map(|k| (k + 1).to_string()).collect();
        words.chunks(15).map(|c| c.join(" ") + "\n").collect::<String>()
    };
    format!("[ System ]\n{}[ Weir ]\n{}", rows(&mut (0..atoms)), rows(&mut group.iter().copied()))
}

/// Refuses groups that grompp would refuse. `cutoff` in nm.
fn narrow(part: &Structure, cutoff: f64) -> Result<()> {
    let limit = LIMIT * cutoff * 10.0;
    for i in 0..part.len() {
        for j in 0..i {
            let d = distance(part.positions[i], part.positions[j], part.cell.as_ref());
            if d >= limit {
                let number = |k: usize| part.original.get(k).copied().unwrap_or(k) + 1;
                bail!(
                    "atoms {} and {} of the group are {:.3} nm apart: grompp refuses exclusions beyond the cutoff in dynamics and warns from {LIMIT} of it ({:.3} of {cutoff} nm), and atoms move; {INSTEAD}",
                    number(j), number(i), d / 10.0, limit / 10.0
                );
            }
        }
    }
    Ok(())
}

/// To the nearest image, A.
fn distance(a: [f64; 3], b: [f64; 3], cell: Option<&[[f64; 3]; 3]>) -> f64 {
    let mut d: [f64; 3] = std::array::from_fn(|k| a[k] - b[k]);
    let Some(cell) = cell else { return d.iter().map(|x| x * x).sum::<f64>().sqrt() };
    // Lower triangular: from the last vector to the first.
    for k in (0..3).rev().filter(|&k| cell[k][k] > 0.0) {
        let n = (d[k] / cell[k][k]).round();
        (0..3).for_each(|a| d[a] -= n * cell[k][a]);
    }
    let mut best = f64::INFINITY;
    for n in 0..27 {
        let m = [n % 3, n / 3 % 3, n / 9].map(|k| f64::from(k) - 1.0);
        let image: f64 = (0..3).map(|a| (d[a] + (0..3).map(|k| m[k] * cell[k][a]).sum::<f64>()).powi(2)).sum();
        best = best.min(image);
    }
    best.sqrt()
}

/// Takes the group's own interactions out of its molecule; the name of the molecule type that has none.
fn excise(t: &mut Topology, group: &[usize], atoms: usize) -> Result<String> {
    let kinds = t.kinds();
    let molecules = t.molecules()?;
    let missing = if t.missing.is_empty() { String::new() } else { format!(" (not found: {})", t.missing.join(", ")) };
    let kind_of = |name: &str| -> Result<&Kind> {
        let found = kinds.iter().find(|k| k.name == name);
        found.with_context(|| format!("molecule type {name} is in none of the files that were found{missing}: name its folder with --include, or set GMXLIB"))
    };
    let mut start = 0;
    let mut home: Option<(usize, String, usize, usize, usize)> = None;
    for (line, name, count) in &molecules {
        let size = kind_of(name)?.atoms;
        for k in 0..*count {
            let inside = group.iter().filter(|a| (start..start + size).contains(*a)).count();
            if inside > 0 && home.is_none() {
                if inside < group.len() {
                    bail!("the group is of several molecules, but stock GROMACS has no exclusions between molecules; {INSTEAD}");
                }
                home = Some((*line, name.clone(), *count, k, start));
            }
            start += size;
        }
    }
    if start != atoms {
        bail!("the topology has {start} atoms, the structure {atoms}");
    }
    let (line, name, count, instance, first) = home.context("the group is empty")?;
    let local: HashSet<usize> = group.iter().map(|a| a - first + 1).collect();
    let kind = kind_of(&name)?;
    let lines = kind.lines.clone();
    let changed = change(&t.lines[lines.clone()], &local)?;
    let total: usize = molecules.iter().filter(|m| m.1 == name).map(|m| m.2).sum();
    if total == 1 {
        t.lines.splice(lines, changed);
        return Ok(name);
    }
    // Others of its kind keep their type: the group's molecule gets one of its own.
    let depth = |f: &dyn Fn(&str) -> bool| t.lines[lines.clone()].iter().filter(|l| f(l.text.trim_start())).count();
    if depth(&|l| l.starts_with("#if")) != depth(&|l| l.starts_with("#endif")) {
        bail!("molecule type {name} begins or ends inside an #ifdef: write it without, or as two files");
    }
    let own = format!("{name}_weir");
    let mut copy = changed;
    if let Some(head) = copy.iter_mut().find(|l| l.section == "moleculetype" && !l.fields().is_empty()) {
        let fields = head.fields();
        head.text = std::iter::once(own.as_str()).chain(fields[1..].iter().copied()).collect::<Vec<_>>().join(" ");
    }
    let rows = [(name.as_str(), instance), (own.as_str(), 1), (name.as_str(), count - instance - 1)];
    let text = rows.iter().filter(|r| r.1 > 0).map(|(n, c)| format!("{n} {c}")).collect::<Vec<_>>().join("\n");
    t.lines[line].text = text;
    t.lines.splice(lines.end..lines.end, copy);
    Ok(own)
}

/// A molecule type's lines without the group's own interactions, with exclusions among the group. Atoms count from 1.
fn change(lines: &[Line], group: &HashSet<usize>) -> Result<Vec<Line>> {
    // Sections of interactions, and how many atoms a line of them begins with.
    let width = |section: &str| match section {
        "bonds" | "pairs" | "pairs_nb" | "constraints" => 2,
        "angles" => 3,
        "dihedrals" | "impropers" => 4,
        "cmap" => 5,
        "settles" => 1,
        _ => 0,
    };
    let mut out: Vec<Line> = Vec::new();
    let mut last_atom = None;
    for line in lines {
        let fields = line.fields();
        if line.section == "atoms" && line.active && !fields.is_empty() {
            last_atom = Some(out.len());
        }
        let n = width(&line.section);
        if n == 0 || fields.len() < n {
            out.push(line.clone());
            continue;
        }
        let mut own = fields[..n].iter().map(|f| f.parse::<usize>()).collect::<Result<Vec<_>, _>>();
        if let (Ok(atoms), "settles") = (&mut own, line.section.as_str()) {
            // Of a water, its oxygen is named.
            atoms.extend([atoms[0] + 1, atoms[0] + 2]);
        }
        let Ok(own) = own else { bail!("[ {} ]: expected atom numbers, found \"{}\"", line.section, line.text.trim()) };
        let inside = own.iter().filter(|a| group.contains(a)).count();
        let function = fields.get(2).copied().unwrap_or("1");
        let restraint = line.section == "bonds" && ["6", "10"].contains(&function);
        if inside == 0 || (inside < own.len() && (restraint || line.section == "pairs")) {
            out.push(line.clone());
        } else if inside < own.len() {
            if ["bonds", "constraints", "settles"].contains(&line.section.as_str()) {
                bail!("the group cuts the bond between atoms {} of its molecule: stock GROMACS has no link atoms for a model; take the whole molecule, or {INSTEAD}", own.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "));
            }
            bail!("[ {} ] binds the group to the rest of its molecule (atoms {own:?}): take the whole molecule, or {INSTEAD}", line.section);
        } else if line.section == "bonds" && !restraint {
            // A connection without energy keeps the molecule whole across the box.
            out.push(Line {
                text: format!("{} {} 5 ; the model's: {}", own[0], own[1], line.text.trim()),
                ..line.clone()
            });
        } else {
            out.push(Line { text: format!("; the model's: {}", line.text.trim()), ..line.clone() });
        }
    }
    let Some(at) = last_atom else { bail!("the group's molecule type has no atoms") };
    let mut members: Vec<usize> = group.iter().copied().collect();
    members.sort_unstable();
    // grompp takes exclusions only behind one of bonds, constraints and settles.
    let mut text = String::from("\n[ bonds ]\n\n[ exclusions ]\n; all pairs of the group");
    for (k, a) in members.iter().enumerate().filter(|(k, _)| k + 1 < members.len()) {
        let rest: Vec<String> = members[k + 1..].iter().map(ToString::to_string).collect();
        // grompp reads lines of some thousand characters.
        rest.chunks(100).for_each(|c| text += &format!("\n{a} {}", c.join(" ")));
    }
    text.push('\n');
    out.insert(at + 1, Line { text, active: true, section: "exclusions".into() });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "[ moleculetype ]\nPRO 3\n[ atoms ]\n1 C 1 A C1 1 0\n2 C 1 A C2 2 0\n3 C 1 A C3 3 0\n[ bonds ]\n1 2 1 0.1 100\n2 3 1\n\n[ angles ]\n1 2 3 1\n\n[ moleculetype ]\nLIG 3\n[ atoms ]\n1 C 1 L C1 1 0.5\n2 C 1 L C2 2 0\n3 C 1 L C3 3 -0.5\n[ bonds ]\n1 2 1 0.1 100\n2 3 1\n[ pairs ]\n1 3 1\n[ angles ]\n1 2 3 1\n#ifdef POSRES\n[ position_restraints ]\n1 1 9 9 9\n#endif\n[ system ]\nx\n[ molecules ]\nPRO 1\nLIG 3\n";

    fn topology(text: &str) -> Topology {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.top");
        std::fs::write(&path, text).unwrap();
        Topology::read(&path, &[], &[]).unwrap()
    }

    fn excised(text: &str, group: &[usize], atoms: usize) -> Result<String, String> {
        let mut t = topology(text);
        excise(&mut t, group, atoms).map_err(|e| e.to_string())?;
        Ok(t.lines.iter().map(|l| l.text.clone() + "\n").collect())
    }

    #[test]
    fn one_of_several_molecules_gets_a_type_of_its_own_without_internal_terms() {
        let text = excised(TOP, &[6, 7, 8], 12).unwrap();
        assert!(text.contains("[ molecules ]\nPRO 1\nLIG 1\nLIG_weir 1\nLIG 1\n"), "{text}");
        let own = text.split("LIG_weir 3").nth(1).unwrap();
        assert!(own.contains("[ exclusions ]\n; all pairs of the group\n1 2 3\n2 3\n"), "{own}");
        assert!(own.contains("\n1 2 5 ; ") && own.contains("\n2 3 5 ; "), "{own}");
        assert!(own.contains("; the model's: 1 3 1") && own.contains("; the model's: 1 2 3 1"), "{own}");
        assert!(own.contains("#ifdef POSRES\n[ position_restraints ]\n1 1 9 9 9\n#endif"), "{own}");
        // The first kind is as it was.
        assert!(text.starts_with(TOP.split("[ system ]").next().unwrap()), "{text}");
        let again = topology(&text);
        assert_eq!(
            again.kinds().iter().map(|k| (k.name.as_str(), k.atoms)).collect::<Vec<_>>(),
            [("PRO", 3), ("LIG", 3), ("LIG_weir", 3)]
        );
    }

    #[test]
    fn a_molecule_that_is_alone_is_changed_in_place() {
        let text = excised(TOP, &[0, 1, 2], 12).unwrap();
        assert!(text.contains("[ molecules ]\nPRO 1\nLIG 3\n") && !text.contains("_weir"), "{text}");
        assert!(text.contains("1 2 5 ; the model's: 1 2 1 0.1 100"), "{text}");
    }

    #[test]
    fn what_stock_gromacs_cannot_do_is_refused_with_the_way_out() {
        for (group, told) in
            [(vec![0, 1], "cuts the bond between atoms 2 and 3"), (vec![3, 4, 5, 6], "several molecules")]
        {
            let said = excised(TOP, &group, 12).unwrap_err();
            assert!(said.contains(told) && said.contains("gromacs-native.md"), "{said}");
        }
        assert!(excised(TOP, &[0, 1, 2], 13).unwrap_err().contains("12 atoms, the structure 13"));
        let absent = TOP.replace("LIG 3\n[ atoms ]", "LOG 3\n[ atoms ]");
        assert!(excised(&absent, &[0, 1, 2], 12).unwrap_err().contains("--include"));
        let part = Structure {
            positions: vec![[0.0, 0.0, 0.5], [0.0, 0.0, 19.5], [0.0, 6.5, 0.0]],
            cell: Some([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0], [0.0, 0.0, 20.0]]),
            original: vec![4, 5, 9],
            ..Structure::default()
        };
        narrow(&part, 0.8).unwrap();
        let said = narrow(&part, 0.7).unwrap_err().to_string();
        assert!(
            said.contains("atoms 5 and 10") && said.contains("0.630 of 0.7 nm") && said.contains("gromacs-native.md"),
            "{said}"
        );
    }
}
