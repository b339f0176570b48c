//! Promise: named ranges reach the vendors' profilers, cut to a line. Alone in its process: a stub of their libraries is found by name.

mod stub;

use libloading::Library;
use std::ffi::{c_char, CStr};
use std::path::Path;
use std::process::Command;
use stub::{Stub, Vendor};

const TEXT: &str = r#"
#include <stdio.h>
#include <string.h>
static char text[4096];
int PUSH(const char *name) { return snprintf(text + strlen(text), sizeof text - strlen(text), "(%s", name); }
int POP(void) { strcat(text, ")"); return 0; }
const char *record(void) { return text; }
"#;

#[test]
fn ranges_reach_the_profilers_library() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (vendor, soname, push, pop) in [
        (Vendor::Cuda, "libnvToolsExt.so.1", "nvtxRangePushA", "nvtxRangePop"),
        (Vendor::Hip, "librocprofiler-sdk-roctx.so", "roctxRangePushA", "roctxRangePop"),
    ] {
        let at = |end: &str| folder.join(format!("ranges-{}-{vendor:?}.{end}", std::process::id()));
        std::fs::write(at("c"), TEXT).unwrap();
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-w", "-o"]).arg(at("so")).arg(at("c"));
        command.args([format!("-Wl,-soname,{soname}"), format!("-DPUSH={push}"), format!("-DPOP={pop}")]);
        assert!(command.status().expect("cc, which links Rust programs too").success());
        // Loaded under its name, it is what the name stands for from now on.
        // SAFETY: the library has no initialisers.
        let library = unsafe { Library::new(at("so")) }.unwrap();
        let driver = Stub::new(vendor, &[]).open(0).unwrap();
        driver.range(Some("forward 3 tile 1"));
        driver.range(Some(&"x".repeat(200)));
        driver.range(None);
        driver.range(None);
        // SAFETY: as in the text above.
        let record =
            unsafe { CStr::from_ptr(library.get::<unsafe extern "C" fn() -> *const c_char>(b"record").unwrap()()) };
        assert_eq!(record.to_str().unwrap(), format!("(forward 3 tile 1({}))", "x".repeat(95)));
    }
}
