//! What several test files need.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::process::Command;
use weir_kernels::compile::{CompileError, Compiler, Options, Search};
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

/// A shared library made of C. It has no name for the loader: tests share a process with compilers of this machine.
pub fn library(folder: &Path, name: &str, text: &str) {
    linked(folder, name, text, &[]);
}

/// A shared library that the loader finds again by its bare name.
pub fn named(folder: &Path, name: &str, text: &str) {
    linked(folder, name, text, &[&format!("-Wl,-soname,{name}")]);
}

fn linked(folder: &Path, name: &str, text: &str, more: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    let (file, out) = (folder.join("stub.c"), folder.join(name));
    fs::write(&file, text).unwrap();
    let done =
        Command::new("cc").args(["-shared", "-fPIC"]).args(more).arg("-o").arg(&out).arg(&file).status().unwrap();
    assert!(done.success());
    fs::remove_file(file).unwrap();
}

/// A toolkit whose compiler turns every text into an "image" that holds text and options, unless the text says `refuse`. It counts its
/// compilations in the file `count`.
pub fn toolkit(folder: &Path, version: &str) -> Options {
    let text = nvrtc(folder, version);
    library(&folder.join("lib64"), "libnvrtc.so.12", &text);
    // hiprtc has the same interface under other names.
    let text = text.replace("nvrtcGetCUBIN", "hiprtcGetCode").replace("nvrtc", "hiprtc");
    library(&folder.join("lib"), "libhiprtc.so.7", &text);
    let home = folder.to_path_buf();
    Options {
        search: Search::from(|name| ["CUDA_HOME", "ROCM_PATH"].contains(&name).then(|| home.clone().into())),
        ..Options::default()
    }
}

/// Two [`toolkit`]s: the first that is tried refuses every text, the other one is later.
pub fn old_and_new(folder: &Path) -> Options {
    let [old, new] = ["old", "new"].map(|n| folder.join(n));
    for (root, version) in [(&old, "12, 2"), (&new, "12, 8")] {
        let text = nvrtc(folder, version);
        let text = if root == &old { text.replace("if (strstr(p->text, \"refuse\"))", "") } else { text };
        library(&root.join("lib64"), "libnvrtc.so.12", &text);
    }
    let homes = [("CUDA_HOME", old), ("CUDA_PATH", new)];
    let search = Search::from(|name| homes.iter().find(|h| h.0 == name).map(|h| h.1.clone().into()));
    Options { search, ..Options::default() }
}

/// The compiler of a [`toolkit`], as C.
pub fn nvrtc(folder: &Path, version: &str) -> String {
    let count = folder.join("count");
    format!(
        r#"#include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        struct program {{ char *text; char all[1 << 16]; }};
        int nvrtcVersion(int *a, int *b) {{ int v[] = {{{version}}}; *a = v[0]; *b = v[1]; return 0; }}
        int nvrtcGetNumSupportedArchs(int *n) {{ *n = 2; return 0; }}
        int nvrtcGetSupportedArchs(int *a) {{ a[0] = 80; a[1] = 90; return 0; }}
        const char *nvrtcGetErrorString(int code) {{ return "refused"; }}
        int nvrtcCreateProgram(struct program **p, const char *text, const char *name, int n, void *h, void *i) {{
          *p = calloc(1, sizeof **p); (*p)->text = strdup(text); return 0; }}
        int nvrtcDestroyProgram(struct program **p) {{ free((*p)->text); free(*p); return 0; }}
        int nvrtcCompileProgram(struct program *p, int n, const char **options) {{
          FILE *count = fopen("{}", "a"); fputc('x', count); fclose(count);
          if (strstr(p->text, "refuse")) return 6;
          strcpy(p->all, "" "ELF");
          strcat(p->all, p->text);
          for (int i = 0; i < n; i++) {{ strcat(p->all, " "); strcat(p->all, options[i]); }}
          return 0; }}
        int nvrtcGetProgramLogSize(void *p, size_t *n) {{ *n = 4; return 0; }}
        int nvrtcGetProgramLog(void *p, char *log) {{ strcpy(log, "log"); return 0; }}
        int nvrtcGetCUBINSize(struct program *p, size_t *n) {{ *n = strlen(p->all); return 0; }}
        int nvrtcGetCUBIN(struct program *p, char *image) {{ memcpy(image, p->all, strlen(p->all)); return 0; }}
        "#,
        count.display()
    )
}

/// Compilations of a [`toolkit`].
pub fn compilations(folder: &Path) -> usize {
    fs::read(folder.join("count")).map_or(0, |c| c.len())
}
