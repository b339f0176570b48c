//! The committed table: TOML, one line per kernel, one table per chip.

use super::Resources;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What kernels needed when somebody last looked: chip, then kernel (`source/kernel`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    chips: BTreeMap<String, Part>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    compiler: String,
    kernels: BTreeMap<String, Resources>,
}

/// A table that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table of kernel resources: {0}")]
pub struct TableError(String);

/// Something that got worse, or a table that does not fit the kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Registers in memory without a reason in the table, or more than it says.
    Spill {
        /// Where.
        at: [String; 2],
        /// Now.
        spills: u32,
        /// Accepted.
        accepted: u32,
    },
    /// A stack without a reason, or a larger one.
    Stack {
        /// Where.
        at: [String; 2],
        /// Now, bytes.
        stack: u32,
        /// Accepted, bytes.
        accepted: u32,
    },
    /// More than a tenth more than before.
    Jump {
        /// Where.
        at: [String; 2],
        /// `registers` or `shared memory`.
        what: &'static str,
        /// Now.
        now: u32,
        /// In the table.
        before: u32,
    },
    /// A kernel that the table does not know.
    Unlisted([String; 2]),
    /// A kernel that is no more.
    Gone([String; 2]),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Spill { at: [chip, kernel], spills, accepted } => {
                write!(f, "{kernel} on {chip} spills {spills} (accepted: {accepted})")
            }
            Fault::Stack { at: [chip, kernel], stack, accepted } => {
                write!(f, "{kernel} on {chip} has a stack of {stack} bytes (accepted: {accepted})")
            }
            Fault::Jump { at: [chip, kernel], what, now, before } => {
                write!(f, "{kernel} on {chip}: {what} went from {before} to {now}, more than a tenth")
            }
            Fault::Unlisted([chip, kernel]) => write!(f, "{kernel} on {chip} is not in the table"),
            Fault::Gone([chip, kernel]) => write!(f, "{kernel} on {chip} is in the table and no more in the text"),
        }
    }
}

impl Table {
    /// Reads the text of a table.
    ///
    /// # Errors
    /// It is no TOML, or none of this form.
    pub fn parse(text: &str) -> Result<Table, TableError> {
        toml::from_str(text).map(|chips| Table { chips }).map_err(|e| TableError(e.to_string()))
    }

    /// Sets what was found for a chip; reasons given before stay. `compiler` is its name and version, `nvrtc 12.8`.
    pub fn set(&mut self, chip: &str, compiler: &str, found: &BTreeMap<String, Resources>) {
        let old = self.chips.remove(chip).unwrap_or_default().kernels;
        let reason = |kernel: &String| old.get(kernel).map(|r| r.reason.clone()).unwrap_or_default();
        let kernels = found.iter().map(|(k, r)| (k.clone(), Resources { reason: reason(k), ..r.clone() })).collect();
        self.chips.insert(chip.into(), Part { compiler: compiler.into(), kernels });
    }

    /// What made the numbers of a chip: they are compared only with those of the same compiler.
    pub fn compiler(&self, chip: &str) -> Option<&str> {
        self.chips.get(chip).map(|part| part.compiler.as_str())
    }

    /// What is wrong with kernels of a chip. Spills and stacks count with any compiler, jumps only with that of the table.
    pub fn compare(&self, chip: &str, compiler: &str, found: &BTreeMap<String, Resources>) -> Vec<Fault> {
        let none = Part::default();
        let part = self.chips.get(chip).unwrap_or(&none);
        let mut faults = Vec::new();
        for (kernel, now) in found {
            let at = || [chip.to_string(), kernel.clone()];
            let listed = part.kernels.get(kernel);
            let accepted = listed.filter(|r| !r.reason.is_empty()).map_or((0, 0), |r| (r.spills, r.stack));
            if now.spills > accepted.0 {
                faults.push(Fault::Spill { at: at(), spills: now.spills, accepted: accepted.0 });
            } else if now.stack > accepted.1 {
                faults.push(Fault::Stack { at: at(), stack: now.stack, accepted: accepted.1 });
            }
            let Some(before) = listed else {
                faults.push(Fault::Unlisted(at()));
                continue;
            };
            let pairs = [
                ("registers", now.registers + now.accumulation, before.registers + before.accumulation),
                ("shared memory", now.shared, before.shared),
            ];
            for (what, now, before) in pairs.into_iter().filter(|_| part.compiler == compiler) {
                if u64::from(now) * 10 > u64::from(before) * 11 {
                    faults.push(Fault::Jump { at: at(), what, now, before });
                }
            }
        }
        let gone = part.kernels.keys().filter(|k| !found.contains_key(*k));
        faults.extend(gone.map(|k| Fault::Gone([chip.to_string(), k.clone()])));
        faults
    }
}

impl fmt::Display for Table {
    /// As it is committed: numbers that are 0 are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::String(text.into()).to_string();
        for (index, (chip, part)) in self.chips.iter().enumerate() {
            writeln!(f, "{}[{}]", if index > 0 { "\n" } else { "" }, quoted(chip))?;
            writeln!(f, "compiler = {}\n\n[{}.kernels]", quoted(&part.compiler), quoted(chip))?;
            for (kernel, r) in &part.kernels {
                let numbers = [
                    ("registers", r.registers),
                    ("accumulation", r.accumulation),
                    ("scalar", r.scalar),
                    ("shared", r.shared),
                    ("stack", r.stack),
                    ("spills", r.spills),
                    ("occupancy", r.occupancy),
                ];
                let mut parts: Vec<String> =
                    numbers.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} = {n}")).collect();
                if !r.reason.is_empty() {
                    parts.push(format!("reason = {}", quoted(&r.reason)));
                }
                writeln!(f, "{} = {{ {} }}", quoted(kernel), parts.join(", "))?;
            }
        }
        Ok(())
    }
}
