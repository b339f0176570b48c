//! Anonymous memory: mapped, asked to be in huge pages, bound, touched, locked, unmapped on drop.

use super::numa;
use std::io;
use std::ptr::NonNull;

/// Start of a mapping that is long enough to gain from huge pages, bytes.
const HUGE: usize = 2 << 20;
/// Below this length a second thread costs more than it touches, bytes.
const PART: usize = 8 << 20;

/// Private anonymous memory of this process, zero when fresh.
#[derive(Debug)]
pub struct Mapping {
    pointer: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone and has no thread of its own.
unsafe impl Send for Mapping {}
// SAFETY: shared use only reads the address and the length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps whole pages, starting at a huge page where longer than one, and asks for huge pages.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let page = super::page_bytes();
        let overflow = || io::Error::from_raw_os_error(libc::ENOMEM);
        let bytes = bytes.max(1).checked_next_multiple_of(page).ok_or_else(overflow)?;
        let spare = if bytes >= HUGE { HUGE } else { 0 };
        let length = bytes.checked_add(spare).ok_or_else(overflow)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = base.cast::<u8>();
        let head = if spare > 0 { base.align_offset(HUGE) } else { 0 };
        // SAFETY: the head and the tail lie inside the mapping just made and nobody knows of them yet.
        let pointer = unsafe {
            if head > 0 {
                libc::munmap(base.cast(), head);
            }
            if spare > head {
                libc::munmap(base.add(head + bytes).cast(), spare - head);
            }
            base.add(head)
        };
        // SAFETY: the range is the mapping; kernels without huge pages refuse, which changes speed only.
        unsafe { libc::madvise(pointer.cast(), bytes, libc::MADV_HUGEPAGE) };
        let pointer = NonNull::new(pointer).ok_or_else(overflow)?;
        Ok(Mapping { pointer, bytes })
    }

    /// Address of the first byte.
    pub fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// Length, whole pages, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the pages behind the first so many bytes back; a longer length changes nothing.
    pub fn shorten(&mut self, bytes: usize) {
        let kept = bytes.max(1).next_multiple_of(super::page_bytes());
        if kept < self.bytes {
            // SAFETY: the tail is whole pages of this mapping, which nobody reaches any more: the value is borrowed mutably.
            let status = unsafe { libc::munmap(self.pointer().add(kept).cast(), self.bytes - kept) };
            // The kernel may have no room to note a hole inside of what it joined to neighbours; then the pages stay ours.
            if status == 0 {
                self.bytes = kept;
            }
        }
    }

    /// Asks for the pages from one node; to be called before they are touched.
    ///
    /// # Errors
    /// What `mbind` says.
    pub fn bind(&self, node: usize) -> io::Result<()> {
        // SAFETY: the range is this mapping.
        unsafe { numa::bind(self.pointer(), self.bytes, node) }
    }

    /// Brings every page in now, by one thread per core of `cpus` (kept there), so that nobody faults later.
    ///
    /// # Errors
    /// The kernel has no memory for a page, or no thread could be started.
    pub fn touch(&self, cpus: &[usize]) -> io::Result<()> {
        let threads = (self.bytes / PART).clamp(1, cpus.len().clamp(1, 16));
        if threads == 1 && cpus.is_empty() {
            return populate(self.pointer, self.bytes);
        }
        let part = self.bytes.div_ceil(threads).next_multiple_of(HUGE);
        std::thread::scope(|scope| {
            let mut workers = Vec::with_capacity(threads);
            for index in 0..threads {
                let begin = (index * part).min(self.bytes);
                let length = part.min(self.bytes - begin);
                // SAFETY: `begin` is inside the mapping or at its end.
                let start = Part(unsafe { self.pointer.add(begin) });
                let worker = std::thread::Builder::new().name("weir-touch".into()).spawn_scoped(scope, move || {
                    let start = start;
                    // A core that is not ours to use is no reason to fail: memory is bound by mbind, not by this.
                    let _ = numa::pin_thread(cpus);
                    populate(start.0, length)
                })?;
                workers.push(worker);
            }
            workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        })
    }

    /// Keeps the pages in memory until the mapping is dropped.
    ///
    /// # Errors
    /// What `mlock` says: ENOMEM or EPERM where the limit of `ulimit -l` is passed.
    pub fn lock(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping.
        if unsafe { libc::mlock(self.pointer().cast(), self.bytes) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and nothing borrowed from it outlives this value; unmapping unlocks.
        unsafe { libc::munmap(self.pointer().cast(), self.bytes) };
    }
}

struct Part(NonNull<u8>);
// SAFETY: each part is touched by one thread, while the mapping is borrowed.
unsafe impl Send for Part {}

/// Writes to every page of a fresh range. `MADV_POPULATE_WRITE` (Linux 5.14) does it without a fault per page.
fn populate(start: NonNull<u8>, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: the range is part of a live mapping; populating keeps contents.
    if unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EINVAL) {
        return Err(error);
    }
    for offset in (0..bytes).step_by(super::page_bytes()) {
        // SAFETY: inside the range; the pages are fresh, so zero is what they hold.
        unsafe { start.add(offset).as_ptr().write_volatile(0) };
    }
    Ok(())
}
