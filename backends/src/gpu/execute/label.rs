//! Names of operations for profilers, made without taking memory.

use std::fmt::Write;
use weir_engine::plan::placement::Op;

/// A name.
pub(super) struct Label {
    bytes: [u8; 48],
    length: usize,
}

impl Write for Label {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let to = self.bytes.get_mut(self.length..self.length + s.len()).ok_or(std::fmt::Error)?;
        to.copy_from_slice(s.as_bytes());
        self.length += s.len();
        Ok(())
    }
}

impl Label {
    /// Of an operation: its kind, layer and tile or ticket.
    pub fn of(op: &Op) -> Self {
        let mut out = Self { bytes: [0; 48], length: 0 };
        // What does not fit is left out.
        let _ = match *op {
            Op::Geometry => out.write_str("geometry"),
            Op::Project { layer } => write!(out, "project {layer}"),
            Op::Forward { layer, tile, .. } => write!(out, "forward {layer} tile {tile}"),
            Op::Rebuild { layer, tile, .. } => write!(out, "rebuild {layer} tile {tile}"),
            Op::Fit => out.write_str("fit"),
            Op::Clear { layer } => write!(out, "clear {layer}"),
            Op::Backward { layer, tile, .. } => write!(out, "backward {layer} tile {tile}"),
            Op::Gather { layer, tile } => write!(out, "gather {layer} tile {tile}"),
            Op::Finish { layer } => write!(out, "finish {layer}"),
            Op::Assemble { tile, .. } => write!(out, "assemble tile {tile}"),
            Op::Save { ticket, .. } => write!(out, "save {ticket}"),
            Op::Load { ticket, .. } => write!(out, "load {ticket}"),
            Op::Wait { ticket } => write!(out, "wait {ticket}"),
        };
        out
    }

    /// As text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or("operation")
    }
}
