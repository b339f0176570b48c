//! Promises of the link table.

use std::path::Path;
use std::time::{Duration, Instant};
use weir_allocators::faults::{Faults, Operation};
use weir_allocators::kind::{File, Hbm, Kind, Ledger, System, Tier};
use weir_allocators::links::{load, measure, obtain, store, Key, LinkTable};
use weir_allocators::topology::Topology;

const LIMIT: Duration = Duration::from_secs(2);

fn key() -> Key {
    Key::cpu(&Topology::here(), &[Tier::Hbm, Tier::System, Tier::File], Some(Path::new("/scratch")))
}

fn kinds(folder: &Path, faults: &Faults) -> (Hbm, System, File) {
    let ledger = || Ledger::new("test", "WEIR_HBM_BUDGET", 1 << 30);
    let file = File::new(ledger(), folder, faults.clone()).unwrap();
    (Hbm::new(ledger(), faults.clone()), System::new(ledger(), None, Vec::new(), faults.clone()), file)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn rates_are_measured_kept_and_read_back_and_a_broken_cache_is_told_of_and_replaced() {
    let (folder, cache) = (folder(), folder().path().join("deep/er"));
    let (hbm, system, file) = kinds(folder.path(), &Faults::none());
    let others: [&dyn Kind; 2] = [&system, &file];
    let start = Instant::now();
    let (table, messages) = obtain(Some(&cache), key(), &hbm, &others, LIMIT).unwrap();
    println!("{:.2} s: {table:#?}", start.elapsed().as_secs_f64());
    assert!(messages.is_empty(), "{messages:?}");
    assert!(table.hbm > 1e8 && table.links.len() == 2 && table.link(Tier::File).unwrap().direct.is_some());
    for link in &table.links {
        let rates = [link.write, link.read, link.both_write, link.both_read];
        assert!(rates.iter().all(|r| r.is_finite() && *r > 1e5), "{link:?}");
        assert!(link.latency.0 > 0.0 && link.latency.1 > 0.0 && link.first_touch > 0.0);
    }
    assert_eq!(hbm.used() + system.used() + file.used(), 0);
    // Kept: the second time nothing is measured, so that kinds which always fail do.
    let (broken, _, _) = kinds(folder.path(), &Faults::fail(Operation::Allocation, 1));
    let (again, _) = obtain(Some(&cache), key(), &broken, &others, LIMIT).unwrap();
    assert_eq!(again, table);
    let names: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names.len(), 1, "something else is left in the cache: {names:?}");
    for rubbish in ["", "{", "{\"key\": 1}", &String::from_utf8_lossy(&[0; 100])] {
        std::fs::write(&names[0], rubbish).unwrap();
        let (none, message) = load(&cache, &key());
        assert!(none.is_none() && message.unwrap().contains("is ignored"), "{rubbish:?}");
    }
    let wrong = LinkTable { hbm: 0.0, ..table.clone() };
    store(&cache, &wrong).unwrap();
    assert!(load(&cache, &key()).1.unwrap().contains("out of range"));
    let other = Key { machine: "another".into(), ..key() };
    assert_eq!(load(&cache, &other), (None, None));
    store(&cache, &table).unwrap();
    assert_eq!(load(&cache, &key()), (Some(table), None));
}

#[test]
fn a_cache_that_cannot_be_written_is_a_message_and_a_failed_copy_an_error() {
    let folder = folder();
    let blocked = folder.path().join("a-file");
    std::fs::write(&blocked, "").unwrap();
    let (hbm, system, _) = kinds(folder.path(), &Faults::none());
    let quick = Duration::from_millis(100);
    let (_, messages) = obtain(Some(&blocked), key(), &hbm, &[&system], quick).unwrap();
    assert!(messages.iter().any(|m| m.contains("WEIR_CACHE_DIR")), "{messages:?}");
    let (hbm, _, file) = kinds(folder.path(), &Faults::fail(Operation::Write, 3));
    let error = measure(key(), &hbm, &[&file], quick).unwrap_err().to_string();
    assert!(error.contains("made to fail") && file.used() == 0 && hbm.used() == 0, "{error}");
}
