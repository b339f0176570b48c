//! Which node memory comes from and which cores a thread runs on.

use std::io;

/// Asks for the pages of a range from one node; pages that exist already stay where they are.
///
/// # Errors
/// What `mbind` says; an unknown node is EINVAL.
///
/// # Safety
/// The range must be a mapping of this process.
pub unsafe fn bind(pointer: *mut u8, bytes: usize, node: usize) -> io::Result<()> {
    const BIND: libc::c_ulong = 2;
    const BITS: usize = libc::c_ulong::BITS as usize;
    let mut mask = [0 as libc::c_ulong; 1024 / BITS];
    let word = mask.get_mut(node / BITS).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    *word |= 1 << (node % BITS);
    // The kernel counts one bit less than it is told.
    let bits = mask.len() * BITS + 1;
    let none: libc::c_ulong = 0;
    // SAFETY: the caller vouches for the range; the mask lives for the call and has the stated number of bits.
    let code = unsafe { libc::syscall(libc::SYS_mbind, pointer, bytes, BIND, mask.as_ptr(), bits, none) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Keeps the calling thread on these cores. An empty list leaves it where it is.
///
/// # Errors
/// What `sched_setaffinity` says; none of the cores allowed is EINVAL.
pub fn pin_thread(cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    // SAFETY: cpu_set_t is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&c| c < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index was checked against the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is live and its size is stated.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Cores that the calling thread may run on; empty where the kernel does not say.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: cpu_set_t is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is live and its size is stated.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: every index is below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&c| unsafe { libc::CPU_ISSET(c, &set) }).collect()
}
