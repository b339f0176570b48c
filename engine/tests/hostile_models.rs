//! Damaged and hostile model files give an error that says what is wrong: never a panic, never memory beyond the file's measure.

use std::path::{Path, PathBuf};

use weir_engine::model::{load_bytes, new_model, to_dp, to_weir, LoadOptions};

fn carried(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read(root.join("tests/data/models").join(name)).unwrap()
}

fn shared(name: &str) -> Option<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = std::env::var_os("WEIR_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    std::fs::read(folder.join("fixtures/models").join(name)).ok()
}

/// One file of each format, by suffix.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let tiny = load_bytes(&carried("tiny.dp"), "tiny.dp", &LoadOptions::default()).unwrap();
    let mut list = vec![
        ("m.dp", carried("tiny.dp")),
        ("m.dp", to_dp(&tiny).unwrap()),
        ("m.weir", to_weir(&tiny).unwrap()),
        ("m.pt", carried("tiny.pt")),
        ("m.pt", carried("multitask.pt")),
    ];
    let more = [("m.pth", "tiny/model.pth"), ("m.yaml", "tiny/model.yaml"), ("m.pt2", "fixed_sel/model_nocode.pt2")];
    list.extend(more.into_iter().filter_map(|(name, path)| Some((name, shared(path)?))));
    list
}

/// A small fixed sequence of pseudo-random numbers.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % limit
    }
}

#[test]
fn a_truncated_file_is_an_error_at_every_length() {
    for (name, bytes) in samples() {
        let whole = load_bytes(&bytes, name, &LoadOptions::default()).unwrap();
        let mut lengths: Vec<usize> = (0..64).chain((1..40).map(|i| bytes.len() * i / 40)).collect();
        lengths.extend((1..=32).map(|i| bytes.len() - i));
        for length in lengths {
            let result = load_bytes(&bytes[..length.min(bytes.len())], name, &LoadOptions::default());
            match result {
                Err(error) => assert!(error.to_string().starts_with(name), "{error}"),
                // YAML text ends with the version of DeePMD-kit: losing part of that harms nothing.
                Ok(mut model) => {
                    model.source = whole.source.clone();
                    assert!(name == "m.yaml" && model == whole, "{name} of {length} bytes was taken");
                }
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut random = Sequence(1);
    for (name, bytes) in samples() {
        let rounds = if bytes.len() > 400_000 { 60 } else { 300 };
        let mut errors = 0;
        for _ in 0..rounds {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random.below(4) {
                // Half of the damage goes to the first and last kilobytes, where the structure is.
                let at = match random.below(4) {
                    0 => random.below(bytes.len().min(2048)),
                    1 => bytes.len() - 1 - random.below(bytes.len().min(4096)),
                    _ => random.below(bytes.len()),
                };
                damaged[at] ^= 1 << random.below(8);
            }
            errors += usize::from(load_bytes(&damaged, name, &LoadOptions::default()).is_err());
        }
        assert!(errors > 0, "{name}");
        if matches!(name, "m.pt" | "m.pth") {
            // The archive's checksums tell any damage to weights or options that are read.
            assert!(errors * 4 > rounds, "{name}: {errors} of {rounds}");
        }
    }
}

/// A stored zip archive.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in members {
        out.start_file(*name, options).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn pt_error(pickle: &[u8]) -> String {
    let bytes = zip(&[("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/version", b"3\n")]);
    load_bytes(&bytes, "m.pt", &LoadOptions { head: None, allow_unknown: true }).unwrap_err().to_string()
}

#[test]
fn a_pickle_that_names_a_command_is_refused_by_name() {
    let message = pt_error(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.");
    assert!(message.contains("os.system") && message.contains("m.pt"), "{message}");
    for pickle in [b"cbuiltins\neval\nX\x01\0\0\x001\x85R.".as_slice(), b"\x80\x04\x8c\x05posix\x8c\x06system\x93."] {
        assert!(pt_error(pickle).contains("callable"), "{}", pt_error(pickle));
    }
}

#[test]
fn pickles_that_lie_about_lengths_or_nest_without_end_are_errors() {
    let mut deep = b"\x80\x02".to_vec();
    deep.extend([b']'; 200_000]);
    deep.extend([b'a'; 199_999]);
    deep.push(b'.');
    let cyclic = b"\x80\x02}q\0X\x05\0\0\0modelh\0s.".to_vec();
    // Options that contain themselves.
    let options = b"\x80\x02}X\x0c\0\0\0_extra_state}X\x0c\0\0\0model_params}q\x01X\x01\0\0\0ah\x01sss.".to_vec();
    let cases: [(&[u8], &str); 9] = [
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "ends early"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "ends early"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "ends early"),
        (b"\x80\x02e.", "mark"),
        (b"\x80\x02h\x07.", "memo 7"),
        (b"", "ends early"),
        (&deep, "_extra_state"),
        (&cyclic, "_extra_state"),
        (&options, "nested"),
    ];
    for (pickle, expected) in cases {
        let message = pt_error(pickle);
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}

#[test]
fn checkpoints_with_lying_members_name_the_entry() {
    // The carried checkpoint with every stored size of one storage's element count replaced by a larger one.
    let bytes = carried("tiny.pt");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    let mut members = Vec::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).unwrap();
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut member, &mut data).unwrap();
        members.push((member.name().to_string(), data));
    }
    let rebuild = |change: &dyn Fn(&str, &mut Vec<u8>)| {
        let mut members = members.clone();
        members.iter_mut().for_each(|(name, data)| change(name, data));
        let parts: Vec<(&str, &[u8])> = members.iter().map(|(n, d)| (n.as_str(), d.as_slice())).collect();
        load_bytes(&zip(&parts), "m.pt", &LoadOptions::default())
    };
    assert!(rebuild(&|_, _| {}).is_ok());
    // A shape (5, 160, 4), pickled as BININT1 5, BININT1 160, BININT1 4, made (5, 160, 65535) with strides of zero elements.
    let shape = [b'K', 5, b'K', 160, b'K', 4, 0x87];
    let huge = rebuild(&|name, data| {
        if name.ends_with("data.pkl") {
            let at = data.windows(shape.len()).position(|w| w == shape).unwrap();
            data.splice(at..at + shape.len(), [b'J', 0xff, 0xff, 0xff, 0x7f, b'K', 160, b'K', 4, 0x87]);
        }
    });
    let message = huge.unwrap_err().to_string();
    assert!(message.contains("claims shape") && message.contains("repflows"), "{message}");
    let short = rebuild(&|name, data| {
        if name.ends_with("data/9") {
            data.truncate(40);
        }
    });
    let message = short.unwrap_err().to_string();
    assert!(message.contains("data/9") && message.contains("expected 14 numbers"), "{message}");
    for (from, to, expected) in [(b"dpa3", b"dpa2", "descriptor is \"dpa2\""), (b"ener", b"dosx", "\"dosx\"")] {
        let other = rebuild(&|name, data| {
            if name.ends_with("data.pkl") {
                let at = data.windows(4).position(|w| w == from).unwrap();
                data[at..at + 4].copy_from_slice(to);
            }
        });
        let message = other.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let missing = rebuild(&|name, data| {
        if name.ends_with("data.pkl") {
            let text = b"edge_self_linear.bias";
            let at = data.windows(text.len()).position(|w| w == text).unwrap();
            data[at] = b'E';
        }
    });
    let message = missing.unwrap_err().to_string();
    assert!(message.contains("Edge_self_linear") || message.contains("edge_self_linear"), "{message}");
}

#[test]
fn a_number_that_is_none_is_named_with_its_entry() {
    let mut model = new_model("tiny", 1).unwrap();
    model.descriptor.layers[1].edge_self_linear.weight[3] = f64::NAN;
    let message = to_weir(&model).unwrap_err().to_string();
    assert!(message.contains("repflow_layers[1].edge_self_linear.w") && message.contains("position 3"), "{message}");

    // The same found in a file: the bytes of one weight of a .weir file set to NaN.
    let model = new_model("tiny", 1).unwrap();
    let mut bytes = to_weir(&model).unwrap();
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    let message = load_bytes(&bytes, "m.weir", &LoadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("not a finite number"), "{message}");
}

#[test]
fn options_that_contradict_the_weights_name_the_entry() {
    let model = new_model("tiny", 1).unwrap();
    let text = String::from_utf8_lossy(&to_dp(&model).unwrap()).into_owned();
    assert!(text.contains("\"e_sel\":1200"));
    // Same length, so that the file's structure stays.
    for (from, to, expected) in [
        ("\"n_dim\":32,\"e_dim\":16", "\"n_dim\":33,\"e_dim\":16", "type_embedding"),
        ("\"nlayers\":3", "\"nlayers\":4", "expected 4 layers, found 3"),
        ("\"e_rcut_smth\":5.3", "\"e_rcut_smth\":7.3", "e_rcut_smth"),
        ("\"a_rcut\":4.0", "\"a_rcut\":8.0", "a_rcut"),
        ("\"a_sel\":300", "\"a_sel\":-30", "a_sel"),
        ("\"axis_neuron\":4", "\"axis_neuron\":5", "node_sym_linear"),
        ("\"type\":\"standard\"", "\"type\":\"linear_e\"", "linear_e"),
        ("\"type\":\"dpa3\"", "\"type\":\"dpa2\"", "dpa2"),
        ("\"type\":\"ener\"", "\"type\":\"dosx\"", "dosx"),
        ("\"spin\":null", "\"spin\":true", "spin model"),
        ("\"env_protection\"", "\"env_protectiom\"", "env_protectiom"),
        ("\"precision\":\"float32\"", "\"precision\":\"int32xx\"", "precision"),
        ("/variable_0007", "/variable_9007", "variable_9007"),
    ] {
        let mut bytes = to_dp(&model).unwrap();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap_or_else(|| panic!("{from}"));
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        let message = load_bytes(&bytes, "m.dp", &LoadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(expected), "{from}: {message}");
    }
}

#[test]
fn an_unknown_key_is_an_error_unless_allowed_and_then_a_remark() {
    let mut bytes = to_dp(&new_model("tiny", 1).unwrap()).unwrap();
    let (from, to) = (b"\"update_residual_init\":\"const\"", b"\"update_residual_innn\":\"const\"");
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    let message = load_bytes(&bytes, "m.dp", &LoadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("update_residual_innn") && message.contains("--allow-unknown"), "{message}");
    let model = load_bytes(&bytes, "m.dp", &LoadOptions { head: None, allow_unknown: true }).unwrap();
    assert!(model.source.remarks.iter().any(|r| r.contains("update_residual_innn")), "{:?}", model.source.remarks);
}

#[test]
fn other_kinds_of_files_are_refused_with_the_way_out() {
    for (name, bytes, expected) in [
        ("graph.pb", b"\x0a\x05abc".as_slice(), "dp convert-backend"),
        ("m.savedmodel", b"", "dp convert-backend"),
        ("m.json", b"{}", "dp convert-backend"),
        ("m.pd", b"", "dp convert-backend"),
        ("m.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "old format"),
        ("m.pt", b"PK\x03\x04", "zip"),
        ("m.dp", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("m.xyz", b"3\n\nO 0 0 0", "not a model file"),
        ("m.yaml", b"a: [1", "YAML"),
        ("m.yaml", b"a: 1\n", "model"),
        ("m", b"", "not a model file"),
    ] {
        let message = load_bytes(bytes, name, &LoadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
    }
}
