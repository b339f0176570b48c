//! Lines of a text file, numbered, bounded in length, with errors that name the place.

use std::io::{BufRead, Read};

use super::error::{shorten, StructureError};

/// A longer line is refused: a hostile file must not fill the memory.
const MAX_LINE: u64 = 16 << 20;

/// What a text reader reads from.
pub(crate) type Input = Box<dyn BufRead + Send>;

/// A text file being read line by line. `frame` is the frame being read, from 1, for error messages.
pub(crate) struct Lines {
    input: Input,
    pub(crate) path: String,
    pub(crate) frame: u64,
    line: u64,
    buffer: Vec<u8>,
    text: String,
    /// The line in `text` is to be delivered again.
    again: bool,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(input: Input, path: &str) -> Self {
        Self {
            input,
            path: path.to_string(),
            frame: 1,
            line: 0,
            buffer: Vec::new(),
            text: String::new(),
            again: false,
            ended: false,
        }
    }

    /// The next line without its end, or `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<&str>, StructureError> {
        if self.again {
            self.again = false;
            return Ok(Some(&self.text));
        }
        if self.ended {
            return Ok(None);
        }
        self.buffer.clear();
        let count = (&mut self.input)
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|e| StructureError::io(&self.path, e))?;
        if count == 0 {
            self.ended = true;
            return Ok(None);
        }
        self.line += 1;
        if count as u64 == MAX_LINE && self.buffer.last() != Some(&b'\n') {
            self.text = format!("more than {MAX_LINE} bytes");
            return Err(self.syntax("a shorter line"));
        }
        while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
            self.buffer.pop();
        }
        // A byte order mark, which editors on Windows put before the first line: with it a PDB's first record would be an unknown one.
        let mark = if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        self.text.clear();
        self.text.push_str(&String::from_utf8_lossy(&self.buffer[mark..]));
        Ok(Some(&self.text))
    }

    /// Like `next`, but the end of the file is an error that says what should have followed.
    pub(crate) fn need(&mut self, expected: &str) -> Result<&str, StructureError> {
        if self.next()?.is_none() {
            return Err(self.truncated(expected));
        }
        Ok(&self.text)
    }

    /// The next line that is not blank.
    pub(crate) fn next_filled(&mut self) -> Result<Option<&str>, StructureError> {
        loop {
            match self.next()? {
                None => return Ok(None),
                Some(text) if text.trim().is_empty() => {}
                Some(_) => return Ok(Some(&self.text)),
            }
        }
    }

    /// Delivers the current line once more.
    pub(crate) fn back(&mut self) {
        self.again = self.line > 0 && !self.ended;
    }

    /// The line read last.
    pub(crate) fn current(&self) -> &str {
        &self.text
    }

    /// An error about the line read last.
    pub(crate) fn syntax(&self, expected: impl Into<String>) -> StructureError {
        self.syntax_found(expected, shorten(&self.text))
    }

    /// An error about the line read last, with the offending part.
    pub(crate) fn syntax_found(&self, expected: impl Into<String>, found: impl Into<String>) -> StructureError {
        StructureError::Syntax {
            path: self.path.clone(),
            line: self.line,
            frame: self.frame,
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn truncated(&self, expected: impl Into<String>) -> StructureError {
        StructureError::Truncated { path: self.path.clone(), frame: self.frame, expected: expected.into() }
    }
}

/// A real number as MD files write it, Fortran's `D` exponent included. NaN and infinity pass: the caller refuses them
/// with the atom's number.
pub(crate) fn real(text: &str) -> Option<f64> {
    let text = text.trim();
    text.parse().ok().or_else(
        || {
            if text.contains(['d', 'D']) {
                text.replace(['d', 'D'], "e").parse().ok()
            } else {
                None
            }
        },
    )
}

/// All numbers of a text, separated by blanks, commas, brackets or braces; `None` if anything else is in it.
pub(crate) fn reals(text: &str) -> Option<Vec<f64>> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}' | '(' | ')'))
        .filter(|t| !t.is_empty())
        .map(real)
        .collect()
}
