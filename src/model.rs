//! `weir model`: looks at model files.

use crate::backend::Engine;
use crate::problem::print;
use anyhow::Result;
use std::fmt::Write;

/// Prints what a model is.
///
/// # Errors
/// A closed standard output.
pub fn info(engine: &Engine) -> Result<()> {
    let mut text = String::new();
    writeln!(text, "{:?}", engine.model.source).expect("text");
    print(&text)
}
