//! Opens a model file of any supported format: by content first, by suffix for advice.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::arrays::collapse;
use super::error::ModelError;
use super::read_weir::{self, Origin};
use super::torch::archive::{self, Archive};
use super::torch::heads::HeadInfo;
use super::torch::{checkpoint, script};
use super::tree::{Node, Reading};
use super::{build, read_dp, read_yaml, Model};

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
        let (root, origin) = open(format, bytes, options, &mut reading)?;
        let mut model = build::build(&root, &mut reading)?;
        drop(root);
        model.validate()?;
        model.source.format = match suffix(Path::new(name_hint)).as_str() {
            "pte" if format == Format::Exported => "pte".into(),
            _ => format.name().into(),
        };
        model.source.head = origin.head;
        model.source.origin_sha256 = origin.sha256;
        Ok(model)
    };
    let mut model = read().map_err(|e| e.of_file(name_hint))?;
    model.source.path = name_hint.into();
    model.source.sha256 = hex(&Sha256::digest(bytes));
    model.source.remarks = reading.remarks;
    Ok(model)
}

/// Lists the heads of a model file; a file of one model has one, called `Default`.
///
/// # Errors
/// As [`load`].
pub fn heads(path: &Path) -> Result<Vec<HeadInfo>, ModelError> {
    let name = path.display().to_string();
    let read = || -> Result<Vec<HeadInfo>, ModelError> {
        refuse_by_name(path)?;
        let bytes = std::fs::read(path)?;
        if detect(&bytes, &name)? == Format::Pt {
            return checkpoint::heads(Archive::open(&bytes)?);
        }
        let options = LoadOptions { head: None, allow_unknown: true };
        let model = load_bytes(&bytes, &name, &options)?;
        Ok(vec![HeadInfo {
            name: model.source.head.clone().unwrap_or_else(|| "Default".into()),
            aliases: Vec::new(),
            types: model.types(),
            observed_types: Vec::new(),
            fitting: "ener".into(),
            description: None,
        }])
    };
    read().map_err(|e| e.of_file(&name))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Dp,
    Pt,
    Pth,
    /// `.pt2` and `.pte`: the tree as JSON in a zip file.
    Exported,
    Yaml,
    Weir,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Dp => "dp",
            Format::Pt => "pt",
            Format::Pth => "pth",
            Format::Exported => "pt2",
            Format::Yaml => "yaml",
            Format::Weir => "weir",
        }
    }
}

/// The tree of a file, and the head taken from it.
fn open(
    format: Format,
    bytes: &[u8],
    options: &LoadOptions,
    reading: &mut Reading,
) -> Result<(Node, Origin), ModelError> {
    let head = options.head.as_deref();
    let tree = match format {
        Format::Pt => {
            let (tree, head) = checkpoint::read(Archive::open(bytes)?, bytes.len(), head, reading)?;
            return Ok((tree, Origin { head, sha256: None }));
        }
        Format::Weir => {
            let (tree, origin) = read_weir::read(bytes)?;
            if let Some(name) = head {
                if origin.head.as_deref() != Some(name) {
                    single(name, reading);
                }
            }
            return Ok((tree, origin));
        }
        Format::Dp => read_dp::read(bytes)?,
        Format::Pth => script::read(Archive::open(bytes)?, bytes.len(), reading)?,
        Format::Exported => exported(bytes)?,
        Format::Yaml => read_yaml::read(bytes)?,
    };
    if let Some(name) = head {
        single(name, reading);
    }
    Ok((tree, Origin::default()))
}

/// Remembers that a head was asked of a file that has none.
fn single(head: &str, reading: &mut Reading) {
    reading.remarks.push(format!("head \"{head}\" has no meaning here: the file holds a single model"));
}

fn detect(bytes: &[u8], name: &str) -> Result<Format, ModelError> {
    if bytes.starts_with(read_dp::SIGNATURE) {
        return Ok(Format::Dp);
    }
    if bytes.starts_with(archive::SIGNATURE) {
        let archive = Archive::open(bytes)?;
        let has = |member: &str| !archive.ending(member).is_empty();
        return match () {
            _ if has(EXPORTED_JSON) => Ok(Format::Exported),
            _ if has("constants.pkl") && has("data.pkl") => Ok(Format::Pth),
            _ if has("data.pkl") => Ok(Format::Pt),
            _ => Err(ModelError::unsupported(
                "a zip file without the members of a model",
                "give a .dp, .pt, .pth or .pt2 file",
            )),
        };
    }
    if bytes.starts_with(LEGACY_TORCH) {
        return Err(ModelError::unsupported(
            "a checkpoint in torch's old format (before 1.6)",
            "load and save it again with a present torch: torch.save(torch.load(FILE), FILE)",
        ));
    }
    if read_weir::is(bytes) {
        return Ok(Format::Weir);
    }
    refuse_by_name(Path::new(name))?;
    if matches!(suffix(Path::new(name)).as_str(), "yaml" | "yml") {
        return Ok(Format::Yaml);
    }
    Err(ModelError::unsupported(
        "not a model file this program knows",
        "give a .dp, .pt, .pth, .yaml, .pt2, .pte or .weir file (any DeePMD-kit model becomes .dp with `dp convert-backend MODEL model.dp`)",
    ))
}

/// Protocol 2 and the magic number of a pickled torch file without zip.
const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Refuses what the suffix tells, with the way out.
fn refuse_by_name(path: &Path) -> Result<(), ModelError> {
    let suffix = suffix(path);
    let file = path.display();
    let what = match suffix.as_str() {
        "pb" => "a frozen TensorFlow graph (.pb)",
        "jax" => "a JAX checkpoint (.jax)",
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

fn suffix(path: &Path) -> String {
    path.extension().and_then(|s| s.to_str()).unwrap_or("").to_ascii_lowercase()
}

/// Where a `.pt2` or `.pte` holds the tree, below a folder that differs.
const EXPORTED_JSON: &str = "extra/model.json";

/// The tree inside a `.pt2` or `.pte`.
fn exported(bytes: &[u8]) -> Result<Node, ModelError> {
    let mut archive = Archive::open(bytes)?;
    let name =
        archive.ending(EXPORTED_JSON).into_iter().next().ok_or_else(|| ModelError::entry(EXPORTED_JSON, "missing"))?;
    let json: serde_json::Value = serde_json::from_slice(&archive.read(&name)?)
        .map_err(|e| ModelError::entry(name, format!("expected JSON text of a model: {e}")))?;
    collapse(Node::from_json(json), "")
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
