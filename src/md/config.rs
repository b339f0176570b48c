//! The configuration of `weir md`. Every key is described in `docs/md-config.md`; a test keeps the two in step.

use super::keys::{apply, check_keys};
use crate::problem::Usage;
use crate::settings;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use weir_allocators::policy::Layer;

/// A configuration, paths made absolute or relative to the working folder.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the file says.
    pub content: Content,
    /// Keys given by `--set`.
    pub set: HashSet<String>,
    /// The file, as given.
    pub path: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Content {
    pub model: Model,
    pub structure: Structure,
    #[serde(default)]
    pub compute: Compute,
    #[serde(default)]
    pub masses: BTreeMap<String, f64>,
    pub md: Md,
    #[serde(default)]
    pub output: Output,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Model {
    pub path: PathBuf,
    pub head: Option<String>,
    #[serde(default)]
    pub allow_unknown: bool,
    pub fparam: Option<Vec<f64>>,
    pub aparam: Option<PathBuf>,
    pub charge_spin: Option<Vec<f64>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Structure {
    pub path: PathBuf,
    pub format: Option<String>,
    pub select: Option<String>,
    pub elements: Option<PathBuf>,
    pub topology: Option<PathBuf>,
    pub index: Option<PathBuf>,
    #[serde(default)]
    pub types: Vec<String>,
    pub atoms: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(non_snake_case)]
pub struct Compute {
    pub backend: Option<String>,
    pub device: Option<u64>,
    pub precision: Option<String>,
    pub threads: Option<u64>,
    pub checkpoint: Option<String>,
    pub inside: Option<String>,
    pub placement: Option<String>,
    pub hbm_budget: Option<String>,
    pub host_budget: Option<String>,
    pub file_budget: Option<String>,
    pub store: Option<String>,
    pub scratch_dir: Option<String>,
    pub skin_A: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ensemble {
    Nve,
    Nvt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThermostatName {
    Langevin,
    Rescale,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialVelocities {
    #[default]
    Auto,
    Maxwell,
    File,
    Zero,
}

#[derive(Clone, Debug, Deserialize)]
#[allow(non_snake_case)]
pub struct Md {
    pub ensemble: Ensemble,
    pub thermostat: Option<ThermostatName>,
    pub timestep_fs: f64,
    pub steps: Option<u64>,
    pub time_ps: Option<f64>,
    pub temperature_K: Option<f64>,
    pub friction_per_ps: Option<f64>,
    pub coupling_time_ps: Option<f64>,
    #[serde(default)]
    pub seed: u64,
    #[serde(default)]
    pub initial_velocities: InitialVelocities,
    pub remove_com_every: Option<u64>,
    pub frozen: Option<String>,
    pub max_temperature_K: Option<f64>,
    pub max_displacement_A: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatName {
    Extxyz,
    Xtc,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Formats {
    One(FormatName),
    Many(Vec<FormatName>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Output {
    pub prefix: Option<PathBuf>,
    pub energy_every: u64,
    pub trajectory_every: u64,
    pub trajectory_format: Formats,
    pub restart_minutes: f64,
    pub plot: bool,
    pub overwrite: bool,
}

impl Default for Output {
    fn default() -> Self {
        Output {
            prefix: None,
            energy_every: 10,
            trajectory_every: 100,
            trajectory_format: Formats::One(FormatName::Extxyz),
            restart_minutes: 15.0,
            plot: true,
            overwrite: false,
        }
    }
}

impl Output {
    /// Trajectory formats, each once.
    pub fn formats(&self) -> Vec<FormatName> {
        let mut list = match &self.trajectory_format {
            Formats::One(one) => vec![*one],
            Formats::Many(many) => many.clone(),
        };
        list.sort_by_key(|f| *f as u8);
        list.dedup();
        list
    }
}

impl Config {
    /// Reads a file and applies `--set`.
    ///
    /// # Errors
    /// Unreadable files, unknown keys, values of a wrong kind or range.
    pub fn load(path: &Path, sets: &[String]) -> Result<Self, Usage> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| Usage(format!("{name}: {e}")))?;
        Self::parse(&text, path, sets)
    }

    fn parse(text: &str, path: &Path, sets: &[String]) -> Result<Self, Usage> {
        let at = |e: String| Usage(format!("{}: {e}", path.display()));
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| at(e.to_string()))?;
        check_keys(&table).map_err(at)?;
        let mut set = HashSet::new();
        for text in sets {
            set.insert(apply(&mut table, text).map_err(|e| Usage(format!("--set {text}: {e}")))?);
        }
        check_keys(&table).map_err(|e| Usage(format!("--set: {e}")))?;
        let content: Content = Value::Table(table).try_into().map_err(|e: toml::de::Error| at(e.to_string()))?;
        let mut config = Config { content, set, path: path.to_path_buf() };
        config.check().map_err(at)?;
        config.place();
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let (md, output) = (&self.content.md, &self.content.output);
        match (md.steps, md.time_ps) {
            (Some(_), Some(_)) => return Err("md.steps and md.time_ps are both given: keep one".into()),
            (None, None) => return Err("give md.steps or md.time_ps".into()),
            (None, Some(t)) if !(t.is_finite() && t >= 0.0) => {
                return Err(format!("md.time_ps is {t}: it must be zero or more"))
            }
            _ => {}
        }
        if !(md.timestep_fs.is_finite() && md.timestep_fs > 0.0) {
            return Err(format!("md.timestep_fs is {}: it must be positive", md.timestep_fs));
        }
        let only = |name: &str, given: bool, thermostat: ThermostatName| {
            if given && md.thermostat != Some(thermostat) {
                Err(format!("{name} belongs to md.thermostat = \"{}\"", format!("{thermostat:?}").to_lowercase()))
            } else {
                Ok(())
            }
        };
        only("md.friction_per_ps", md.friction_per_ps.is_some(), ThermostatName::Langevin)?;
        only("md.coupling_time_ps", md.coupling_time_ps.is_some(), ThermostatName::Rescale)?;
        match (md.ensemble, md.thermostat) {
            (Ensemble::Nve, Some(_)) => return Err("md.ensemble = \"nve\" has no md.thermostat".into()),
            (Ensemble::Nvt, None) => {
                return Err("md.ensemble = \"nvt\" needs md.thermostat = \"langevin\" or \"rescale\"".into())
            }
            (Ensemble::Nvt, Some(_)) if md.temperature_K.is_none() => {
                return Err("md.ensemble = \"nvt\" needs md.temperature_K".into())
            }
            _ => {}
        }
        if let Some(t) = md.temperature_K.filter(|t| !(t.is_finite() && *t >= 0.0)) {
            return Err(format!("md.temperature_K is {t}: it must be zero or more"));
        }
        if output
            .prefix
            .as_ref()
            .is_some_and(|p| p.as_os_str().is_empty() || p.to_string_lossy().ends_with(['/', '\\']))
        {
            return Err("output.prefix must end with the first part of a file name, not with a folder".into());
        }
        if output.energy_every == 0 {
            return Err("output.energy_every must be at least 1".into());
        }
        if !(output.restart_minutes.is_finite() && output.restart_minutes > 0.0 && output.restart_minutes <= 1e6) {
            return Err(format!("output.restart_minutes is {}: it must be positive", output.restart_minutes));
        }
        if let Some(skin) = self.content.compute.skin_A.filter(|s| !(s.is_finite() && (0.0..=10.0).contains(s))) {
            return Err(format!("compute.skin_A is {skin}: it must lie between 0 and 10"));
        }
        self.layers().map(|_| ()).map_err(|e| e.0)
    }

    /// Makes paths relative to the configuration file.
    fn place(&mut self) {
        let base = self.path.parent().unwrap_or(Path::new("")).to_path_buf();
        let c = &mut self.content;
        for path in [&mut c.model.path, &mut c.structure.path] {
            *path = base.join(&*path);
        }
        let s = &mut c.structure;
        for path in
            [&mut c.model.aparam, &mut s.elements, &mut s.topology, &mut s.index, &mut s.atoms].into_iter().flatten()
        {
            *path = base.join(&*path);
        }
        let stem = self.path.file_stem().map_or(PathBuf::from("md"), PathBuf::from);
        c.output.prefix = Some(base.join(c.output.prefix.take().unwrap_or(stem)));
    }

    /// Path of an output: the prefix and a suffix.
    pub fn output(&self, suffix: &str) -> PathBuf {
        let mut name = self.content.output.prefix.clone().unwrap_or_default().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }

    /// Number of steps.
    pub fn steps(&self) -> u64 {
        let md = &self.content.md;
        md.steps.unwrap_or_else(|| (md.time_ps.unwrap_or(0.0) * 1e3 / md.timestep_fs).round() as u64)
    }

    /// Settings as layers: those of `--set`, which win over the environment, and those of the file, which do not.
    ///
    /// # Errors
    /// Wrong values.
    pub fn layers(&self) -> Result<(Layer, Layer), Usage> {
        let (mut flags, mut file) = (Layer::default(), Layer::default());
        let (c, name) = (&self.content.compute, self.path.display());
        let (threads, device) = (c.threads.map(|n| n.to_string()), c.device.map(|n| n.to_string()));
        let given = [
            ("model", "head", &self.content.model.head),
            ("compute", "backend", &c.backend),
            ("compute", "device", &device),
            ("compute", "precision", &c.precision),
            ("compute", "threads", &threads),
            ("compute", "checkpoint", &c.checkpoint),
            ("compute", "inside", &c.inside),
            ("compute", "placement", &c.placement),
            ("compute", "hbm_budget", &c.hbm_budget),
            ("compute", "host_budget", &c.host_budget),
            ("compute", "file_budget", &c.file_budget),
            ("compute", "store", &c.store),
            ("compute", "scratch_dir", &c.scratch_dir),
        ];
        for (section, key, text) in given {
            let Some(text) = text else { continue };
            let full = format!("{section}.{key}");
            match self.set.contains(&full) {
                true => settings::set(&mut flags, key, &format!("--set {full}"), text)?,
                false => settings::set(&mut file, key, &format!("{name}, {full}"), text)?,
            }
        }
        Ok((flags, file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::SECTIONS;
    use super::*;

    const GOOD: &str = r#"
        [model]
        path = "model.dp"
        [structure]
        path = "../start.extxyz"
        [md]
        ensemble = "nvt"
        thermostat = "langevin"
        timestep_fs = 0.5
        steps = 100
        temperature_K = 300
    "#;

    fn parse(text: &str, sets: &[&str]) -> Result<Config, String> {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        Config::parse(text, Path::new("runs/water.toml"), &sets).map_err(|e| e.to_string())
    }

    #[test]
    fn paths_are_relative_to_the_configuration() {
        let config = parse(GOOD, &[]).unwrap();
        assert_eq!(config.content.model.path, Path::new("runs/model.dp"));
        assert_eq!(config.content.structure.path, Path::new("runs/../start.extxyz"));
        assert_eq!(config.output(".csv"), Path::new("runs/water.csv"));
        assert_eq!(config.content.md.temperature_K, Some(300.0));
    }

    #[test]
    fn unknown_keys_are_errors_with_the_nearest_name() {
        let with = |line: &str| parse(&format!("{GOOD}\n{line}"), &[]).unwrap_err();
        assert!(with("temprature_K = 3").contains("md.temprature_K; did you mean temperature_K?"));
        assert!(with("[outputs]").contains("did you mean output?"));
        assert!(with("prefix = \"x\"").contains("did you mean output.prefix?"));
        assert!(parse(&format!("steps = 5\n{GOOD}"), &[]).unwrap_err().contains("belongs under [md]"));
        assert!(parse(GOOD, &["md.stesp=5"]).unwrap_err().contains("did you mean steps?"));
    }

    #[test]
    fn constant_pressure_is_refused_with_a_way_out() {
        for line in ["pressure_bar = 1.0", "barostat = \"mtk\"", "[barostat]"] {
            let message = parse(&format!("{GOOD}\n{line}"), &[]).unwrap_err();
            assert!(message.contains("LAMMPS") && message.contains("i-PI"), "{message}");
        }
        assert!(parse(GOOD, &["md.ensemble=npt"]).unwrap_err().contains("LAMMPS"));
    }

    #[test]
    fn set_overrides_the_file() {
        let config =
            parse(GOOD, &["md.steps=7", "output.prefix=other", "md.temperature_K=310.5", "masses.H=2.014"]).unwrap();
        assert_eq!(config.steps(), 7);
        assert_eq!(config.output(".csv"), Path::new("runs/other.csv"));
        assert_eq!(config.content.masses["H"], 2.014);
        assert_eq!(parse(GOOD, &["md.time_ps=1"]).unwrap().steps(), 2000);
        for bad in ["steps=5", "md.steps", "md.steps=many", "md.steps=-1", "compute.threads=0", "compute.precision=f31"]
        {
            assert!(parse(GOOD, &[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_that_looks_like_a_number_stays_text() {
        let sets = ["compute.file_budget=0", "output.prefix=310", "structure.path=1e3", "model.head=\"true\""];
        let config = parse(GOOD, &sets).unwrap();
        assert_eq!(config.content.compute.file_budget.as_deref(), Some("0"));
        assert_eq!(config.output(".csv"), Path::new("runs/310.csv"));
        assert_eq!(config.content.structure.path, Path::new("runs/1e3"));
        assert_eq!(config.content.model.head.as_deref(), Some("true"));
    }

    #[test]
    fn contradictions_are_refused() {
        for (sets, word) in [
            (&["md.thermostat=rescale", "md.friction_per_ps=1"][..], "friction"),
            (&["md.ensemble=nve"], "thermostat"),
            (&["md.timestep_fs=0"], "timestep"),
            (&["md.timestep_fs=nan"], "timestep"),
            (&["md.temperature_K=-3"], "temperature"),
            (&["output.energy_every=0"], "energy_every"),
            (&["output.restart_minutes=0"], "restart_minutes"),
            (&["output.trajectory_format=dcd"], "trajectory_format"),
            (&["output.prefix=runs/"], "prefix"),
        ] {
            let message = parse(GOOD, sets).unwrap_err();
            assert!(message.contains(word), "{sets:?}: {message}");
        }
    }

    #[test]
    fn every_key_is_documented() {
        let text = include_str!("../../docs/md-config.md");
        for section in SECTIONS {
            let name = section.name;
            assert!(text.contains(&format!("[{name}]")), "{name}");
            for key in section.keys() {
                assert!(text.contains(&format!("`{key}`")), "{name}.{key}");
            }
        }
    }

    #[test]
    fn the_water_example_is_a_good_configuration() {
        let config = parse(include_str!("../../examples/water.toml"), &[]).unwrap();
        assert!(config.content.output.plot && config.content.output.overwrite);
    }

    #[test]
    fn the_documented_example_is_a_good_configuration() {
        let text = include_str!("../../docs/md-config.md");
        let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        parse(example, &[]).unwrap();
    }
}
