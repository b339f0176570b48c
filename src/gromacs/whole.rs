//! The whole system by the model: a topology whose atoms have masses and nothing else.

use super::gro::label;
use super::{cell, configuration, gro, mdp, step, Job, Made};
use crate::cli::Ensemble;
use anyhow::{bail, Result};
use std::fmt::Write;
use weir_engine::element::{atomic_number, mass};
use weir_engine::structure::{is_polymer, Structure};

/// No pair has an interaction; a short list is a cheap one.
const CUTOFF: &str = "0.3";

/// What the run must have, whatever the user's file says.
const DEMANDED: [(&str, &str); 10] = [
    ("cutoff-scheme", "Verlet"),
    ("coulombtype", "Cut-off"),
    ("rcoulomb", CUTOFF),
    ("vdwtype", "Cut-off"),
    ("rvdw", CUTOFF),
    ("coulomb-modifier", "None"),
    ("vdw-modifier", "None"),
    ("dispcorr", "no"),
    ("constraints", "none"),
    // GROMACS' pair lists want a box; in vacuum it is wide, and no image is within the cutoff.
    ("pbc", "xyz"),
];

/// A file to begin with.
fn fresh(ensemble: Ensemble, velocities: bool) -> String {
    let mut text = String::from("; whole system by Weir: gmx mdrun -plumed weir.dat\n");
    let mut line = |key: &str, value: &str| text += &format!("{key:<22} = {value}\n");
    for (key, value) in [
        ("integrator", "md"),
        ("dt", "0.0005"),
        ("nsteps", "20000"),
        ("nstxout-compressed", "200"),
        ("nstenergy", "100"),
        ("nstlog", "1000"),
        ("nstlist", "20"),
        ("comm-mode", "Linear"),
    ] {
        line(key, value);
    }
    if ensemble != Ensemble::Nve {
        line("tcoupl", "V-rescale");
        line("tc-grps", "System");
        line("tau-t", "0.1");
        line("ref-t", "300");
    }
    if ensemble == Ensemble::Npt {
        line("pcoupl", "C-rescale");
        line("pcoupltype", "isotropic");
        line("tau-p", "2.0");
        line("ref-p", "1.0");
        line("compressibility", "4.5e-5");
    }
    if velocities {
        line("gen-vel", "no");
    } else {
        line("gen-vel", "yes");
        line("gen-temp", "300");
    }
    text
}

/// Everything for a run of the whole structure.
pub(super) fn prepare(job: &Job) -> Result<Made> {
    let mut structure = job.structure.clone();
    if job.args.vacuum {
        structure.cell = None;
    }
    let mut remarks = Vec::new();
    if let Some(given) = structure.cell {
        let less = cell::reduced(given)?;
        if less != given {
            remarks.push(format!(
                "the box was too skewed for GROMACS: its vectors are now {less:?} A, which are of the same lattice"
            ));
            structure.cell = Some(less);
        }
    }
    let s = &structure;
    let periodic = s.cell.is_some();
    let no_box = if job.args.vacuum { " with --vacuum" } else { "" };
    if job.args.ensemble == Ensemble::Npt && !periodic {
        bail!("--ensemble npt needs a periodic box: there is none{no_box}");
    }
    if let (Some(barostat), false) = (job.mdp.as_deref().and_then(barostat), periodic) {
        bail!("--mdp has pcoupl = {barostat}, which would let the empty box around the atoms collapse: there is no periodic box{no_box}; take pcoupl = no");
    }
    let text = match &job.mdp {
        None => fresh(job.args.ensemble, s.velocities.is_some()),
        Some(given) => {
            remarks.extend(step::remark(given, s));
            if mdp::value(given, "define").is_some_and(|d| !d.is_empty()) {
                remarks
                    .push("the topology has no conditional parts: define (-DPOSRES and the like) has no effect".into());
            }
            if mdp::value(given, "integrator").is_some_and(|i| ["steep", "cg", "l-bfgs"].contains(&i)) {
                remarks
                    .push("GROMACS' minimisers do not see the model's energy: relax with weir minimize instead".into());
            }
            given.clone()
        }
    };
    let all: Vec<(usize, &str)> = s.symbols.iter().map(String::as_str).enumerate().collect();
    let files = vec![
        ("conf.gro", gro::write(s)?),
        ("topol.top", topology(s)?),
        ("index.ndx", index(s.len())),
        ("weir.dat", configuration::write(job.model, job.head, &all, false, true)),
        ("grompp.mdp", mdp::set(&text, &DEMANDED)),
    ];
    let summary = format!(
        "{} atoms, all by the model, {}; no charges, no Lennard-Jones, no bonds in the topology",
        s.len(),
        if periodic { "periodic" } else { "in vacuum (a box with 2 nm to the next image)" }
    );
    Ok(Made { files, remarks, summary, grompp: "-c conf.gro".into() })
}

/// The barostat of run parameters.
fn barostat(mdp: &str) -> Option<&str> {
    mdp::value(mdp, "pcoupl").filter(|p| !p.is_empty() && !p.eq_ignore_ascii_case("no"))
}

fn index(atoms: usize) -> String {
    let mut text = String::new();
    for name in ["System", "Weir"] {
        let _ = writeln!(text, "[ {name} ]");
        for k in 1..=atoms {
            let _ = write!(text, "{k}{}", if k % 15 == 0 || k == atoms { "\n" } else { " " });
        }
    }
    text
}

/// Atoms that are one molecule: residues of a chain together, every other residue by itself.
fn molecules(s: &Structure) -> Vec<std::ops::Range<usize>> {
    let residue = |k: usize| {
        let (number, name, _) = label(s, k);
        (number, name)
    };
    let mut out: Vec<std::ops::Range<usize>> = Vec::new();
    for k in 0..s.len() {
        let joined = k > 0 && {
            let (now, before) = (residue(k), residue(k - 1));
            now == before || (is_polymer(now.1) && is_polymer(before.1) && now.0 == before.0 + 1)
        };
        match out.last_mut() {
            Some(last) if joined => last.end = k + 1,
            _ => out.push(k..k + 1),
        }
    }
    out
}

fn topology(s: &Structure) -> Result<String> {
    let mut text = String::from("; written by weir gromacs prepare: masses only, all forces come from the model\n\n");
    text += "[ defaults ]\n; nbfunc comb-rule gen-pairs fudgeLJ fudgeQQ\n1 2 no 1.0 1.0\n\n";
    text += "[ atomtypes ]\n; name at.num mass charge ptype sigma epsilon\n";
    let mut symbols: Vec<&String> = s.symbols.iter().collect();
    symbols.sort();
    symbols.dedup();
    for symbol in symbols {
        let (Some(number), Some(mass)) = (atomic_number(symbol), mass(symbol)) else {
            bail!("{symbol} is no element: leave virtual sites out with --select");
        };
        let _ = writeln!(text, "{symbol:<4} {number:4} {mass:10.4} 0.0 A 0.0 0.0");
    }
    // Molecules that are alike are one type.
    let mut kinds: Vec<(String, std::ops::Range<usize>)> = Vec::new();
    let mut counts: Vec<(usize, usize)> = Vec::new();
    let alike = |a: &std::ops::Range<usize>, b: &std::ops::Range<usize>| {
        a.len() == b.len()
            && a.clone().zip(b.clone()).all(|(i, j)| {
                let (first, second) = (label(s, i), label(s, j));
                s.symbols[i] == s.symbols[j] && (first.1, first.2) == (second.1, second.2)
            })
    };
    for molecule in molecules(s) {
        let kind = match counts.last().filter(|(k, _)| alike(&kinds[*k].1, &molecule)) {
            Some((k, _)) => Some(*k),
            None => kinds.iter().position(|k| alike(&k.1, &molecule)),
        };
        let kind = kind.unwrap_or_else(|| {
            let residue = label(s, molecule.start).1;
            let base = if is_polymer(residue) { "Chain" } else { residue };
            let same = kinds.iter().filter(|k| k.0 == base || k.0.starts_with(&format!("{base}_"))).count();
            kinds.push((if same == 0 { base.to_string() } else { format!("{base}_{}", same + 1) }, molecule.clone()));
            kinds.len() - 1
        });
        match counts.last_mut() {
            Some((k, n)) if *k == kind => *n += 1,
            _ => counts.push((kind, 1)),
        }
    }
    for (name, atoms) in &kinds {
        let _ = write!(
            text,
            "\n[ moleculetype ]\n; name nrexcl\n{name} 0\n\n[ atoms ]\n; nr type resnr residue atom cgnr charge mass\n"
        );
        for (nr, atom) in atoms.clone().enumerate() {
            let ((number, residue, name), symbol) = (label(s, atom), &s.symbols[atom]);
            let mass = mass(symbol).unwrap_or_default();
            let _ = writeln!(
                text,
                "{:6} {symbol:<4} {number:6} {residue:<5.5} {name:<5.5} {:6} 0.0 {mass:10.4}",
                nr + 1,
                nr + 1
            );
        }
    }
    text += "\n[ system ]\nby Weir\n\n[ molecules ]\n";
    for (kind, count) in counts {
        let _ = writeln!(text, "{:<12} {count}", kinds[kind].0);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> Structure {
        let rows = [
            ("N", 1, "ALA", "N"),
            ("C", 1, "ALA", "CA"),
            ("C", 2, "GLY", "CA"),
            ("O", 3, "SOL", "OW"),
            ("H", 3, "SOL", "HW1"),
            ("O", 4, "SOL", "OW"),
            ("H", 4, "SOL", "HW1"),
            ("Na", 5, "NA", "NA"),
            ("O", 6, "SOL", "OW"),
            ("H", 6, "SOL", "HW1"),
        ];
        Structure {
            symbols: rows.iter().map(|r| r.0.into()).collect(),
            positions: vec![[0.0; 3]; rows.len()],
            residue_numbers: rows.iter().map(|r| r.1).collect(),
            residues: rows.iter().map(|r| r.2.into()).collect(),
            names: rows.iter().map(|r| r.3.into()).collect(),
            ..Structure::default()
        }
    }

    #[test]
    fn chains_stay_together_and_alike_molecules_are_one_type() {
        let text = topology(&system()).unwrap();
        assert!(
            text.ends_with("[ molecules ]\nChain        1\nSOL          2\nNA           1\nSOL          1\n"),
            "{text}"
        );
        assert_eq!(text.matches("[ moleculetype ]").count(), 3);
        let charges_and_masses: Vec<(f64, f64)> = text
            .lines()
            .filter(|l| l.split_whitespace().count() == 8 && !l.starts_with(';'))
            .map(|l| {
                let w: Vec<&str> = l.split_whitespace().collect();
                (w[6].parse().unwrap(), w[7].parse().unwrap())
            })
            .collect();
        assert_eq!(charges_and_masses.len(), 6);
        assert!(charges_and_masses.iter().all(|(q, m)| *q == 0.0 && *m > 1.0), "{text}");
        let mut virtual_site = system();
        virtual_site.symbols[0] = "X".into();
        assert!(topology(&virtual_site).is_err());
    }

    #[test]
    fn the_given_parameters_lose_pme_and_constraints() {
        let text = mdp::set("coulombtype = PME\nconstraints = h-bonds\npbc = xyz\n", &DEMANDED);
        for (key, value) in [("coulombtype", "Cut-off"), ("constraints", "none"), ("pbc", "xyz"), ("DispCorr", "no")] {
            assert_eq!(mdp::value(&text, key), Some(value), "{text}");
        }
    }
}
