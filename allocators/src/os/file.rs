//! Scratch files without a name: preallocated, positional, past the page cache where the file system allows.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What lies under a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Common name, or the magic number.
    pub name: String,
    /// Files are memory (tmpfs, ramfs).
    pub in_memory: bool,
    /// Files are reached over a network, or may be.
    pub network: bool,
    /// Free for this user, bytes.
    pub free: u64,
}

/// Asks which file system a folder is on.
///
/// # Errors
/// What `statfs` says.
pub fn file_system(folder: &Path) -> io::Result<FileSystem> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: statfs is plain numbers, for which zero is a value.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a terminated path and a live statfs.
    if unsafe { libc::statfs(path.as_ptr(), &mut facts) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Magic numbers of linux/magic.h and of the parallel file systems' own headers.
    let (name, in_memory, network) = match facts.f_type as u32 {
        0x0102_1994 => ("tmpfs", true, false),
        0x8584_58f6 => ("ramfs", true, false),
        0x9584_58f6 => ("hugetlbfs", true, false),
        0xef53 => ("ext4", false, false),
        0x5846_5342 => ("xfs", false, false),
        0x9123_683e => ("btrfs", false, false),
        0x2fc1_2fc1 => ("zfs", false, false),
        0x794c_7630 => ("overlay", false, false),
        0x6969 => ("nfs", false, true),
        0xff53_4d42 | 0xfe53_4d42 => ("smb", false, true),
        0x0bd0_0bd0 => ("lustre", false, true),
        0x4750_4653 => ("gpfs", false, true),
        0x00c3_6400 => ("ceph", false, true),
        0x1983_0326 => ("beegfs", false, true),
        0xaad7_aaea => ("panfs", false, true),
        0x5346_414f => ("afs", false, true),
        0x0102_1997 => ("9p", false, true),
        0x6573_5546 => ("fuse", false, true),
        other => {
            return Ok(FileSystem { name: format!("{other:#x}"), in_memory: false, network: false, free: free(&facts) })
        }
    };
    Ok(FileSystem { name: name.into(), in_memory, network, free: free(&facts) })
}

fn free(facts: &libc::statfs) -> u64 {
    facts.f_bavail.saturating_mul(facts.f_bsize as u64)
}

/// An open file that no folder lists.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    direct: bool,
}

impl Scratch {
    /// Unit of positions and lengths of a file past the page cache, bytes.
    pub const BLOCK: usize = 4096;

    /// Makes a nameless file of `bytes`, with all its blocks.
    ///
    /// # Errors
    /// What the file system says; a full disk is ENOSPC.
    pub fn new(folder: &Path, bytes: u64) -> io::Result<Self> {
        let file = nameless(folder)?;
        let length = libc::off_t::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        // SAFETY: the descriptor is open for writing.
        let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length.max(1)) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        let direct = go_direct(&file);
        Ok(Scratch { file, direct })
    }

    /// Whether positions, lengths and addresses must be whole blocks.
    pub fn direct(&self) -> bool {
        self.direct
    }

    /// Tries what transfers will do, and goes through the page cache from here on where the kernel cannot look the memory up (EFAULT): drivers
    /// of devices may map theirs so that only the processor reaches it. Whether that is so.
    ///
    /// # Errors
    /// Any other that the try meets.
    pub fn stay_direct(&mut self, works: impl FnOnce(&Scratch) -> io::Result<()>) -> io::Result<bool> {
        if !self.direct {
            return Ok(false);
        }
        match works(self) {
            Err(e) if e.raw_os_error() == Some(libc::EFAULT) => {
                set_direct(&self.file, false);
                self.direct = false;
                Ok(true)
            }
            other => other.map(|()| false),
        }
    }

    /// Writes all bytes at a position.
    ///
    /// # Errors
    /// What `pwrite` says.
    pub fn write(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    /// Fills the bytes from a position.
    ///
    /// # Errors
    /// What `pread` says.
    pub fn read(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, position)
    }

    /// Sends what the page cache holds to the disk and forgets it, so that a timed read is a read.
    ///
    /// # Errors
    /// What `fdatasync` says.
    pub fn settle(&self) -> io::Result<()> {
        self.file.sync_data()?;
        // SAFETY: the descriptor is open; advice changes no contents.
        unsafe { libc::posix_fadvise(self.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        Ok(())
    }
}

/// Opens a file that has no name; where the file system cannot, one whose name is taken away at once.
fn nameless(folder: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE | libc::O_EXCL).open(folder) {
        Ok(file) => return Ok(file),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {}
        Err(e) => return Err(e),
    }
    loop {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".weir-scratch-{}-{number}-{now:x}", std::process::id()));
        match options.clone().create_new(true).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether it could be done.
fn set_direct(file: &File, direct: bool) -> bool {
    // SAFETY: the descriptor is open; only the status flags are read and set.
    unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        let flags = if direct { flags | libc::O_DIRECT } else { flags & !libc::O_DIRECT };
        libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) == 0
    }
}

/// Switches the page cache off and proves it with one block; false where the file system does not take it.
fn go_direct(file: &File) -> bool {
    let works = || {
        let block = super::Mapping::new(Scratch::BLOCK)?;
        // SAFETY: the mapping is live, at least a block long, and known to nobody else.
        let bytes = unsafe { std::slice::from_raw_parts_mut(block.pointer(), Scratch::BLOCK) };
        file.write_all_at(bytes, 0)?;
        file.read_exact_at(bytes, 0)
    };
    if set_direct(file, true) && works().is_ok() {
        return true;
    }
    set_direct(file, false);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_the_kernel_cannot_look_up_goes_through_the_page_cache() {
        // Where cargo builds: a disk, and not memory as /tmp may be.
        let here = std::env::current_exe().unwrap();
        let mut scratch = Scratch::new(here.parent().unwrap(), 1 << 16).unwrap();
        if !scratch.direct() {
            println!("skipped: this file system has a page cache only");
            return;
        }
        assert!(!scratch.stay_direct(|_| Ok(())).unwrap() && scratch.direct());
        // What else is wrong is an error.
        let error = scratch.stay_direct(|_| Err(io::Error::from_raw_os_error(libc::EIO))).unwrap_err();
        assert!(error.raw_os_error() == Some(libc::EIO) && scratch.direct());
        let fell = scratch.stay_direct(|_| Err(io::Error::from_raw_os_error(libc::EFAULT))).unwrap();
        assert!(fell && !scratch.direct(), "who asked is told");
        // Odd places, lengths and addresses, which would be refused past the page cache.
        let mut back = [0; 6];
        scratch.write(b"odd text", 4097).unwrap();
        scratch.read(&mut back[1..], 4100).unwrap();
        assert_eq!(&back[1..], b" text");
        assert!(!scratch.stay_direct(|_| panic!("there is nothing to try")).unwrap());
    }
}
