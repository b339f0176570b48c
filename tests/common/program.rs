//! The built program, for tests of the command line.

use std::path::Path;
use std::process::Command;

/// The program in a folder, without the variables of whoever runs the tests, on the CPU: a machine may have a GPU.
pub fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.current_dir(folder).args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEIR_") {
            command.env_remove(name);
        }
    }
    command.env("WEIR_BACKEND", "cpu");
    command
}
