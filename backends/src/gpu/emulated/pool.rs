//! Loaded images that wait for another use: loading one again costs its file, its relocations and the stacks of its fibres.

use super::lock;
use libloading::Library;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

/// A loaded image. It has variables of its own, so it belongs to one device at a time.
pub struct Loaded {
    pub library: Library,
    image: Vec<u8>,
}

impl Loaded {
    /// What was loaded.
    pub fn image(&self) -> &[u8] {
        &self.image
    }
}

static IDLE: LazyLock<Mutex<HashMap<Vec<u8>, Vec<Library>>>> = LazyLock::new(Mutex::default);

/// One that waits, or one loaded now.
pub fn take(image: &[u8]) -> Result<Loaded, String> {
    let idle = lock(&IDLE).get_mut(image).and_then(Vec::pop);
    let library = match idle {
        Some(library) => library,
        None => {
            let file = tempfile::Builder::new().suffix(".so").tempfile().map_err(|e| e.to_string())?;
            std::fs::write(file.path(), image).map_err(|e| e.to_string())?;
            // SAFETY: the library is our own text; its initialisers do nothing.
            unsafe { Library::new(file.path()) }.map_err(|e| e.to_string())?
        }
    };
    Ok(Loaded { library, image: image.to_vec() })
}

pub fn give_back(loaded: Loaded) {
    lock(&IDLE).entry(loaded.image).or_default().push(loaded.library);
}
