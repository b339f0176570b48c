//! What several test files need.
#![allow(dead_code)]

use weir_kernels::compile::{CompileError, Compiler, Options};
use weir_kernels::{Chip, Source};

pub const KERNELS: [&str; 5] = ["axpy", "segmented_sum", "reversed", "product", "spilling"];

pub fn source() -> Source {
    Source {
        name: "test".into(),
        text: include_str!("kernels.inc").into(),
        defines: vec![("WIDTH".into(), "64".into())],
    }
}

pub fn chip(name: &str) -> Chip {
    name.parse().unwrap()
}

/// The compiler, or none with a word about it when this machine has none. Anything else is a failure.
pub fn compiler(name: &str, options: &Options) -> Option<Compiler> {
    match Compiler::find(&chip(name), options) {
        Ok(compiler) => Some(compiler),
        Err(error @ CompileError::Missing { .. }) => {
            println!("skipped for {name}: {error}");
            assert!(std::env::var("KERNEL_COMPILERS").as_deref() != Ok("required"), "{error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
