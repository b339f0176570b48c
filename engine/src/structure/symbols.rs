//! Element symbols as files spell them.

use crate::element::{atomic_number, SYMBOLS};

/// The element a text means: a symbol in any capitalisation, `X` for a virtual atom; deuterium and tritium (`D`, `T`) are
/// hydrogen.
pub(crate) fn symbol(text: &str) -> Option<&'static str> {
    match text {
        "X" | "x" => Some("X"),
        "D" | "T" => Some("H"),
        _ => atomic_number(text).map(|z| SYMBOLS[z - 1]),
    }
}

/// The element of an atomic number; 0 is the virtual atom.
pub(crate) fn symbol_of_number(z: usize) -> Option<&'static str> {
    match z {
        0 => Some("X"),
        _ => SYMBOLS.get(z - 1).copied(),
    }
}
