//! Promises of kept images. The compiler is a small stand-in, so that compilations can be counted everywhere.

mod common;

use common::{chip, compilations, old_and_new, toolkit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use weir_kernels::cache::{build, Cache, Key, Obtained, Origin};
use weir_kernels::compile::{Options, Search};
use weir_kernels::{Chip, Source};

fn source(text: &str) -> Source {
    Source { name: "test".into(), text: text.into(), defines: vec![("A".into(), "1".into())] }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .map(|all| all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// Nothing precompiled.
fn cache(kept: &Path, spare: &Path) -> Cache {
    Cache::new(Some(Path::new("/nowhere")), Some(kept)).with_spare(spare)
}

fn kept(obtained: &Obtained) -> bool {
    matches!(obtained.origin, Origin::Kept(_))
}

#[test]
fn a_text_is_compiled_once_and_then_read() {
    let (tools, store, spare) = (folder(), folder(), folder());
    let options = toolkit(tools.path(), "12, 8");
    let first = cache(store.path(), spare.path()).obtain(&source("text"), &chip("sm_90a"), &options).unwrap();
    assert_eq!(first.origin, Origin::Compiled);
    let image = String::from_utf8_lossy(&first.image.bytes).into_owned();
    let wanted =
        "text --gpu-architecture=sm_90a --define-macro=WEIR_CUDA=1 --std=c++17 --fmad=false --device-as-default-execution-space --ptxas-options=-v -DA=1";
    assert!(image.contains(wanted), "{image}");
    let second = cache(store.path(), spare.path()).obtain(&source("text"), &chip("sm_90a"), &options).unwrap();
    assert!(kept(&second) && second.image == first.image && second.image.log == "log");
    assert_eq!(compilations(tools.path()), 1);
}

#[test]
fn a_compiler_that_cannot_is_passed_over_with_a_word_and_the_next_ones_image_is_kept() {
    let (tools, store, spare) = (folder(), folder(), folder());
    let options = old_and_new(tools.path());
    for again in [false, true] {
        let obtained = cache(store.path(), spare.path()).obtain(&source("text"), &chip("sm_90"), &options).unwrap();
        assert_eq!(kept(&obtained), again);
        assert!(obtained.image.compiler.starts_with("nvrtc 12.8 "), "{}", obtained.image.compiler);
        let told = obtained.warnings.join("\n");
        for word in ["old/lib64/libnvrtc.so.12 is passed over", "nvrtc 12.2", "refuses test: log"] {
            assert!(told.contains(word), "no {word} in {told}");
        }
    }
    // So does what is built ahead.
    let built = build(&[source("text")], &[chip("sm_90")], &options, &tools.path().join("ahead")).unwrap();
    assert!(built[0].compiler.starts_with("nvrtc 12.8 "), "{built:?}");
}

#[test]
fn whatever_changes_the_image_changes_the_key() {
    let (tools, store, spare) = (folder(), folder(), folder());
    let options = toolkit(tools.path(), "12, 8");
    let extra = |e: &[&str]| Options { extra: e.iter().map(|s| s.to_string()).collect(), ..options.clone() };
    let defines = |d: &[(&str, &str)]| Source {
        defines: d.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        ..source("text")
    };
    let cases = [
        (source("text"), "sm_90a", options.clone()),
        (source("text "), "sm_90a", options.clone()),
        (source("text"), "sm_90", options.clone()),
        (source("text"), "sm_80", options.clone()),
        (defines(&[("A", "2")]), "sm_90a", options.clone()),
        (defines(&[("A1", "")]), "sm_90a", options.clone()),
        (defines(&[("A", "1"), ("B", "1")]), "sm_90a", options.clone()),
        (defines(&[("B", "1"), ("A", "1")]), "sm_90a", options.clone()),
        (defines(&[]), "sm_90a", options.clone()),
        (source("text"), "sm_90a", extra(&["-G"])),
        (source("text"), "sm_90a", extra(&["-G", "-lineinfo"])),
        (source("text"), "sm_90a", extra(&["-G -lineinfo"])),
    ];
    for (n, (source, name, options)) in cases.iter().enumerate() {
        let obtained = cache(store.path(), spare.path()).obtain(source, &chip(name), options).unwrap();
        assert_eq!(obtained.origin, Origin::Compiled, "case {n} took another's image");
        assert_eq!(compilations(tools.path()), n + 1);
    }
    let keys: std::collections::HashSet<_> = cases.iter().map(|(s, n, o)| Key::new(s, &chip(n), o)).collect();
    assert_eq!(keys.len(), cases.len());
    // Another version of the compiler, or another build of the same version.
    for (n, version) in ["12, 9", "12, 8 /* a longer file */"].iter().enumerate() {
        let other = folder();
        let mut options = toolkit(other.path(), version);
        if n == 1 {
            let lib = other.path().join("lib64/libnvrtc.so.12");
            let mut bytes = fs::read(&lib).unwrap();
            bytes.extend([0; 32]);
            fs::remove_file(&lib).unwrap();
            fs::write(&lib, bytes).unwrap();
        }
        options.cuda = Some((12, 9));
        let obtained = cache(store.path(), spare.path()).obtain(&source("text"), &chip("sm_90a"), &options).unwrap();
        assert_eq!(obtained.origin, Origin::Compiled);
    }
    // What the driver can load and where was looked shape no image.
    let same = Options { cuda: Some((12, 8)), ..options };
    assert!(kept(&cache(store.path(), spare.path()).obtain(&source("text"), &chip("sm_90a"), &same).unwrap()));
}

#[test]
fn damaged_and_foreign_files_are_told_of_and_replaced() {
    let (tools, store, spare) = (folder(), folder(), folder());
    let options = toolkit(tools.path(), "12, 8");
    let get = |text: &str| cache(store.path(), spare.path()).obtain(&source(text), &chip("sm_90a"), &options).unwrap();
    let right = get("text").image;
    let path = store.path().join("kernels").join(&files(&store.path().join("kernels"))[0]);
    let good = fs::read(&path).unwrap();
    get("another");
    let other = files(&store.path().join("kernels")).into_iter().find(|f| !path.ends_with(f)).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let foreign = fs::read(store.path().join("kernels").join(other)).unwrap();
    let cases =
        [Vec::new(), good[..good.len() - 1].to_vec(), flipped, b"rubbish".to_vec(), good[..40].to_vec(), foreign];
    for (n, bytes) in cases.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let obtained = get("text");
        assert_eq!(obtained.origin, Origin::Compiled, "case {n}");
        assert_eq!(obtained.image, right);
        assert!(obtained.warnings.iter().any(|w| w.contains("is ignored")), "{:?}", obtained.warnings);
        assert_eq!(fs::read(&path).unwrap(), good);
        assert!(kept(&get("text")));
    }
}

#[test]
fn many_ranks_at_once_see_whole_files_only() {
    let (tools, store, spare) = (folder(), folder(), folder());
    let options = toolkit(tools.path(), "12, 8");
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for text in ["one", "two", "three"] {
                    let cache = cache(store.path(), spare.path());
                    let obtained = cache.obtain(&source(text), &chip("sm_90a"), &options).unwrap();
                    assert_eq!(&obtained.image.bytes[4..4 + text.len()], text.as_bytes());
                    let trouble = obtained.warnings.iter().find(|w| w.contains("ignored") || w.contains("kept"));
                    assert!(trouble.is_none(), "{trouble:?}");
                }
            });
        }
    });
    let names = files(&store.path().join("kernels"));
    assert!(names.len() == 3 && names.iter().all(|n| n.ends_with(".kernels")), "{names:?}");
}

#[test]
fn a_cache_that_cannot_be_written_falls_back_to_a_private_folder_with_one_warning() {
    let (tools, store, spare) = (folder(), folder(), folder());
    let options = toolkit(tools.path(), "12, 8");
    // A file where the folder should be: that stops root too.
    fs::write(store.path().join("kernels"), "in the way").unwrap();
    let cache = cache(store.path(), &spare.path().join("deeper"));
    let first = cache.obtain(&source("one"), &chip("sm_90a"), &options).unwrap();
    let word = first.warnings.iter().filter(|w| w.contains("WEIR_CACHE_DIR")).count();
    assert_eq!((first.origin, word), (Origin::Compiled, 1), "{:?}", first.warnings);
    let second = cache.obtain(&source("two"), &chip("sm_90a"), &options).unwrap();
    assert!(!second.warnings.iter().any(|w| w.contains("WEIR_CACHE_DIR")), "{:?}", second.warnings);
    assert!(kept(&cache.obtain(&source("one"), &chip("sm_90a"), &options).unwrap()));
    assert_eq!(fs::metadata(spare.path().join("deeper")).unwrap().permissions().mode() & 0o777, 0o700);
    // One that others may write into is not trusted, however it came to be there.
    let open = folder();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let cache = cache_of(store.path(), open.path());
    assert_eq!(cache.obtain(&source("one"), &chip("sm_90a"), &options).unwrap().origin, Origin::Compiled);
    assert_eq!(files(open.path()), Vec::<String>::new());
}

fn cache_of(kept: &Path, spare: &Path) -> Cache {
    cache(kept, spare)
}

#[test]
fn precompiled_kernels_need_no_compiler_and_run_on_later_chips_of_their_generation() {
    let (tools, out, store) = (folder(), folder(), folder());
    let chips = [chip("sm_80"), chip("sm_90a")];
    let sources = [source("one"), Source { name: "second text".into(), ..source("two") }];
    let built = build(&sources, &chips, &toolkit(tools.path(), "12, 8"), out.path()).unwrap();
    assert_eq!((built.len(), compilations(tools.path())), (4, 4));
    let manifest = fs::read_to_string(out.path().join("manifest.toml")).unwrap();
    for one in &built {
        assert!(out.path().join(&one.file).exists() && manifest.contains(&one.key) && manifest.contains(&one.file));
    }
    let nothing = Options { search: Search::from(|_| None), ..Options::default() };
    let cache = Cache::new(Some(out.path()), Some(store.path()));
    for (device, image) in [("sm_80", "sm_80"), ("sm_89", "sm_80"), ("sm_86", "sm_80"), ("sm_90a", "sm_90a")] {
        for source in &sources {
            let obtained = cache.obtain(source, &chip(device), &nothing).unwrap();
            assert!(matches!(obtained.origin, Origin::Precompiled(_)) && obtained.warnings.is_empty());
            assert_eq!(obtained.image.chip, Chip::Cuda(image.into()));
        }
    }
    // Made by a newer toolkit than the driver takes.
    let old = Options { cuda: Some((11, 8)), ..nothing.clone() };
    assert!(cache.obtain(&sources[0], &chip("sm_80"), &old).is_err());
    // The code of one chip runs on no other; a changed text or option is another kernel.
    let extra = Options { extra: vec!["-G".into()], ..nothing.clone() };
    for (source, device, options) in [
        (&sources[0], "sm_100a", &nothing),
        (&sources[0], "sm_75", &nothing),
        (&source("one "), "sm_80", &nothing),
        (&sources[0], "sm_80", &extra),
    ] {
        let error = cache.obtain(source, &chip(device), options).unwrap_err().to_string();
        assert!(error.contains("WEIR_KERNEL_DIR"), "{error}");
    }
    // A damaged one is compiled anew where that is possible, with a word.
    fs::write(out.path().join(&built[0].file), "rubbish").unwrap();
    let obtained = cache.obtain(&sources[0], &chip("sm_80"), &toolkit(folder().path(), "12, 8")).unwrap();
    assert_eq!(obtained.origin, Origin::Compiled);
    assert_eq!(obtained.warnings.len(), 2, "{:?}", obtained.warnings);
}
