//! Atom numbers as people write them: `1-596 600 610-900:3`, from 1, ends included.

use weir_ffi::Error;

/// More atoms than fit 31-bit indices are a typing error.
const MOST: usize = i32::MAX as usize;

/// Indices from 0, in the order written.
///
/// # Errors
/// What is no number or range, numbers below 1, ranges that run backwards.
pub(super) fn parse(text: &str) -> Result<Vec<usize>, Error> {
    let mut atoms = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()) {
        let bad = || {
            Error::Argument(format!("\"{word}\" is not a range of atoms: write 7, 1-596 or 1-1000:3, counting from 1"))
        };
        let number = |t: &str| t.parse::<usize>().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(bad);
        let (range, step) = match word.split_once(':') {
            Some((range, step)) => (range, number(step)?),
            None => (word, 1),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(bad());
        }
        atoms.extend((from - 1..to).step_by(step));
    }
    Ok(atoms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_one_and_have_strides() {
        assert_eq!(parse("3 1-2, 5-10:3").unwrap(), [2, 0, 1, 4, 7]);
        assert!(parse(" ").unwrap().is_empty());
        for wrong in ["0", "-3", "5-2", "x", "1-", "1-5:0", "1-99999999999999999999", "1:2:3"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("range of atoms"), "{wrong}");
        }
    }
}
