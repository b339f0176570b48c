//! Advisory locks of files: they go when the process goes, however it ends.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Locks an open file for this process alone, without waiting; false where somebody else has it. The lock lives as long as the file is open.
/// (`File::try_lock` needs Rust 1.89.)
///
/// # Errors
/// What the system says; [`lacks_locks`] tells file systems that have none.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open as long as `file` is borrowed, and flock touches no memory.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(false),
        _ => Err(error),
    }
}

/// Whether an error of [`try_lock`] says that this file system has no locks (Lustre mounted without `flock`, NFS without a lock service).
pub fn lacks_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_one_opening_s_alone_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::create(folder.path().join("lock")).unwrap();
        let (first, second) = (open(), open());
        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        drop(first);
        assert!(try_lock(&second).unwrap());
    }

    #[test]
    fn file_systems_without_locks_are_told_from_refusals() {
        for (code, lacks) in [(libc::ENOSYS, true), (libc::EOPNOTSUPP, true), (libc::ENOLCK, true), (libc::EIO, false)]
        {
            assert_eq!(lacks_locks(&io::Error::from_raw_os_error(code)), lacks, "{code}");
        }
    }
}
