//! One run at a time writes the files of a prefix.
//!
//! `PREFIX.lock` is locked (flock) and says who has it. What counts is the lock, not the file: the system takes it away with the process, so a
//! file that a killed run left behind hinders nobody. Where a file system has no locks a run goes on without.

use crate::log::{Level, Log};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use weir_allocators::{lacks_locks, try_lock};

/// How the file begins.
const MARK: &str = "weir md: ";

/// Longest content that is looked at, bytes.
const LONGEST: u64 = 1024;

/// Runs that end just while their file is opened here.
const ATTEMPTS: usize = 100;

/// Why a run may not write its files.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another run writes them.
    #[error("{holder} is writing this run's files ({path} is locked): wait until it has ended, stop it, or choose another output.prefix")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who has it, as far as is known.
        holder: String,
    },
    /// Something else has this name.
    #[error("{path} is no lock file of weir md, which needs this name: choose another output.prefix")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        LockError::Io { action, path: path.to_path_buf(), source }
    }
}

/// Held until dropped. Then the file goes, and so do folders that were made for it and that nothing was written to.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// None where the file system has no locks.
    file: Option<File>,
    made: Vec<PathBuf>,
}

impl Lock {
    /// Locks the files of a run, whose folder is made where there is none.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(path: PathBuf, log: &Log) -> Result<Self, LockError> {
        Self::take_with(path, &try_lock, log)
    }

    fn take_with(path: PathBuf, try_lock: &dyn Fn(&File) -> io::Result<bool>, log: &Log) -> Result<Self, LockError> {
        // Dropped on every way out: what was made goes again.
        let mut lock = Lock { path, file: None, made: Vec::new() };
        for left in (0..ATTEMPTS).rev() {
            lock.make_folders()?;
            let path = &lock.path;
            let (mut file, made) = match open(path) {
                Ok(opened) => opened,
                // A run that ended just now has taken away its file, or the folder that it had made.
                Err(e) if e.kind() == io::ErrorKind::NotFound && left > 0 => continue,
                Err(e) => return Err(LockError::io("open", path, e)),
            };
            let mut text = String::new();
            let read = (&mut file).take(LONGEST).read_to_string(&mut text);
            if read.is_err() || !(text.is_empty() || text.starts_with(MARK)) {
                return Err(LockError::Foreign { path: path.clone() });
            }
            match try_lock(&file) {
                Ok(true) => {}
                Ok(false) => {
                    // The other may not have come to writing who it is.
                    let holder = text.strip_prefix(MARK).map(str::trim).filter(|h| !h.is_empty());
                    let holder = holder.unwrap_or("another process").to_string();
                    return Err(LockError::Held { path: path.clone(), holder });
                }
                Err(error) => {
                    // A run does not fail for want of a safeguard. What has none by its nature is not worth a warning at every start.
                    let level = if lacks_locks(&error) { Level::Debug } else { Level::Warn };
                    let path = path.display();
                    log.say(level, &format!("{path}: no lock ({error}): nothing keeps a second run from these files"));
                    // A file that was there is somebody else's: on another machine, where this file system has locks, a run may hold it.
                    if made {
                        let _ = fs::remove_file(&lock.path);
                    }
                    return Ok(lock);
                }
            }
            // The run before may have taken the file away after it was opened here: then this is the lock of a file that nobody else sees.
            if !is_at(&file, path) {
                continue;
            }
            let text = format!("{MARK}{}\n", holder());
            let write = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
            write.map_err(|e| LockError::io("write", path, e))?;
            lock.file = Some(file);
            return Ok(lock);
        }
        Err(LockError::Held { path: lock.path.clone(), holder: "one process after another".into() })
    }

    fn make_folders(&mut self) -> Result<(), LockError> {
        let Some(folder) = self.path.parent().filter(|f| !f.as_os_str().is_empty()) else { return Ok(()) };
        // The deepest first.
        let missing = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).filter(|f| !self.made.contains(f)).collect();
        fs::create_dir_all(folder).map_err(|e| LockError::io("create", folder, e))?;
        self.made.extend(missing);
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked: afterwards it may be another run's. What stays behind hinders nobody.
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
        for folder in &self.made {
            // Goes only where it is empty.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Opens the file, and tells whether it was made.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut how = OpenOptions::new();
    how.read(true).write(true);
    match how.clone().create_new(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => how.open(path).map(|file| (file, false)),
        made => made.map(|file| (file, true)),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(here), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (here.dev(), here.ino()) == (there.dev(), there.ino())
}

/// This process, for those who find the file locked: the folder may be seen from other machines.
fn holder() -> String {
    let id = std::process::id();
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) if !host.trim().is_empty() => format!("process {id} on {}", host.trim()),
        _ => format!("process {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::LogFormat;

    fn log() -> Log {
        Log::new(Level::Error, LogFormat::Text)
    }

    #[test]
    fn the_second_is_told_who_has_the_files_and_gets_them_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/out/run.lock");
        let first = Lock::take(path.clone(), &log()).unwrap();
        let refusal = Lock::take(path.clone(), &log()).unwrap_err().to_string();
        let us = format!("process {}", std::process::id());
        assert!([&us, "run.lock", "output.prefix"].iter().all(|w| refusal.contains(*w)), "{refusal}");
        // Being refused takes nothing from the one who has it.
        assert!(Lock::take(path.clone(), &log()).is_err());
        drop(first);
        assert!(!folder.path().join("new").exists(), "what was made for nothing goes again");
        let again = Lock::take(path.clone(), &log()).unwrap();
        fs::write(folder.path().join("new/out/run.csv"), "1").unwrap();
        drop(again);
        assert!(!path.exists() && folder.path().join("new/out/run.csv").exists());
    }

    #[test]
    fn a_file_that_a_killed_run_left_hinders_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        // Cut short, of a process that is no more, and longer than what is written now.
        for left in ["", MARK, "weir md: process 1 on a machine whose name is much longer than that of this one here\n"]
        {
            fs::write(&path, left).unwrap();
            let lock = Lock::take(path.clone(), &log()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{MARK}{}\n", holder()));
            drop(lock);
        }
    }

    #[test]
    fn where_there_are_no_locks_a_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        for code in [95, 38, 37, 5] {
            let none = |_: &File| Err(io::Error::from_raw_os_error(code));
            let lock = Lock::take_with(path.clone(), &none, &log()).unwrap();
            assert!(!path.exists(), "nothing is left that would look like a lock");
            assert!(Lock::take_with(path.clone(), &none, &log()).is_ok());
            drop(lock);
        }
    }

    #[test]
    fn where_there_are_no_locks_a_file_that_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let none = |_: &File| Err(io::Error::from_raw_os_error(37));
        for text in ["", "weir md: process 1 on another machine\n"] {
            fs::write(&path, text).unwrap();
            drop(Lock::take_with(path.clone(), &none, &log()).unwrap());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_file_taken_away_while_it_was_opened_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        let calls = std::cell::Cell::new(0);
        let ended_just_now = |file: &File| {
            calls.set(calls.get() + 1);
            if calls.get() == 1 {
                fs::remove_file(&path).unwrap();
            }
            try_lock(file)
        };
        let _lock = Lock::take_with(path.clone(), &ended_just_now, &log()).unwrap();
        assert_eq!(calls.get(), 2);
        assert!(Lock::take(path.clone(), &log()).is_err());
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Cargo.lock");
        for text in [&b"version = 4\n"[..], &[0xff, 0xfe]] {
            fs::write(&path, text).unwrap();
            let refusal = Lock::take(path.clone(), &log()).unwrap_err().to_string();
            assert!(refusal.contains("Cargo.lock") && refusal.contains("output.prefix"), "{refusal}");
            assert_eq!(fs::read(&path).unwrap(), text);
        }
    }
}
