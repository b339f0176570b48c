//! Lists of cores and nodes, and which of them are ours.

use super::text;
use std::path::Path;

/// The kernel's list form, such as `0-71,144`. What is no number is passed over.
pub fn parse_list(text: &str) -> Vec<usize> {
    let mut list = Vec::new();
    for part in text.trim().split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(low), Ok(high)) = (low.trim().parse::<usize>(), high.trim().parse::<usize>()) {
            // A list longer than any kernel's is a broken file.
            list.extend(low..=high.min(low.saturating_add(65_535)));
        }
    }
    list
}

/// A list in `/proc/self/status`.
pub fn allowed(root: &Path, key: &str) -> Vec<usize> {
    let status = text(root, "proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(key)?.trim().strip_prefix(':'));
    line.map(parse_list).unwrap_or_default()
}
