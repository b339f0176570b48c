//! What is wrong with settings or model is told by the creation that fails, once, through `weir_last_error`, and by nothing else.
#![allow(missing_docs)]
// SAFETY of all calls: they keep to the contract of the C interface, which is what is tested here.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::ffi::{c_char, CString};
use std::path::Path;
use std::process::Command;
use std::ptr::null;
use weir::*;

fn last_error() -> String {
    let mut text = vec![0u8; 4096];
    let size = unsafe { weir_last_error(null(), text.as_mut_ptr().cast::<c_char>(), text.len()) };
    String::from_utf8(text[..size - 1].to_vec()).unwrap()
}

fn create(model: &str, head: &str, options: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models").join(model);
    let [path, head, options] = [path.to_str().unwrap(), head, options].map(|t| CString::new(t).unwrap());
    let p = unsafe { weir_create(path.as_ptr(), head.as_ptr(), options.as_ptr(), 0) };
    if p.is_null() {
        return Err(last_error());
    }
    unsafe { weir_destroy(p) };
    Ok(())
}

/// Runs one test of this program with variables; its standard error.
fn again(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("CREATION_CHILD", "1");
    let done = command.envs(variables.iter().copied()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    err.into_owned()
}

fn child() -> bool {
    std::env::var_os("CREATION_CHILD").is_some()
}

#[test]
fn a_budget_that_not_even_the_model_fits_is_refused_at_creation() {
    if child() {
        // As the variable says.
        let said = create("tiny.dp", "", "").unwrap_err();
        assert!(said.starts_with("not even a single atom fits") && said.contains("WEIR_HBM_BUDGET="), "{said}");
        // As an option says, which stands before it.
        assert_eq!(create("tiny.dp", "", "hbm_budget=1GiB"), Ok(()));
        assert_eq!(last_error(), "", "a creation that succeeds leaves no error");
        return;
    }
    let said = create("tiny.dp", "", "hbm_budget=1KiB").unwrap_err();
    assert!(said.contains("tier hbm lacks") && said.contains("WEIR_HBM_BUDGET="), "{said}");
    let test = "a_budget_that_not_even_the_model_fits_is_refused_at_creation";
    assert!(!again(test, &[("WEIR_HBM_BUDGET", "1KiB")]).contains("BUDGET"), "told twice");
}

#[test]
fn a_missing_head_is_refused_at_creation_with_the_names_of_those_there_are() {
    if child() {
        let said = create("multitask.pt", "", "").unwrap_err();
        assert!(said.contains("no head \"H2O_Z\"") && said.contains("H2O_A") && said.contains("H2O_B"), "{said}");
        assert_eq!(create("multitask.pt", "H2O_B", ""), Ok(()));
        return;
    }
    let said = create("multitask.pt", "H2O_Z", "").unwrap_err();
    assert!(said.contains("no head \"H2O_Z\"") && said.contains("H2O_A"), "{said}");
    let test = "a_missing_head_is_refused_at_creation_with_the_names_of_those_there_are";
    assert!(!again(test, &[("WEIR_HEAD", "H2O_Z")]).contains("H2O_Z"), "told twice");
}
