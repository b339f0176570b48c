//! Errors as the user sees them: one line on standard error.

use anyhow::Context;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Wrong command line, environment or configuration: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The reader of standard output has gone: the program ends in silence, as `cat` would.
#[derive(Debug)]
pub struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for OutputClosed {}

/// The chain of causes in one line. A cause that the sentence before already tells is not told twice.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !line.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes to standard output.
///
/// # Errors
/// [`OutputClosed`] when nobody reads any more, else the system's error.
pub fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        Err(e) => Err(anyhow::Error::new(e).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}

/// Finds out now, not after the work, whether a file can be written. What lies there stays, and nothing is left where nothing was.
///
/// # Errors
/// What the system says.
pub fn writable(path: &Path) -> anyhow::Result<()> {
    let new = path.symlink_metadata().is_err();
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    if new {
        // One that cannot be taken away again does no harm: it is empty.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Whether two paths are one regular file, by whatever names.
pub fn same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| {
        let m = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some((m.dev(), m.ino()))
    };
    identity(a).is_some_and(|a| Some(a) == identity(b))
}

/// Keeps an output apart from what is read. `by`: who asked for the output, an option or a setting with its origin.
///
/// # Errors
/// One that is an input.
pub fn apart(by: &str, output: &Path, inputs: &[&Path]) -> anyhow::Result<()> {
    if inputs.iter().any(|input| same_file(input, output)) {
        anyhow::bail!("{by}: {} is both read and written: choose another file", output.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_told_once_and_in_one_line() {
        let inner = std::io::Error::other("no space\nleft");
        let middle: anyhow::Result<()> = Err(inner).context("cannot write x: no space\nleft");
        assert_eq!(one_line(&middle.context("run failed").unwrap_err()), "run failed: cannot write x: no space left");
    }
}
