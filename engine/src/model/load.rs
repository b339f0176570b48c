//! Opens a model file of any supported format: by content first, by suffix for advice.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::ModelError;
use super::tree::{Node, Reading};
use super::{build, read_dp, Model};

/// How to read a model file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Branch of a multi-task file; matched exactly, then case-insensitively, then by alias.
    pub head: Option<String>,
    /// Read models with unknown keys all the same; what was passed over is told in [`super::Source::remarks`].
    pub allow_unknown: bool,
}

/// Loads a model from a file.
///
/// # Errors
/// [`ModelError::File`] around what is wrong: input and output, container, entries, unsupported kinds, missing heads.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Model, ModelError> {
    let name = path.display().to_string();
    let read = || -> Result<Model, ModelError> {
        refuse_by_name(path)?;
        let bytes = std::fs::read(path)?;
        load_bytes(&bytes, &name, options)
    };
    read().map_err(|e| e.of_file(&name))
}

/// Loads a model from bytes in memory; `name_hint` (a path) decides only where the content does not, and stands in messages.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(bytes: &[u8], name_hint: &str, options: &LoadOptions) -> Result<Model, ModelError> {
    let mut reading = Reading { allow_unknown: options.allow_unknown, remarks: Vec::new() };
    let mut read = || -> Result<Model, ModelError> {
        let format = detect(bytes, name_hint)?;
        let (root, head) = open(format, bytes, options, &mut reading)?;
        let mut model = build::build(&root, &mut reading)?;
        drop(root);
        model.validate()?;
        model.source.format = format.name().into();
        model.source.head = head;
        Ok(model)
    };
    let mut model = read().map_err(|e| e.of_file(name_hint))?;
    model.source.path = name_hint.into();
    model.source.sha256 = hex(&Sha256::digest(bytes));
    model.source.remarks = reading.remarks;
    Ok(model)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Dp,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Dp => "dp",
        }
    }
}

/// The tree of a file and the head taken from it.
fn open(
    format: Format,
    bytes: &[u8],
    _options: &LoadOptions,
    _reading: &mut Reading,
) -> Result<(Node, Option<String>), ModelError> {
    match format {
        Format::Dp => Ok((read_dp::read(bytes)?, None)),
    }
}

fn detect(bytes: &[u8], name: &str) -> Result<Format, ModelError> {
    if bytes.starts_with(read_dp::SIGNATURE) {
        return Ok(Format::Dp);
    }
    refuse_by_name(Path::new(name))?;
    Err(ModelError::unsupported(
        "not a model file this program knows",
        "give a .dp file (any DeePMD-kit model becomes one with `dp convert-backend MODEL model.dp`)",
    ))
}

/// Refuses what the suffix tells, with the way out.
fn refuse_by_name(path: &Path) -> Result<(), ModelError> {
    let suffix = path.extension().and_then(|s| s.to_str()).unwrap_or("").to_ascii_lowercase();
    let file = path.display();
    let what = match suffix.as_str() {
        "pb" => "a frozen TensorFlow graph (.pb)",
        "savedmodel" => "a JAX saved model (.savedmodel)",
        "savedmodeltf" => "a TensorFlow saved model (.savedmodeltf)",
        "json" | "pd" | "pdmodel" => "a Paddle model (.json/.pd)",
        _ => return Ok(()),
    };
    Err(ModelError::unsupported(
        what,
        format!("convert it where DeePMD-kit runs: `dp convert-backend {file} model.dp`, then use model.dp"),
    ))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
