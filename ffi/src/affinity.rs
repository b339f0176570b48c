//! The cores that a client let us have, before it pinned its threads.
//!
//! GROMACS pins each of its threads to a core after its modules were made and before the first step. Threads that are started then inherit the
//! pin of the thread that starts them, so a whole pool would share one core.

/// A set of cores.
#[derive(Clone, Copy)]
pub struct Affinity {
    #[cfg(target_os = "linux")]
    set: libc::cpu_set_t,
}

#[cfg(target_os = "linux")]
impl Affinity {
    /// Those of the calling thread; none where the system does not say (more than 1024 cores).
    pub fn here() -> Option<Self> {
        // SAFETY: a set of bits, for which all zeros is the empty one; the call writes at most its size.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let done = libc::sched_getaffinity(0, std::mem::size_of_val(&set), &mut set);
            (done == 0).then_some(Self { set })
        }
    }

    /// Number of cores.
    pub fn cores(&self) -> usize {
        // SAFETY: reads the set.
        unsafe { libc::CPU_COUNT(&self.set) as usize }
    }

    fn apply(&self) {
        // A system that refuses leaves the thread where it is.
        // SAFETY: reads the set.
        unsafe { libc::sched_setaffinity(0, std::mem::size_of_val(&self.set), &self.set) };
    }
}

#[cfg(not(target_os = "linux"))]
impl Affinity {
    /// Not known here.
    pub fn here() -> Option<Self> {
        None
    }

    /// Not known here.
    pub fn cores(&self) -> usize {
        0
    }

    fn apply(&self) {}
}

/// Runs `work`, which starts threads, with the calling thread on the cores of `wide` and then back on its own.
pub fn with<T>(wide: Option<&Affinity>, work: impl FnOnce() -> T) -> T {
    struct Back(Affinity);
    impl Drop for Back {
        fn drop(&mut self) {
            self.0.apply();
        }
    }
    let _back = match (wide, Affinity::here()) {
        (Some(wide), Some(own)) => {
            wide.apply();
            Some(Back(own))
        }
        _ => None,
    };
    work()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_that_a_pinned_thread_starts_are_not_pinned() {
        // In a thread of its own: tests run beside each other.
        let run = || {
            let Some(wide) = Affinity::here().filter(|a| a.cores() > 1) else { return };
            // SAFETY: as in the module; core k is one of the set.
            let one = unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                let k = (0..1024).find(|&k| libc::CPU_ISSET(k, &wide.set)).unwrap();
                libc::CPU_SET(k, &mut set);
                Affinity { set }
            };
            one.apply();
            let started = || std::thread::spawn(|| Affinity::here().unwrap().cores()).join().unwrap();
            assert_eq!(started(), 1);
            assert_eq!(with(Some(&wide), started), wide.cores());
            assert_eq!(Affinity::here().unwrap().cores(), 1);
        };
        std::thread::spawn(run).join().unwrap();
    }
}
