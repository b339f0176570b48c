//! Refusals of the built program.

use std::process::Output;

/// The program ended with `code`; its last line is the error and has all words. Returns that line.
pub fn refused(output: &Output, code: i32, words: &[&str]) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    let line = text.lines().last().unwrap_or_default().to_string();
    assert!(line.starts_with("error: "), "{text}");
    for word in words {
        assert!(line.contains(word), "no \"{word}\" in: {line}");
    }
    line
}
