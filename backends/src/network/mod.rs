//! A model as every backend sees it: padded widths, split and folded weights.

mod layer;
mod shapes;

pub use layer::{AngleMatrices, LayerMatrices, Matrix};
pub use shapes::{padded, Shapes, PAD};
