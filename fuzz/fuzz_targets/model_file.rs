//! Any bytes, taken as a model file of any format: an error or a valid model, never a panic.
//!
//! The first byte chooses the suffix and the leniency, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_engine::model::{load_bytes, LoadOptions};

const NAMES: [&str; 7] = ["m.dp", "m.pt", "m.pth", "m.yaml", "m.pt2", "m.pte", "m.weir"];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let name = NAMES[usize::from(choice & 0x7f) % NAMES.len()];
    let options = LoadOptions { head: None, allow_unknown: choice & 0x80 != 0 };
    if let Ok(model) = load_bytes(bytes, name, &options) {
        model.validate().expect("a loaded model is valid");
    }
});
