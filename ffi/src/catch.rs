//! Panics end here: unwinding into C is undefined.

use crate::Error;
use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs `work`; a panic becomes [`Error::Internal`]. What `work` was changing may be half done: whoever owns it must not use it again
/// as if nothing had happened (see [`crate::Potential::forget`]).
///
/// # Errors
/// Those of `work`, and panics.
pub fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Internal(message(panic.as_ref()))))
}

/// As [`caught`] for work without errors of its own; `fallback` after a panic.
pub fn quiet<T>(fallback: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(fallback)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let e = caught::<()>(|| panic!("slot {} is gone", 7)).unwrap_err();
        assert_eq!(e.to_string(), "internal error, please report it: slot 7 is gone");
        assert_eq!(e.code(), 6);
        assert_eq!(quiet(-1, || panic!("x")), -1);
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
    }
}
