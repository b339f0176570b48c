//! The GROMACS backend without GROMACS: its library class computes, and the script that edits a source tree keeps what it promises.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use weir_backends::cpu::{create, CpuOptions};
use weir_engine::backend::{FrameParameters, Request, Results};
use weir_engine::model::{load, LoadOptions};

const NNPOT: &str = "src/gromacs/applied_forces/nnpot";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn library() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|d| d.join("libweir.so")).find(|p| p.is_file());
    found.expect("libweir.so is built with the tests")
}

/// Runs a program without the caller's variables; none where it is not there.
fn run(command: &mut Command) -> Option<Output> {
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("WEIR_") || n.starts_with("GMX_")) {
        command.env_remove(name);
    }
    match command.output() {
        Ok(out) => Some(out),
        Err(_) => {
            eprintln!("skipped: {} is not here", command.get_program().to_string_lossy());
            None
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_library_class_opens_libweir_and_gets_the_engines_numbers_in_gromacs_units() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("client");
    let built = run(Command::new("g++")
        .args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(here().join("../include"))
        .arg("-I")
        .arg(here().join("../gromacs"))
        .args([here().join("tests/gromacs.cpp"), here().join("../gromacs/weirlibrary.cpp")])
        .args(["-ldl", "-lpthread"]));
    let Some(built) = built else { return };
    assert!(built.status.success(), "{}", text(&built.stderr));

    let model = here().join("../../tests/data/models/tiny.dp");
    let done = run(Command::new(&program).arg(&model).env("GMX_WEIR_LIBRARY", library())).unwrap();
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    let told: Vec<f64> = text(&done.stdout).split_whitespace().map(|w| w.parse().unwrap()).collect();

    let model = Arc::new(load(&model, &LoadOptions::default()).unwrap());
    // Hydrogen and oxygen in the model's H C N O S.
    let mut calculator = create(model, &[0, 3], &CpuOptions::default()).unwrap();
    let (x, cell) = ([[0.1, 0.2, 0.3], [1.1, 0.4, 0.2]], [[9.0, 0.0, 0.0], [1.0, 9.0, 0.0], [0.0, 1.0, 9.0]]);
    let mut r = Results::default();
    calculator.compute(&x, Some(&cell), &FrameParameters::default(), Request::default(), &mut r).unwrap();
    let ev = 96.48533212;
    let expected: Vec<f64> = [r.energy * ev]
        .into_iter()
        .chain(r.forces.iter().flatten().map(|f| f * ev * 10.0))
        .chain(r.virial.iter().flatten().map(|v| v * ev))
        .collect();
    assert_eq!(told.len(), expected.len());
    for (a, b) in told.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-7 * b.abs().max(1.0), "{told:?} {expected:?}");
    }

    let missing =
        run(Command::new(&program).arg("model.dp").env("GMX_WEIR_LIBRARY", "/nonexistent/libweir.so")).unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("GMX_WEIR_LIBRARY"), "{}", text(&missing.stderr));
}

/// A tree of our own with nothing but the lines that the script looks for.
fn synthetic(root: &Path, form: u32) {
    let put = |name: &str, text: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let interface = match form {
        2025 => "virtual void prepareAtomPositions(std::vector<RVec>&) = 0;",
        2026 => "matrix* /* box */,",
        _ => "matrix& /* box */,",
    };
    put(&format!("{NNPOT}/nnpotmodel.h"), &format!("// ours\n{interface}\n"));
    put(
        &format!("{NNPOT}/CMakeLists.txt"),
        "a()\nif (GMX_TORCH)\n    b()\nelse()\n    gmx_add_libgromacs_sources(\n        nnpotforceprovider_stub.cpp\n    )\nendif()\n",
    );
    let links = if form == 2025 {
        ""
    } else {
        "    // get link atom info\n    x;\n        LinkFrontierAtom link(globalIdxNNP, globalIdxMM);\n"
    };
    put(
        &format!("{NNPOT}/nnpotforceprovider.cpp"),
        &format!(
            "#include \"torchmodel.h\"\n    if (a)\n    {{\n    }}\n    else if (modelPath.extension() == \".pt\")\n    {{\n    }}\n    else\n    {{\n        \
             GMX_THROW(FileIOError(\"Unrecognized extension\"));\n    }}\n{links}    model_->evaluateModel(b);\n"
        ),
    );
    let topology = if form == 2025 {
        "    NNPotTopologyPreprocessor topPrep(params_.inpIndices_);\n"
    } else {
        "            top, params_.nnpIndices_, params_.embeddingScheme_, params_.nnpCharge_, *logger_, wi_);\n"
    };
    put(
        &format!("{NNPOT}/nnpotoptions.cpp"),
        &format!(
            "#include \"gromacs/utility/stringutil.h\"\n{topology}    checkNNPotModel();\n\
             void NNPotOptions::readParamsFromKvt(const KeyValueTreeObject& tree)\n{{\n}}\n"
        ),
    );
    let release = if form == 2025 { "            releaseDevice();\n" } else { "                releaseDevice();\n" };
    put(
        "src/gromacs/mdrun/runner.cpp",
        &format!("#include \"runner.h\"\n        // Dirty hack, for fixing disres and orires should be made mdmodules\n{release}"),
    );
}

/// All files of a folder with their contents.
fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut out, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                out.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

fn script(root: &Path, flags: &[&str]) -> Option<(i32, String)> {
    let out = run(Command::new("python3").arg(here().join("../gromacs/add_to_gromacs.py")).args(flags).arg(root))?;
    Some((out.status.code().unwrap(), text(&out.stdout) + &text(&out.stderr)))
}

#[test]
fn the_script_adds_once_says_so_and_takes_everything_out_again() {
    for form in [2025, 2026, 2027] {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        synthetic(root, form);
        let before = contents(root);
        let Some((code, said)) = script(root, &["--check"]) else { return };
        assert_eq!(code, 1, "{said}");
        assert_eq!(contents(root), before);
        let (code, said) = script(root, &[]).unwrap();
        assert_eq!(code, 0, "{said}");
        let with = contents(root);
        assert_eq!(with.len(), before.len() + 8);
        let provider = fs::read_to_string(root.join(NNPOT).join("nnpotforceprovider.cpp")).unwrap();
        assert!(
            provider.contains("std::make_shared<WeirModel>") && provider.contains("WeirModel::passStep"),
            "{provider}"
        );
        // Kernels run on the inner list, which is made after the lines that ask for it.
        let runner = fs::read_to_string(root.join("src/gromacs/mdrun/runner.cpp")).unwrap();
        assert!(runner.contains("nbv->pairlistInnerRadius()") && runner.contains("gromacs/nbnxm/nbnxm.h"), "{runner}");
        assert_eq!(provider.matches("#if GMX_TORCH").count(), provider.matches("#endif").count());
        let header = fs::read_to_string(root.join(NNPOT).join("weirinterface.h")).unwrap();
        assert!(header.contains(&format!("GMX_WEIR_INTERFACE {form}")), "{header}");

        let (code, said) = script(root, &[]).unwrap();
        assert!(code == 0 && said.contains("(0 changed)"), "{said}");
        assert_eq!(contents(root), with);
        assert_eq!(script(root, &["--check"]).unwrap().0, 0);

        // A tree that lost a block gets it back.
        let cmake = root.join(NNPOT).join("CMakeLists.txt");
        let original = before.iter().find(|(p, _)| *p == cmake).unwrap();
        fs::write(&cmake, &original.1).unwrap();
        assert_eq!(script(root, &[]).unwrap().0, 0);
        assert_eq!(contents(root), with);

        assert_eq!(script(root, &["--reverse"]).unwrap().0, 0);
        assert_eq!(contents(root), before);
        let (code, said) = script(root, &["--reverse"]).unwrap();
        assert!(code == 0 && said.contains("was not there"), "{said}");
    }
}

#[test]
fn the_script_refuses_trees_that_it_does_not_know_and_changes_nothing() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    let Some((code, said)) = script(root, &[]) else { return };
    assert!(code == 1 && said.contains("nnpotmodel.h"), "{said}");

    let lost = [
        ("src/gromacs/mdrun/runner.cpp", "releaseDevice();", "keepDevice();"),
        ("src/gromacs/mdrun/runner.cpp", "// Dirty hack, for fixing disres", "// For fixing disres"),
        ("src/gromacs/applied_forces/nnpot/nnpotoptions.cpp", "    checkNNPotModel();", "    checkAnything();"),
        ("src/gromacs/applied_forces/nnpot/nnpotforceprovider.cpp", "model_->evaluateModel(", "model_->evaluate("),
        ("src/gromacs/applied_forces/nnpot/nnpotmodel.h", "matrix* /* box */", "Box box"),
        ("src/gromacs/applied_forces/nnpot/CMakeLists.txt", "if (GMX_TORCH)", "if (GMX_TORCH)\n  if (GMX_TORCH)"),
    ];
    for (name, old, new) in lost {
        synthetic(root, 2026);
        let path = root.join(name);
        let changed = fs::read_to_string(&path).unwrap().replace(old, new);
        fs::write(&path, changed).unwrap();
        let before = contents(root);
        let (code, said) = script(root, &[]).unwrap();
        assert!(code == 1 && said.contains(name) && said.contains("Nothing was changed"), "{name}: {said}");
        assert_eq!(contents(root), before, "{name}");
    }
}

/// A folder where every GROMACS header that our files name leads to the same few declarations of ours.
fn declared(form: u32) -> tempfile::TempDir {
    let sources = here().join("../gromacs");
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for name in ["weirmodel.h", "weirmodel.cpp", "weirfarpairs.h", "weirfarpairs.cpp"] {
        let source = fs::read_to_string(sources.join(name)).unwrap();
        for line in source.lines().map(|l| l.trim_start_matches(['#', ' '])) {
            let Some(header) = line.strip_prefix("include \"").and_then(|l| l.strip_suffix('"')) else { continue };
            put(header, "#include \"declarations.h\"\n".into());
        }
    }
    let declarations = fs::read_to_string(here().join("tests/gromacs_declarations.h")).unwrap();
    put("declarations.h", format!("#define GMX_WEIR_INTERFACE {form}\n{declarations}"));
    for name in ["weirlibrary.h", "weirfarpairs.h"] {
        put(&format!("gromacs/applied_forces/nnpot/{name}"), fs::read_to_string(sources.join(name)).unwrap());
    }
    // Our own headers are found beside the sources.
    for name in ["weirmodel.h", "weirfarpairs.h"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn the_model_class_is_sound_for_every_form_of_the_interface() {
    let sources = here().join("../gromacs");
    for form in [2025, 2026, 2027] {
        let folder = declared(form);
        let built = run(Command::new("g++")
            .args(["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wno-unknown-pragmas", "-Werror"])
            .arg("-I")
            .arg(folder.path())
            .arg(sources.join("weirmodel.cpp")));
        let Some(built) = built else { return };
        assert!(built.status.success(), "form {form}: {}", text(&built.stderr));
    }
}

#[test]
fn far_pairs_lose_what_electrostatics_keeps_of_them_with_forces_and_virial() {
    let sources = here().join("../gromacs");
    for form in [2025, 2026, 2027] {
        let folder = declared(form);
        let program = folder.path().join("far_pairs");
        let built = run(Command::new("g++")
            .args(["-std=c++17", "-O1", "-fopenmp", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-o"])
            .arg(&program)
            .arg("-I")
            .arg(folder.path())
            .arg("-I")
            .arg(&sources)
            .args([here().join("tests/gromacs_far_pairs.cpp"), sources.join("weirfarpairs.cpp")]));
        let Some(built) = built else { return };
        assert!(built.status.success(), "form {form}: {}", text(&built.stderr));
        let done = run(&mut Command::new(&program)).unwrap();
        assert!(
            done.status.success() && text(&done.stdout) == "far pairs: ok\n",
            "form {form}: {}",
            text(&done.stdout)
        );
    }
}
