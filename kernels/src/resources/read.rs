//! Reading logs: ptxas (`-v`) and clang (`-Rpass-analysis=kernel-resource-usage`).

use super::{ReadError, Resources};
use crate::compile::Image;
use crate::Chip;
use std::collections::BTreeMap;

/// What the kernels of an image need, by name.
///
/// # Errors
/// The log lacks it. Nothing is known about the host's processor.
pub fn read(image: &Image) -> Result<BTreeMap<String, Resources>, ReadError> {
    let all = match image.chip {
        Chip::Cuda(_) => ptxas(&image.log),
        Chip::Hip(_) => clang(&image.log),
        Chip::Host => BTreeMap::new(),
    };
    if all.is_empty() {
        return Err(ReadError::Nothing { chip: image.chip.to_string(), compiler: image.compiler.clone() });
    }
    let lacking =
        |kernel: &String, what| ReadError::Lacking { compiler: image.compiler.clone(), kernel: kernel.clone(), what };
    all.into_iter()
        .map(|(kernel, parts)| match parts {
            Parts { registers: None, .. } => Err(lacking(&kernel, "registers")),
            Parts { frame: false, .. } => Err(lacking(&kernel, "stack and spills")),
            Parts { registers: Some(registers), resources, .. } => Ok((kernel, Resources { registers, ..resources })),
        })
        .collect()
}

/// A kernel while its lines come in.
#[derive(Default)]
struct Parts {
    registers: Option<u32>,
    /// Stack and spills were told.
    frame: bool,
    resources: Resources,
}

/// The number in front of a phrase: `8 bytes spill stores`.
fn before(line: &str, phrase: &str) -> Option<u32> {
    line[..line.find(phrase)?].trim_end().rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn ptxas(log: &str) -> BTreeMap<String, Parts> {
    let mut all: BTreeMap<String, Parts> = BTreeMap::new();
    let mut kernel = None;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            kernel = rest.split_once('\'').map(|(name, _)| name.to_string());
            continue;
        }
        let Some(parts) = kernel.as_ref().map(|k| all.entry(k.clone()).or_default()) else { continue };
        // Functions that were not inlined have a frame of their own; their caller pays for it.
        if let Some(stack) = before(line, " bytes stack frame") {
            parts.frame = true;
            parts.resources.stack += stack;
            parts.resources.spills += before(line, " bytes spill stores").unwrap_or(0);
        }
        if let (true, Some(registers)) = (line.contains("Used "), before(line, " registers")) {
            parts.registers = Some(registers);
            parts.resources.shared = before(line, " bytes smem").unwrap_or(0);
        }
    }
    all
}

fn clang(log: &str) -> BTreeMap<String, Parts> {
    let mut all: BTreeMap<String, Parts> = BTreeMap::new();
    let mut kernel = None;
    for line in log.lines() {
        // `file:2:1: remark:     VGPRs: 6 [-Rpass-analysis=kernel-resource-usage]`
        let Some((_, rest)) = line.split_once("remark: ") else { continue };
        let Some(rest) = rest.trim().strip_suffix("[-Rpass-analysis=kernel-resource-usage]") else { continue };
        let Some((what, value)) = rest.rsplit_once(": ") else { continue };
        let (what, value) = (what.trim(), value.trim());
        if what == "Function Name" {
            kernel = Some(value.to_string());
            continue;
        }
        let Some(parts) = kernel.as_ref().map(|k| all.entry(k.clone()).or_default()) else { continue };
        let Ok(number) = value.parse::<u32>() else { continue };
        let r = &mut parts.resources;
        match what {
            "VGPRs" => parts.registers = Some(number),
            "AGPRs" => r.accumulation = number,
            "SGPRs" | "TotalSGPRs" => r.scalar = number,
            "ScratchSize [bytes/lane]" => {
                parts.frame = true;
                r.stack = number;
            }
            "Occupancy [waves/SIMD]" => r.occupancy = number,
            "SGPRs Spill" | "VGPRs Spill" => r.spills += number,
            "LDS Size [bytes/block]" => r.shared = number,
            _ => {}
        }
    }
    all
}
