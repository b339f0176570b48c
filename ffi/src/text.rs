//! Text that C frees.

use std::ffi::{c_char, CStr};

/// A copy with a zero byte behind it, from `malloc`, so that one `free` serves every text whatever bytes are in it. Null where memory is
/// short.
pub fn give(bytes: &[u8]) -> *mut c_char {
    // SAFETY: malloc may be called with any size; the block is one byte longer than what is copied.
    unsafe {
        let block = libc::malloc(bytes.len() + 1).cast::<u8>();
        if !block.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), block, bytes.len());
            *block.add(bytes.len()) = 0;
        }
        block.cast()
    }
}

/// Frees what [`give`] gave; null is harmless.
///
/// # Safety
/// `text` is null or came from [`give`], and is not used again.
pub unsafe fn free(text: *mut c_char) {
    // SAFETY: a block of malloc, as the caller promises.
    unsafe { libc::free(text.cast()) }
}

/// Text of a client; `None` for null. Bytes that are not UTF-8 are replaced.
///
/// # Safety
/// `text` is null or ends with a zero byte.
pub unsafe fn take<'a>(text: *const c_char) -> Option<std::borrow::Cow<'a, str>> {
    // SAFETY: not null; the rest is the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

/// Copies as much of `text` as fits, and a zero byte; says how many bytes all of it would need, the zero byte included.
///
/// # Safety
/// `out` is null or has room for `size` bytes.
pub unsafe fn fill(text: &str, out: *mut c_char, size: usize) -> usize {
    if !out.is_null() && size > 0 {
        let count = text.len().min(size - 1);
        // SAFETY: count + 1 <= size.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), out.cast::<u8>(), count);
            *out.add(count) = 0;
        }
    }
    text.len() + 1
}
