//! Models of the PyTorch backend: training checkpoints (`.pt`) and TorchScript archives (`.pth`), read without torch.
//!
//! Both are zip archives with a pickle and raw storages. What they hold (options as in a training input, weights by module path)
//! is brought to the serialized tree, so that one builder serves every format.

pub(crate) mod archive;
pub(crate) mod checkpoint;
pub(crate) mod heads;
pub(crate) mod script;
mod tree;
mod weights;
