//! `weir.dat`: what GROMACS cannot tell a PLUMED kernel. One `key value` a line, `#` begins a comment.

use std::path::{Path, PathBuf};
use weir_allocators::policy::nearest;
use weir_engine::backend::FrameParameters;
use weir_ffi::options::{parse as options, Layer};
use weir_ffi::Error;

use super::ranges;

const KEYS: [&str; 16] = [
    "model",
    "head",
    "options",
    "structure",
    "topology",
    "elements",
    "element",
    "index",
    "group",
    "pbc",
    "fparam",
    "charge_spin",
    "energy_log",
    "energy_every",
    "plumed_kernel",
    "plumed_file",
];

/// Which atoms the model sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Group {
    /// Every atom.
    #[default]
    All,
    /// These, from 0.
    Atoms(Vec<usize>),
    /// A group of the index file.
    Named(String),
}

/// Whether the model sees periodic images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Periodic {
    /// Where the box is not zero.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never: `pbc = no` runs may carry a box.
    No,
}

/// A configuration. Files that are read lie beside the configuration file, the energy log where the MD code runs.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Model file.
    pub model: PathBuf,
    /// Settings that stand before the environment's.
    pub settings: Layer,
    /// Structure that tells the elements.
    pub structure: Option<PathBuf>,
    /// Topology that helps the structure.
    pub topology: Option<PathBuf>,
    /// Table of elements that helps the structure.
    pub elements: Option<PathBuf>,
    /// Elements of atoms (from 0), `X` for those that the model does not see.
    pub element: Vec<(String, Vec<usize>)>,
    /// Index file.
    pub index: Option<PathBuf>,
    /// The model's atoms.
    pub group: Group,
    /// Images.
    pub periodic: Periodic,
    /// Inputs beside positions.
    pub parameters: FrameParameters,
    /// Energy log; none where it is off.
    pub energy_log: Option<PathBuf>,
    /// Steps between its lines.
    pub energy_every: u64,
    /// Real PLUMED kernel, and its input.
    pub forward: Option<(PathBuf, PathBuf)>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read; see [`Config::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| Error::Argument(format!("{name}: {e}")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|e| Error::Argument(format!("{name}: {e}")))
    }

    /// Reads a text; relative names are below `folder`.
    ///
    /// # Errors
    /// Unknown keys (with the nearest valid one), keys said twice, values that are none, keys that miss another.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Error> {
        let mut config = Config { energy_log: Some("weir_energy.xvg".into()), energy_every: 100, ..Config::default() };
        let (mut seen, mut kernel, mut input) = (Vec::new(), None, None);
        for (k, line) in text.lines().enumerate() {
            // A file's name may have one in it.
            let begins = |&(k, c): &(usize, char)| c == '#' && (k == 0 || line[..k].ends_with(char::is_whitespace));
            let line = line.char_indices().find(begins).map_or(line, |(k, _)| &line[..k]).trim();
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let value = value.trim().trim_start_matches('=').trim();
            if key.is_empty() {
                continue;
            }
            let at = |e: String| Error::Argument(format!("line {}: {e}", k + 1));
            if !KEYS.contains(&key) {
                let close = nearest(key, KEYS);
                return Err(at(format!("unknown key \"{key}\", did you mean \"{close}\"? Keys: {}", KEYS.join(" "))));
            }
            if key != "element" && seen.contains(&key) {
                return Err(at(format!("\"{key}\" is said twice")));
            }
            seen.push(key);
            if value.is_empty() {
                return Err(at(format!("\"{key}\" needs a value")));
            }
            let file = || Some(folder.join(value));
            match key {
                "model" => config.model = folder.join(value),
                "head" => config.settings.set("head", "key head", value).map_err(|e| at(e.to_string()))?,
                "options" => {
                    let head = config.settings.head.take();
                    config.settings = options(value).map_err(|e| at(e.to_string()))?;
                    config.settings.head = head.or(config.settings.head.take());
                }
                "structure" => config.structure = file(),
                "topology" => config.topology = file(),
                "elements" => config.elements = file(),
                "element" => {
                    let (symbol, atoms) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
                    let atoms = ranges::parse(atoms).map_err(|e| at(e.to_string()))?;
                    if atoms.is_empty() {
                        return Err(at("write: element O 1-300:3, atoms counting from 1".into()));
                    }
                    config.element.push((symbol.to_string(), atoms));
                }
                "index" => config.index = file(),
                "group" => config.group = group(value).map_err(|e| at(e.to_string()))?,
                "pbc" => {
                    config.periodic = match value {
                        "auto" => Periodic::Auto,
                        "yes" | "xyz" => Periodic::Yes,
                        "no" => Periodic::No,
                        other => return Err(at(format!("pbc \"{other}\" is none of: auto yes no"))),
                    }
                }
                "fparam" => config.parameters.fparam = Some(numbers(value).map_err(at)?),
                "charge_spin" => match numbers(value).map_err(at)?[..] {
                    [charge, spin] => config.parameters.charge_spin = Some([charge, spin]),
                    _ => return Err(at("charge_spin takes two numbers: total charge and spin".into())),
                },
                "energy_log" => config.energy_log = (value != "off").then(|| value.into()),
                "energy_every" => {
                    config.energy_every =
                        value.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                            at(format!("energy_every \"{value}\" is not a number of steps (1 or more)"))
                        })?;
                }
                // A bare name is looked for by the loader, as PLUMED_KERNEL is.
                "plumed_kernel" => kernel = if value.contains('/') { file() } else { Some(value.into()) },
                _ => input = file(),
            }
        }
        if !seen.contains(&"model") {
            return Err(Error::Argument("the key \"model\" is missing: model FILE".into()));
        }
        config.forward = match (kernel, input) {
            (Some(kernel), Some(input)) => Some((kernel, input)),
            (None, None) => None,
            _ => return Err(Error::Argument("plumed_kernel and plumed_file go together".into())),
        };
        config.complete()
    }

    /// Keys that need another.
    fn complete(self) -> Result<Self, Error> {
        let refuse = |text: &str| Err(Error::Argument(text.into()));
        match (&self.structure, self.element.is_empty()) {
            (None, true) => {
                refuse("what the atoms are is missing: structure FILE, or lines such as: element O 1-300:3")
            }
            (Some(_), false) => refuse("\"structure\" and \"element\" both tell the elements: keep one"),
            (None, false) if self.topology.is_some() || self.elements.is_some() => {
                refuse("\"topology\" and \"elements\" help to read a structure: name it with \"structure\"")
            }
            _ if matches!(self.group, Group::Named(_)) && self.index.is_none() => {
                refuse("\"group\" names a group of an index file: name the file with \"index\"")
            }
            _ => Ok(self),
        }
    }
}

/// Ranges where the value begins with a digit, else a name.
fn group(value: &str) -> Result<Group, Error> {
    if value.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(Group::Atoms(ranges::parse(value)?));
    }
    Ok(if value == "all" { Group::All } else { Group::Named(value.to_string()) })
}

fn numbers(value: &str) -> Result<Vec<f64>, String> {
    let one = |w: &str| w.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| format!("\"{w}\" is no number"));
    value.split_whitespace().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/run")).map_err(|e| e.to_string())
    }

    #[test]
    fn keys_are_read_and_files_lie_beside_the_configuration() {
        let c = parse(
            "# comment\nmodel m.dp\nhead A\noptions threads=2; precision=f64\nelement O 1-6:3 # oxygen\nelement H 2-3 5-6\n\
             group 1-3\npbc no\nenergy_log e.xvg\nenergy_every 5\nplumed_kernel libplumedKernel.so\nplumed_file p.dat\ncharge_spin 1 0\n",
        )
        .unwrap();
        assert_eq!((c.model, c.energy_log, c.energy_every), ("/run/m.dp".into(), Some("e.xvg".into()), 5));
        assert_eq!((c.settings.head.unwrap().value, c.settings.threads.unwrap().value), ("A".to_string(), 2));
        assert_eq!(c.element, [("O".to_string(), vec![0, 3]), ("H".to_string(), vec![1, 2, 4, 5])]);
        assert_eq!((c.group, c.periodic), (Group::Atoms(vec![0, 1, 2]), Periodic::No));
        assert_eq!(c.forward, Some(("libplumedKernel.so".into(), "/run/p.dat".into())));
        assert_eq!(c.parameters.charge_spin, Some([1.0, 0.0]));
        let c = parse("options head=B\nmodel /abs/m.dp\nstructure s.gro\nindex i.ndx\ngroup Protein\nenergy_log off")
            .unwrap();
        assert_eq!((c.model, c.energy_log, c.energy_every), ("/abs/m.dp".into(), None, 100));
        assert_eq!((c.group, c.settings.head.unwrap().value), (Group::Named("Protein".into()), "B".to_string()));
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_remedy() {
        for (text, told) in [
            ("modell m.dp", "line 1: unknown key \"modell\", did you mean \"model\"?"),
            ("\nmodel m.dp\nmodel n.dp", "line 3: \"model\" is said twice"),
            ("model", "line 1: \"model\" needs a value"),
            ("structure s.gro", "\"model\" is missing"),
            ("model m.dp", "what the atoms are is missing"),
            ("model m.dp\nstructure s\nelement O 1", "keep one"),
            ("model m.dp\nelement O 1\ntopology t.top", "name it with \"structure\""),
            ("model m.dp\nelement O", "element O 1-300:3"),
            ("model m.dp\nelement O 0-3", "range of atoms"),
            ("model m.dp\nelement O 1\ngroup Protein", "name the file with \"index\""),
            ("model m.dp\nelement O 1\npbc xy", "none of: auto yes no"),
            ("model m.dp\nelement O 1\nenergy_every 0", "number of steps"),
            ("model m.dp\nelement O 1\noptions thread=2", "threads"),
            ("model m.dp\nelement O 1\nplumed_file p.dat", "go together"),
            ("model m.dp\nelement O 1\ncharge_spin 1", "two numbers"),
            ("model m.dp\nelement O 1\nfparam nan", "\"nan\" is no number"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(told), "{text}: {said}");
        }
    }
}
