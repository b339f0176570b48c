//! A buffer that worker threads fill in disjoint pieces.

use std::marker::PhantomData;

/// Pointer to a buffer whose pieces are handed to different threads.
///
/// Ranges are given by centre (by owner in gathers, by input index in the virial), and every centre belongs to exactly one work
/// item, so no two live pieces overlap; that is the argument of every SAFETY line that uses this type.
#[derive(Clone, Copy)]
pub struct Shared<'a, T> {
    at: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: the pieces are disjoint (see above), so sending the pointer is sending &mut [T] pieces.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above; the type itself offers no access without `piece`.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Takes the buffer for the duration of a parallel phase.
    pub fn new(buffer: &'a mut [T]) -> Self {
        Self { at: buffer.as_mut_ptr(), len: buffer.len(), life: PhantomData }
    }

    /// A buffer that the plan laid out in an arena.
    ///
    /// # Safety
    /// `at` points to `len` numbers, aligned, that live for `'a`; the plan lets nobody else write them meanwhile.
    pub unsafe fn from_raw(at: *mut T, len: usize) -> Self {
        Self { at, len, life: PhantomData }
    }

    /// The buffer's numbers `from .. from + len` as a buffer.
    pub fn part(&self, from: usize, len: usize) -> Self {
        assert!(from + len <= self.len, "part {from}+{len} of {}", self.len);
        // SAFETY: inside the buffer.
        Self { at: unsafe { self.at.add(from) }, len, life: PhantomData }
    }

    /// The piece `from .. from + len`.
    ///
    /// # Safety
    /// No other piece that overlaps it is alive.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn piece(&self, from: usize, len: usize) -> &'a mut [T] {
        assert!(from + len <= self.len, "piece {from}+{len} of {}", self.len);
        // SAFETY: inside the buffer; disjointness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(from), len) }
    }
}
