//! Operands of instructions.

use crate::compiled::by_commas;

/// What an instruction works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// `%r1`, also special ones (`%tid.x`).
    Register(String),
    /// A whole number.
    Whole(i128),
    /// `0f3F800000`: the bits of an f32.
    Single(u32),
    /// `0d3FF0000000000000`: the bits of an f64.
    Double(u64),
    /// A label, a parameter, an array.
    Name(String),
    /// `[%rd1+16]`: what is in front, and bytes.
    Address(Box<Operand>, i64),
    /// `{%f1, %f2}`
    Several(Vec<Operand>),
    /// `%r1|%p1`
    Both(Box<Operand>, Box<Operand>),
}

/// Operands by their commas; none where something is no operand.
pub(super) fn operands(text: &str) -> Option<Vec<Operand>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    by_commas(text).into_iter().map(operand).collect()
}

fn operand(text: &str) -> Option<Operand> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('{') {
        return Some(Operand::Several(operands(inner.strip_suffix('}')?)?));
    }
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?.trim();
        let (base, offset) = match inner.split_once('+') {
            Some((base, offset)) => (base, offset.trim().parse().ok()?),
            None => (inner, 0),
        };
        return Some(Operand::Address(Box::new(operand(base)?), offset));
    }
    if let Some((first, second)) = text.split_once('|') {
        return Some(Operand::Both(Box::new(operand(first)?), Box::new(operand(second)?)));
    }
    let name = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_alphanumeric() || "$_.".contains(c));
    if let Some(register) = text.strip_prefix('%') {
        return name(register).then(|| Operand::Register(text.into()));
    }
    if let Some(bits) = text.strip_prefix("0f") {
        return Some(Operand::Single(u32::from_str_radix(bits, 16).ok()?));
    }
    if let Some(bits) = text.strip_prefix("0d") {
        return Some(Operand::Double(u64::from_str_radix(bits, 16).ok()?));
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |t| (-1, t));
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        let whole = match digits.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex.trim_end_matches('U'), 16).ok()?,
            // Octal.
            None if digits.len() > 1 && digits.starts_with('0') => return None,
            None => digits.trim_end_matches('U').parse().ok()?,
        };
        return Some(Operand::Whole(sign * whole));
    }
    name(text).then(|| Operand::Name(text.into()))
}
