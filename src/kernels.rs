//! `weir kernels`: compiles the GPU kernels of a model ahead, for machines without a compiler.

use crate::cli::KernelsBuildArgs;
use crate::log::Log;
use crate::problem::{print, Usage};
use crate::report::bytes;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;
use weir_allocators::policy::{Budget, Precision, Store};
use weir_backends::cpu::Store as Stored;
use weir_backends::gpu::{precompiled, room, room_of, Arithmetic};
use weir_backends::session::compile_flags;
use weir_engine::model::{self, LoadOptions, Model};
use weir_kernels::cache::{build, list, Built};
use weir_kernels::compile::{Compiler, Options};
use weir_kernels::{Chip, Source};

fn parsed<T: std::str::FromStr>(flag: &str, text: &str) -> Result<Vec<T>, Usage>
where
    T::Err: std::fmt::Display,
{
    let one = |word: &str| word.trim().parse().map_err(|e| Usage(format!("{flag}: {e}")));
    text.split(',').map(one).collect()
}

/// Compiles.
///
/// # Errors
/// Unreadable models, chips that are none, compilers that are missing or refuse, a folder that cannot be written.
pub fn build_all(args: &KernelsBuildArgs, log: &Log) -> Result<()> {
    let chips: Vec<Chip> = parsed("--arch", &args.arch)?;
    let model = load(args)?;
    let choices = precisions(args.precision.as_deref())?;
    let store = match store(&args.store)? {
        Store::Exact | Store::Auto => Stored::Exact,
        Store::F32 => Stored::F32,
        Store::F16 => Stored::F16,
        Store::Bf16 => Stored::Bf16,
    };
    let given = args.shared.as_deref().map(shared).transpose()?;
    let cuda = args.driver.as_deref().map(version).transpose()?;
    let asked: Vec<u32> = args.blocks.as_deref().map_or(Ok(Vec::new()), |text| parsed("--blocks", text))?;
    if let Some(wrong) = asked.iter().find(|b| !(1..=16).contains(*b)) {
        return Err(Usage(format!("--blocks {wrong}: a number of 1 to 16, as WEIR_BLOCKS has it")).into());
    }
    let blocks: Vec<Option<u32>> = std::iter::once(None).chain(asked.into_iter().map(Some)).collect();
    let mut jobs: Vec<(Chip, Options, Vec<Source>)> = Vec::new();
    for chip in chips {
        let unknown = || {
            Usage(format!("--arch {chip}: how much shared memory its blocks have is not known here: give it with --shared, as in --shared 99KiB"))
        };
        let room = given.map(|most| room_of(&chip, most)).or_else(|| room(&chip)).ok_or_else(unknown)?;
        let mut sources: Vec<Source> = Vec::new();
        for &precision in &choices {
            for &blocks in &blocks {
                let room = room.holding(blocks);
                // Multiply-adds too where `model` means matrix units: a device on which those come out wrong falls back to them. And what computes
                // steps beyond the range of what was chosen.
                let chosen = Arithmetic::on(&chip, room, &model, precision, store);
                let all = [chosen, chosen.and_then(Arithmetic::wider), Arithmetic::of(precision)];
                for arithmetic in all.into_iter().flatten().filter(|a| a.products.on(&chip)) {
                    let source = precompiled(&model, arithmetic, store, room)?;
                    if !sources.contains(&source) {
                        sources.push(source);
                    }
                }
            }
        }
        if sources.is_empty() {
            let wanted = args.precision.as_deref().unwrap_or_default();
            return Err(
                Usage(format!("--precision {wanted}: {chip} has no units for it; choose model, f64 or f32")).into()
            );
        }
        let extra = compile_flags(&chip);
        let options = Options { cuda: cuda.filter(|_| matches!(chip, Chip::Cuda(_))), extra, ..Options::here() };
        // One that is missing is told before the first minute is spent.
        Compiler::find(&chip, &options)?;
        jobs.push((chip, options, sources));
    }
    let mut built = Vec::new();
    for (chip, options, sources) in jobs {
        log.info(&format!("compiling {} for {chip}", names(&sources)));
        built.extend(build(&sources, &[chip], &options, &args.out)?);
    }
    show(&built, &args.out, args.json)
}

/// Lists a folder.
///
/// # Errors
/// A folder that cannot be read.
pub fn list_all(folder: &Path, as_json: bool) -> Result<()> {
    show(&list(folder)?, folder, as_json)
}

fn names(sources: &[Source]) -> String {
    sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn load(args: &KernelsBuildArgs) -> Result<Model> {
    match (&args.model, &args.preset) {
        (Some(path), None) => {
            Ok(model::load(path, &LoadOptions { head: args.head.clone(), allow_unknown: args.allow_unknown })?)
        }
        (None, Some(preset)) => Ok(model::new_model(preset, 0)?),
        _ => {
            Err(Usage("weir kernels build needs --model FILE or --preset NAME: kernels are made for a shape".into())
                .into())
        }
    }
}

fn precisions(text: Option<&str>) -> Result<Vec<Precision>, Usage> {
    let all: Vec<Precision> = parsed("--precision", text.unwrap_or("model"))?;
    match all.iter().find(|&&p| Arithmetic::of(p).is_none()) {
        Some(p) => {
            Err(Usage(format!("--precision {p}: it has no kernels yet; choose model, f64, f32, tf32x3, f16x3 or tf32")))
        }
        None => Ok(all),
    }
}

fn store(text: &str) -> Result<Store, Usage> {
    text.parse().map_err(|e| Usage(format!("--store: {e}")))
}

fn shared(text: &str) -> Result<u32, Usage> {
    let wrong = |e: String| Usage(format!("--shared: {e}"));
    match text.parse::<Budget>().map_err(wrong)? {
        Budget::Bytes(bytes, _) => u32::try_from(bytes).map_err(|e| wrong(e.to_string())),
        Budget::Share(_) => Err(wrong("a share of what? Write bytes, as in 99KiB".into())),
    }
}

/// `12.4`
fn version(text: &str) -> Result<(u32, u32), Usage> {
    let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.ok_or_else(|| {
        Usage(format!("--driver: \"{text}\" is no CUDA version: write what nvidia-smi shows, as in 12.4"))
    })
}

fn show(built: &[Built], folder: &Path, as_json: bool) -> Result<()> {
    if as_json {
        let object = json!({ "folder": folder.display().to_string(), "kernels": built });
        return print(&format!("{}\n", serde_json::to_string_pretty(&object).context("list of kernels")?));
    }
    let mut text = String::new();
    for b in built {
        text += &format!("{:<8} {:<24} {:>10}  {}  ({})\n", b.chip, b.source, bytes(b.bytes), b.file, b.compiler);
    }
    text += &format!("{} file(s); use them with WEIR_KERNEL_DIR={}\n", built.len(), folder.display());
    print(&text)
}
