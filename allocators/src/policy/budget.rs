//! How much of a memory: `60GiB`, `60GB`, `60G`, `80%`.

use crate::kind::show_bytes;
use std::fmt;
use std::str::FromStr;

/// An amount of memory as a user writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Budget {
    /// Bytes, and the text where it was not plain: `60GB` and `60G` are read as 60 GiB, and that is said.
    Bytes(u64, Option<String>),
    /// Part of what there is, 0 to 1.
    Share(f64),
}

impl Budget {
    /// Bytes when there are `have`.
    pub fn of(&self, have: u64) -> u64 {
        match self {
            Budget::Bytes(bytes, _) => *bytes,
            Budget::Share(share) => (have as f64 * share) as u64,
        }
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let wrong = |why: &str| format!("\"{text}\" is no amount of memory{why}: write 60GiB, or 80% of what there is");
        let digits = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
        let (number, unit) = plain.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong(""))?;
        if unit == "%" {
            return if number <= 100.0 { Ok(Budget::Share(number / 100.0)) } else { Err(wrong(" (above 100 %)")) };
        }
        let unit = unit.to_ascii_lowercase();
        let power = match unit.trim_end_matches("ib").trim_end_matches('b') {
            "" if unit == "b" => 0,
            "" if unit.is_empty() && number == 0.0 => 0,
            "" => return Err(wrong(" (no unit)")),
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(wrong(" (unknown unit)")),
        };
        let bytes = number * (1u64 << power) as f64;
        if bytes >= 2f64.powi(63) {
            return Err(wrong(" (too large)"));
        }
        let clear = power == 0 || unit.ends_with("ib");
        Ok(Budget::Bytes(bytes as u64, (!clear).then(|| plain.clone())))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Budget::Bytes(bytes, None) => f.write_str(&show_bytes(*bytes)),
            Budget::Bytes(bytes, Some(text)) => write!(f, "{} ({text} is read in powers of 1024)", show_bytes(*bytes)),
            Budget::Share(share) => write!(f, "{} %", share * 100.0),
        }
    }
}
