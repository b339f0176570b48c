//! Machine files: what is known of a machine that need not be here. Every figure has a source.

use crate::problem::Usage;
use crate::settings::hint;
use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer};
use std::path::Path;
use weir_allocators::kind::Tier;
use weir_kernels::{Chip, Products};

/// The files of `hardware-notes/machines`, carried in the program.
const KNOWN: [(&str, &str); 11] = [
    ("a100-40", include_str!("../../hardware-notes/machines/a100-40.toml")),
    ("dgx-spark", include_str!("../../hardware-notes/machines/dgx-spark.toml")),
    ("gb200", include_str!("../../hardware-notes/machines/gb200.toml")),
    ("gh200-144", include_str!("../../hardware-notes/machines/gh200-144.toml")),
    ("gh200-96", include_str!("../../hardware-notes/machines/gh200-96.toml")),
    ("h100-80-pcie-host", include_str!("../../hardware-notes/machines/h100-80-pcie-host.toml")),
    ("h200", include_str!("../../hardware-notes/machines/h200.toml")),
    ("laptop", include_str!("../../hardware-notes/machines/laptop.toml")),
    ("mi300a", include_str!("../../hardware-notes/machines/mi300a.toml")),
    ("mi300x", include_str!("../../hardware-notes/machines/mi300x.toml")),
    ("quad-gh200", include_str!("../../hardware-notes/machines/quad-gh200.toml")),
];

/// A figure and who says so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// In the unit that its key names.
    pub value: f64,
    /// Who measured it, or what was assumed.
    pub source: String,
}

/// A rate of arithmetic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// 10^12 operations a second.
    pub value: f64,
    /// Share of it that kernels are taken to reach, above 0, at most 1.
    pub efficiency: f64,
    /// Who says so.
    pub source: String,
}

impl Peak {
    /// FLOP/s.
    pub fn rate(&self) -> f64 {
        self.value * self.efficiency * 1e12
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The CPU backend.
    Cpu,
    /// A GPU backend.
    Gpu,
}

/// Arithmetic of a machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// Plain single precision.
    pub f32_tflops: Peak,
    /// Three passes of TF32 (or xf32).
    pub tf32x3_tflops: Option<Peak>,
    /// Three passes of f16.
    pub f16x3_tflops: Option<Peak>,
    /// Activations a second; none: the efficiency contains them.
    pub activations_per_s: Option<Figure>,
    /// Microseconds a kernel launch takes.
    pub launch_us: Option<Figure>,
    /// Name of a GPU to compilers, which tells whose kernels it runs (`sm_90a`, `gfx942`).
    #[serde(default, deserialize_with = "chip")]
    pub chip: Option<Chip>,
}

fn chip<'de, D: Deserializer<'de>>(name: D) -> Result<Option<Chip>, D::Error> {
    String::deserialize(name)?.parse().map(Some).map_err(serde::de::Error::custom)
}

impl Compute {
    /// Rates of products, by key.
    fn peaks(&self) -> impl Iterator<Item = (&'static str, &Peak)> {
        let units = [("tf32x3_tflops", &self.tf32x3_tflops), ("f16x3_tflops", &self.f16x3_tflops)];
        std::iter::once(("f32_tflops", &self.f32_tflops))
            .chain(units.into_iter().filter_map(|(key, peak)| Some((key, peak.as_ref()?))))
    }

    /// Rate of three passes on matrix units, where it is known.
    pub fn three_passes(&self, products: Products) -> Option<&Peak> {
        match products {
            Products::Tf32x3 => self.tf32x3_tflops.as_ref(),
            Products::F16x3 => self.f16x3_tflops.as_ref(),
            _ => None,
        }
    }

    /// How an f32 model's products are made where nobody says otherwise.
    pub fn products(&self) -> Products {
        self.chip.as_ref().map_or(Products::Plain, Products::of_single)
    }
}

/// A memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierFile {
    /// As in `WEIR_PLACEMENT`.
    pub name: String,
    /// 10^9 bytes.
    pub capacity_gb: Figure,
    /// 10^9 bytes that others need.
    pub reserve_gb: Option<Figure>,
    /// 10^9 bytes/s of the memory itself.
    pub bandwidth_gbs: Option<Figure>,
    /// 10^9 bytes/s from the first tier.
    pub out_gbs: Option<Figure>,
    /// 10^9 bytes/s to the first tier.
    pub in_gbs: Option<Figure>,
    /// As `out_gbs`, both directions busy.
    pub both_out_gbs: Option<Figure>,
    /// As `in_gbs`, both directions busy.
    pub both_in_gbs: Option<Figure>,
    /// Microseconds of a copy.
    pub latency_us: Option<Figure>,
    /// Share of a copy that does not slow the computation, 0 to 1.
    pub overlap: Option<Figure>,
    /// Seconds to take a GiB, once.
    pub setup_s_per_gib: Option<Figure>,
}

impl TierFile {
    /// Bytes beside the reserve.
    pub fn bytes(&self) -> u64 {
        let reserve = self.reserve_gb.as_ref().map_or(0.0, |f| f.value);
        ((self.capacity_gb.value - reserve) * 1e9) as u64
    }

    fn figures(&self) -> Vec<(&'static str, &Figure)> {
        let rest = [
            ("reserve_gb", &self.reserve_gb),
            ("bandwidth_gbs", &self.bandwidth_gbs),
            ("out_gbs", &self.out_gbs),
            ("in_gbs", &self.in_gbs),
            ("both_out_gbs", &self.both_out_gbs),
            ("both_in_gbs", &self.both_in_gbs),
            ("latency_us", &self.latency_us),
            ("overlap", &self.overlap),
            ("setup_s_per_gib", &self.setup_s_per_gib),
        ];
        let rest = rest.into_iter().filter_map(|(key, f)| Some((key, f.as_ref()?)));
        [("capacity_gb", &self.capacity_gb)].into_iter().chain(rest).collect()
    }
}

/// A machine file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Name for the command line.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What computes.
    pub kind: Kind,
    /// Whether all memory tiers are one memory.
    pub one_pool: bool,
    /// What else is to be known.
    #[serde(default)]
    pub notes: String,
    /// Machines of this kind in a node.
    pub tasks_per_node: Option<Figure>,
    /// Arithmetic.
    pub compute: Compute,
    /// Memories, the computing one first.
    pub tier: Vec<TierFile>,
}

/// Names and titles of the machines that the program knows.
///
/// # Errors
/// A carried file that is wrong.
pub fn known() -> Result<Vec<Machine>> {
    KNOWN.iter().map(|(name, text)| Machine::parse(text, name)).collect()
}

impl Machine {
    /// A known machine, or one from a file.
    ///
    /// # Errors
    /// [`Usage`] for unknown names and wrong files.
    pub fn find(name: &str) -> Result<Self> {
        if let Some((known, text)) = KNOWN.iter().find(|k| k.0 == name) {
            return Self::parse(text, known);
        }
        let path = Path::new(name);
        if path.is_file() {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
            return Self::parse(&text, name);
        }
        let near = hint(name, KNOWN.iter().map(|k| k.0));
        let what = if name.ends_with(".toml") || name.contains('/') { "no such file" } else { "no such machine" };
        Err(Usage(format!(
            "--machine {name}: {what}{near} (--machine list shows them; a file of the same form does too)"
        ))
        .into())
    }

    /// Reads and checks a machine file; `origin` is named in errors.
    ///
    /// # Errors
    /// [`Usage`]: unknown keys, missing figures, figures that are no amounts.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let machine: Machine = toml::from_str(text).map_err(|e| Usage(format!("machine file {origin}: {e}")))?;
        machine.check().map_err(|why| Usage(format!("machine file {origin}: {why}")))?;
        Ok(machine)
    }

    fn check(&self) -> Result<(), String> {
        for (key, figure) in self.figures() {
            let share = key.ends_with(".overlap") || key.ends_with(".efficiency");
            let least = if key.ends_with(".overlap") { 0.0 } else { f64::MIN_POSITIVE };
            if !(figure.is_finite() && figure >= least && (!share || figure <= 1.0)) {
                let want = if share { "a share between 0 and 1" } else { "above 0" };
                return Err(format!("{key} is {figure}: it must be {want}; leave out what is not known"));
            }
        }
        let mut seen = Vec::new();
        for (k, tier) in self.tier.iter().enumerate() {
            let kind: Tier = tier.name.parse().map_err(|e| format!("tier {}: {e}", k + 1))?;
            if seen.contains(&kind) {
                return Err(format!("tier {kind} stands twice"));
            }
            seen.push(kind);
            if tier.bytes() == 0 {
                return Err(format!(
                    "tier {kind}: reserve_gb of {} leaves nothing of {}",
                    tier.reserve_gb.as_ref().map_or(0.0, |f| f.value),
                    tier.capacity_gb.value
                ));
            }
            let rates = [("out_gbs", &tier.out_gbs), ("in_gbs", &tier.in_gbs)];
            if let (true, Some((key, _))) = (k > 0, rates.iter().find(|r| r.1.is_none())) {
                return Err(format!("tier {kind} has no {key}: rates of copies from and to hbm are needed"));
            }
        }
        match self.tier.first() {
            Some(first) if seen[0] == Tier::Hbm && first.bandwidth_gbs.is_some() => Ok(()),
            Some(_) if seen[0] == Tier::Hbm => Err("tier hbm has no bandwidth_gbs".into()),
            _ => Err("the first tier is not hbm, where kernels compute".into()),
        }
    }

    /// Every number with its key.
    fn figures(&self) -> Vec<(String, f64)> {
        let mut all = Vec::new();
        for (key, peak) in self.compute.peaks() {
            all.push((format!("compute.{key}.value"), peak.value));
            all.push((format!("compute.{key}.efficiency"), peak.efficiency));
        }
        all.extend(self.sources().into_iter().filter(|s| !s.0.ends_with("tflops")).map(|(key, value, _)| (key, value)));
        all
    }

    /// Key, value and source of every figure.
    pub fn sources(&self) -> Vec<(String, f64, &str)> {
        let c = &self.compute;
        let mut all = Vec::new();
        all.extend(c.peaks().map(|(key, p)| (format!("compute.{key}"), p.value, p.source.as_str())));
        let single = [
            ("tasks_per_node", &self.tasks_per_node),
            ("compute.activations_per_s", &c.activations_per_s),
            ("compute.launch_us", &c.launch_us),
        ];
        for (key, figure) in single {
            all.extend(figure.as_ref().map(|f| (key.to_string(), f.value, f.source.as_str())));
        }
        for tier in &self.tier {
            let name = |key| format!("{}.{key}", tier.name);
            all.extend(tier.figures().into_iter().map(|(key, f)| (name(key), f.value, f.source.as_str())));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_carried_file_is_right_and_bears_its_name() {
        let machines = known().unwrap();
        assert_eq!(
            machines.len(),
            std::fs::read_dir("hardware-notes/machines").unwrap().count(),
            "a file is not carried"
        );
        for (machine, (name, _)) in machines.iter().zip(KNOWN) {
            assert_eq!(machine.name, name);
            assert!(machine.sources().iter().all(|s| !s.2.is_empty()), "{name}");
        }
    }

    #[test]
    fn wrong_figures_and_unknown_keys_are_refused_by_name() {
        let right = KNOWN.iter().find(|k| k.0 == "gh200-96").unwrap().1;
        for (from, to, words) in [
            ("one_pool = false", "one_pol = false", "one_pol"),
            ("capacity_gb = { value = 480.0,", "capacity_gb = { value = -480.0,", "pinned.capacity_gb is -480"),
            ("out_gbs = { value = 297.0,", "out_gbs = { value = nan,", "pinned.out_gbs is NaN"),
            ("out_gbs = { value = 297.0,", "out_gbs = { value = inf,", "pinned.out_gbs is inf"),
            ("value = 67.0, efficiency = 0.4", "value = 0.0, efficiency = 0.4", "f32_tflops.value is 0"),
            ("value = 67.0, efficiency = 0.4", "value = 67.0, efficiency = 1.4", "f32_tflops.efficiency is 1.4"),
            ("reserve_gb = { value = 2.0", "reserve_gb = { value = 200.0", "leaves nothing of 96"),
            ("name = \"pinned\"", "name = \"pined\"", "pined"),
            ("name = \"pinned\"", "name = \"hbm\"", "stands twice"),
            ("in_gbs = { value = 375.0", "# ", "no in_gbs"),
            ("kind = \"gpu\"", "kind = \"tpu\"", "tpu"),
        ] {
            assert!(right.contains(from), "{from}");
            let error = Machine::parse(&right.replacen(from, to, 1), "mine.toml").unwrap_err();
            assert!(error.downcast_ref::<Usage>().is_some());
            let text = error.to_string();
            assert!(text.contains(words) && text.contains("mine.toml"), "{to}: {text}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest() {
        let text = Machine::find("gh200-69").unwrap_err().to_string();
        assert!(text.contains("did you mean gh200-96?"), "{text}");
    }
}
