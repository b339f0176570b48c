//! What a session makes of a model whose numbers halves do not hold: found once, told, and remembered.

use super::products::{changed, last};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use weir_allocators::policy::{Backend, Layer};
use weir_backends::session::{settle, Session};
use weir_engine::model::{Model, Precision};
use weir_kernels::Products;

/// A session on the emulated device, for which `auto` does what it does for a real one.
fn session(model: &Arc<Model>, cache: &Path, settings: &[(&str, &str)]) -> Session {
    let mut layer = Layer::default();
    let cache = cache.to_str().unwrap();
    let all = [("backend", "emulated"), ("cache_dir", cache), ("threads", "2"), ("hbm_budget", "1GiB")];
    for (key, text) in all.iter().chain(settings) {
        layer.set(key, "test", text).unwrap();
    }
    let (mut policy, topology, device) = settle(&[layer], false).unwrap();
    policy.backend.value = Backend::Cuda;
    Session::new(model.clone(), policy, topology).on(device)
}

/// What a start computes products by, what it is told, and what is kept then, by the beginnings of names.
fn start(model: &Arc<Model>, cache: &Path, settings: &[(&str, &str)]) -> (Products, Vec<String>, [usize; 2]) {
    let session = session(model, cache, settings);
    let device = session.device().unwrap();
    let (options, told) = session.verified_options(device).unwrap();
    let again = session.verified_options(device).unwrap();
    assert_eq!((again.0.products, again.1.len()), (options.products, 0), "a second calculator");
    let kept = |what: &str| {
        let names = std::fs::read_dir(cache).unwrap().map(|f| f.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(what)).count()
    };
    (options.products, told, ["verified-", "no-numbers-"].map(kept))
}

/// A folder that keeps nothing but kernels, which other tests have too.
fn cache() -> tempfile::TempDir {
    let (folder, kernels) = (super::placed::scratch(), super::kept().unwrap().join("kernels"));
    std::fs::create_dir_all(&kernels).unwrap();
    symlink(kernels, folder.path().join("kernels")).unwrap();
    folder
}

/// An f32 model that came from a file.
fn model(sha256: &str, change: &dyn Fn(&mut Model)) -> Arc<Model> {
    let case = changed(&|m| {
        m.descriptor.options.precision = Precision::F32;
        m.descriptor.layers.truncate(2);
        m.descriptor.options.nlayers = 2;
        m.source.sha256 = sha256.into();
        change(m);
    });
    case.model
}

#[test]
fn a_model_that_halves_never_hold_is_computed_by_tf32x3_from_the_start_and_the_next_start_knows() {
    let folder = cache();
    let usual = model("usual", &|_| {});
    let beyond = |sha256| {
        model(sha256, &|m| {
            m.descriptor.layers[1].n_residual.iter_mut().flatten().for_each(|r| *r *= 1e6);
            m.fitting.layers[0].linear.weight.iter_mut().for_each(|w| *w *= 1e-6);
        })
    };
    let large = beyond("large");
    // Both images are right, and that says nothing of the numbers of another model with the same kernels.
    assert_eq!(start(&usual, folder.path(), &[]), (Products::F16x3, vec![], [2, 0]));
    let first = start(&large, folder.path(), &[]);
    assert!(
        first.1.len() == 1 && first.1[0].contains("tf32x3") && first.1[0].contains("are used instead"),
        "{first:?}"
    );
    assert_eq!((first.0, first.2), (Products::Tf32x3, [2, 1]));
    // It is the file that tells.
    let session = session(&large, folder.path(), &[]);
    session.verified_options(session.device().unwrap()).unwrap();
    assert_eq!(session.precision(), "tf32x3");
    assert_eq!(start(&large, folder.path(), &[]), first);
    assert_eq!(start(&usual, folder.path(), &[]), (Products::F16x3, vec![], [2, 1]));
    // Who asks for halves has them.
    let asked = start(&large, folder.path(), &[("precision", "f16x3")]);
    assert!(asked.1.len() == 1 && asked.1[0].contains("WEIR_PRECISION=tf32x3"), "{asked:?}");
    assert_eq!((asked.0, asked.2), (Products::F16x3, [2, 1]));
    assert_eq!(start(&large, folder.path(), &[("verify", "never")]), (Products::F16x3, vec![], [2, 1]));
    // A model of no file has no name that it could be known by.
    assert_eq!(start(&beyond(""), folder.path(), &[]), first);
}

/// The host's own choices are part of what was shown, and so is the way in which it was.
#[test]
fn what_a_device_has_shown_holds_for_one_unit_of_adjoints_and_one_version_of_the_comparison() {
    let folder = cache();
    let of = |by: f64| model("one", &|m| last(m, by));
    assert_eq!(start(&of(1.0), folder.path(), &[]), (Products::F16x3, vec![], [2, 0]));
    assert_eq!(start(&of(1.0), folder.path(), &[]).2, [2, 0]);
    // The same file, image and device, as if the rule of the unit had changed since.
    assert_eq!(start(&of(1.0 / 64.0), folder.path(), &[]), (Products::F16x3, vec![], [3, 0]));
    for file in std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path()).filter(|f| f.is_file()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("; adjoints times ") && text.contains("; comparison "), "{text}");
    }
}

#[test]
fn atoms_of_the_comparison_that_halves_do_not_hold_are_told() {
    let folder = cache();
    let crowded = model("crowded", &|m| {
        m.descriptor.layers[0].e_residual.iter_mut().flatten().for_each(|r| *r *= 3e3);
        last(m, 1.0 / 3e3);
    });
    let (products, told, kept) = start(&crowded, folder.path(), &[]);
    assert_eq!((products, kept), (Products::F16x3, [2, 0]));
    assert!(told.len() == 1 && told[0].contains("48 atoms 1.8 A apart left f16's range, 48 atoms 2.3 A"), "{told:?}");
    assert_eq!(start(&crowded, folder.path(), &[]), (products, vec![], kept), "said once");
}
