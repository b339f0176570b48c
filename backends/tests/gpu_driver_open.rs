//! Promises of opening the CUDA and HIP drivers, kept on a machine without either: against a stub of their libraries.

mod stub;

use std::path::Path;
use stub::{Stub, Vendor, BOTH};
use weir_backends::gpu::driver::DriverError;
use weir_backends::gpu::{compile_options, cuda, devices, hip};
use weir_kernels::Chip;

#[test]
fn a_machine_without_the_library_says_what_was_looked_for() {
    for (open, library) in [(cuda::open_at as fn(&Path, u32) -> _, "libcuda.so.1"), (hip::open_at, "libamdhip64.so")] {
        let path = format!("/nowhere/{library}");
        let Err(error @ DriverError::Absent { .. }) = open(Path::new(&path), 0) else { panic!("opened {path}") };
        assert!(error.to_string().contains(&path), "{error}");
    }
    // Whatever this machine has: entries of both drivers, and where there is none a reason.
    let all = devices();
    for name in ["cuda", "hip"] {
        let entries: Vec<_> = all.iter().filter(|(n, _)| *n == name).collect();
        assert!(!entries.is_empty());
        for (_, entry) in entries {
            match entry {
                Ok(facts) => assert!(facts.memory > 0 && facts.units > 0 && facts.wave >= 32, "{facts:?}"),
                Err(DriverError::Absent { driver, cause }) => assert!(*driver == name && !cause.is_empty()),
                Err(DriverError::Unusable { cause, .. }) => assert!(!cause.is_empty()),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_file_that_is_no_library_is_an_absent_driver() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libcuda.so.1");
    std::fs::write(&file, "text").unwrap();
    assert!(matches!(cuda::open_at(&file, 0), Err(DriverError::Absent { driver: "cuda", .. })));
}

#[test]
fn facts_are_those_of_the_device() {
    let driver = Stub::new(Vendor::Cuda, &[]).open(0).unwrap();
    let facts = driver.facts();
    assert_eq!((facts.name.as_str(), facts.driver.as_str()), ("NVIDIA GH200", "12.4"));
    assert_eq!(facts.chip, Chip::Cuda("sm_90a".into()));
    assert_eq!((facts.wave, facts.units, facts.shared, facts.memory), (32, 132, 232_448, 96 << 30));
    assert_eq!((facts.unit_shared, facts.reserved_shared), (233_472, 1024));
    assert!(facts.pageable && facts.host_page_tables && facts.concurrent_managed && !facts.integrated);
    assert_eq!(facts.host_node, Some(0));
    assert_eq!(compile_options(facts).cuda, Some((12, 4)));
    let stub = Stub::new(Vendor::Cuda, &[]);
    stub.attribute(75, 8);
    stub.attribute(76, 6);
    stub.attribute(134, -1);
    stub.attribute(81, 0);
    let driver = stub.open(0).unwrap();
    assert_eq!(driver.facts().unit_shared, driver.facts().shared, "at least what one block may have");
    assert_eq!(driver.facts().chip, Chip::Cuda("sm_86".into()));
    assert_eq!(driver.facts().host_node, None);

    for lacking in [&[][..], &["hipGetDevicePropertiesR0600"]] {
        let driver = Stub::new(Vendor::Hip, lacking).open(0).unwrap();
        let facts = driver.facts();
        assert_eq!((facts.name.as_str(), facts.driver.as_str()), ("AMD Instinct MI300A", "6.3"));
        assert_eq!(facts.chip, Chip::Hip("gfx942".into()));
        assert_eq!((facts.wave, facts.units, facts.shared), (64, 228, 65_536));
        assert_eq!((facts.unit_shared, facts.reserved_shared), (65_536, 0));
        assert!(facts.pageable && !facts.host_page_tables && facts.integrated);
        assert_eq!(compile_options(facts).cuda, None);
    }
}

#[test]
fn a_device_index_counts_modulo_the_devices() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        drop(stub.open(5).unwrap());
        let get = stub.name("cuDeviceGet(1)", "hipDeviceGet(1)");
        assert!(stub.record().contains(get));
    }
}

#[test]
fn no_device_is_absent_and_a_broken_or_old_driver_is_unusable() {
    for vendor in BOTH {
        let stub = Stub::new(vendor, &[]);
        stub.set("devices", 0);
        assert!(matches!(stub.open(0), Err(DriverError::Absent { .. })));
        stub.set("devices", 1);
        stub.fail(stub.name("cuInit", "hipInit"), 100);
        assert!(matches!(stub.open(0), Err(DriverError::Absent { .. })));
        stub.fail(stub.name("cuInit", "hipInit"), 803);
        let Err(error @ DriverError::Unusable { .. }) = stub.open(0) else { panic!() };
        let text = error.to_string();
        assert!(text.contains("(803)") && text.contains("WEIR_BACKEND=cpu"), "{text}");
        stub.fail("", 0);
        stub.set("version", if vendor == Vendor::Cuda { 11_080 } else { 40_500_000 });
        let Err(error @ DriverError::Unusable { .. }) = stub.open(0) else { panic!() };
        let expected = stub.name("cuda 11.8 is older than 12.0", "hip 4.5 is older than 5.0");
        assert!(error.to_string().contains(expected), "{error}");
        stub.set("version", 0);
        // Found while queues are made: still one sentence about the device, and nothing is left behind.
        stub.fail(stub.name("cuStreamCreate", "hipStreamCreateWithFlags"), 46);
        let Err(error @ DriverError::Unusable { .. }) = stub.open(0) else { panic!() };
        assert!(error.to_string().contains(stub.name("NVIDIA GH200", "AMD Instinct MI300A")), "{error}");
        assert_eq!(stub.live(), 0);
    }
    let stub = Stub::new(Vendor::Cuda, &[]);
    stub.fail("cuInit", 34);
    assert!(matches!(stub.open(0), Err(DriverError::Absent { .. })), "the toolkit's stand-in for linking");
    let stub = Stub::new(Vendor::Hip, &[]);
    stub.fail("hipInit", 101);
    match std::path::Path::new("/dev/kfd").exists() {
        // A runtime library alone is no device; one that the kernel drives and the runtime denies is an error.
        false => assert!(matches!(stub.open(0), Err(DriverError::Absent { .. }))),
        true => assert!(matches!(stub.open(0), Err(DriverError::Unusable { .. }))),
    }
}
