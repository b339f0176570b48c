//! Promises of the file kind about disks and folders.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use weir_allocators::faults::Faults;
use weir_allocators::kind::{file_system, AllocError, File, Kind, Ledger};

fn file(folder: &Path) -> Result<File, AllocError> {
    File::new(Ledger::new("file", "WEIR_FILE_BUDGET", u64::MAX), folder, Faults::none())
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// A child that holds a region of 1 MiB filled with its own byte, checks it, and waits to be killed.
#[test]
#[ignore = "a child of other tests"]
fn child_holds_a_scratch_file() {
    let folder = std::env::var("WEIR_TEST_FOLDER").unwrap();
    let mark = std::process::id() as u8;
    let mut region = file(Path::new(&folder)).unwrap().allocate(1 << 20).unwrap();
    let mut bytes = vec![mark; 1 << 20];
    for _ in 0..20 {
        region.write_at(0, &bytes).unwrap();
        region.read_at(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&b| b == mark));
    }
    println!("\nholding");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

fn child(folder: &Path) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_holds_a_scratch_file", "--ignored", "--nocapture"])
        .env("WEIR_TEST_FOLDER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

#[test]
fn a_killed_process_leaves_nothing_and_two_in_one_folder_do_not_meet() {
    let folder = folder();
    let mut children = [child(folder.path()), child(folder.path())];
    for (_, output) in &mut children {
        let held = output.lines().map_while(Result::ok).any(|l| l.contains("holding"));
        assert!(held, "a child ended before it held its file");
    }
    assert_eq!(entries(folder.path()), 0, "a scratch file has a name");
    for (child, _) in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Without a name and without a process, the system has the blocks back.
    assert_eq!(entries(folder.path()), 0);
}

#[test]
fn a_full_disk_is_an_error_when_memory_is_allocated_and_names_the_option() {
    let folder = folder();
    let free = file_system(folder.path()).unwrap().free;
    let file = file(folder.path()).unwrap();
    let error = file.allocate(free + (10 << 30)).unwrap_err();
    assert!(matches!(error, AllocError::DiskFull { need, have, .. } if need > have && have > 0), "{error}");
    let message = error.to_string();
    assert!(message.contains("WEIR_SCRATCH_DIR") && message.contains("GiB"), "{message}");
    assert_eq!((file.used(), entries(folder.path())), (0, 0));
}

#[test]
fn the_blocks_exist_when_the_region_is_handed_out() {
    let folder = folder();
    let before = file_system(folder.path()).unwrap().free;
    let region = file(folder.path()).unwrap().allocate(2 << 30).unwrap();
    let held = before.saturating_sub(file_system(folder.path()).unwrap().free);
    // Others write to this disk too.
    assert!(held > 1 << 30, "only {held} bytes were taken from the disk");
    drop(region);
}

#[test]
fn memory_file_systems_are_refused_as_scratch() {
    let folder = Path::new("/dev/shm");
    if !file_system(folder).is_ok_and(|f| f.in_memory) {
        eprintln!("no tmpfs here: nothing tested");
        return;
    }
    let error = file(folder).unwrap_err();
    assert!(matches!(error, AllocError::ScratchInMemory { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("tmpfs") && message.contains("WEIR_SCRATCH_DIR"), "{message}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_the_option() {
    let message = file(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(message.contains("/nowhere/at/all") && message.contains("WEIR_SCRATCH_DIR"), "{message}");
}

#[test]
fn odd_lengths_survive_the_way_past_the_page_cache() {
    let folder = folder();
    let mut region = file(folder.path()).unwrap().allocate(4 << 20).unwrap();
    println!("past the page cache: {:?}", region.direct());
    for (offset, length) in [(0usize, 1usize), (4096, 4095), (8192, 1_500_001), (2 << 20, 2 << 20)] {
        let bytes: Vec<u8> = (0..length + 1).map(|i| (i * 31 + offset) as u8).collect();
        let mut back = vec![0; length + 1];
        // From an odd address.
        region.write_at(offset as u64, &bytes[1..]).unwrap();
        region.read_at(offset as u64, &mut back[1..]).unwrap();
        assert!(back[1..] == bytes[1..]);
    }
}
