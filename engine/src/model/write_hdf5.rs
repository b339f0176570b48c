//! A small writer of HDF5 files: float datasets in the root group and text attributes of it, of any length.
//!
//! The one crate that writes HDF5 in plain Rust at our minimum version cannot make a *scalar* text attribute beyond 64 KiB, which is
//! what DeePMD-kit reads its JSON from; so the few structures needed stand here, after the HDF5 file format specification
//! (superblock 2, object headers 2, contiguous layout, one global heap collection a text).

use hdf5_reader::checksum::jenkins_lookup3;

use super::error::ModelError;
use super::tree::{Dtype, Tensor};

const UNDEFINED: u64 = u64::MAX;
const SUPERBLOCK: usize = 48;
/// Smallest global heap collection.
const HEAP_MINIMUM: usize = 4096;

// Message types of object headers.
const DATASPACE: u8 = 1;
const LINK_INFO: u8 = 2;
const DATATYPE: u8 = 3;
const FILL_VALUE: u8 = 5;
const LINK: u8 = 6;
const LAYOUT: u8 = 8;
const GROUP_INFO: u8 = 10;
const ATTRIBUTE: u8 = 12;

/// Bytes of an HDF5 file with these datasets (name without slash) and root attributes.
///
/// # Errors
/// [`ModelError::Container`] for names longer than 255 bytes or arrays whose numbers and shape disagree.
pub(crate) fn write(datasets: &[(String, &Tensor)], attributes: &[(&str, &str)]) -> Result<Vec<u8>, ModelError> {
    let mut file = vec![0; SUPERBLOCK];
    let mut root = Vec::new();
    // No heap and no name index: the links stand in this header.
    message(&mut root, LINK_INFO, &[[0, 0].as_slice(), &UNDEFINED.to_le_bytes(), &UNDEFINED.to_le_bytes()].concat())?;
    message(&mut root, GROUP_INFO, &[0, 0])?;
    for (name, tensor) in datasets {
        let address = dataset(&mut file, tensor)?;
        let length = u8::try_from(name.len()).map_err(|_| broken(format!("name {name} is too long")))?;
        message(&mut root, LINK, &[[1, 0, length].as_slice(), name.as_bytes(), &address.to_le_bytes()].concat())?;
    }
    for (name, text) in attributes {
        let address = heap(&mut file, text.as_bytes());
        let length = u32::try_from(text.len()).map_err(|_| broken("a text attribute is longer than 4 GiB"))?;
        let name = [name.as_bytes(), &[0]].concat();
        let (kind, space) = (text_type(), [2, 0, 0, 0]);
        let data = [length.to_le_bytes().as_slice(), &address.to_le_bytes(), &1u32.to_le_bytes()].concat();
        let sizes = [name.len(), kind.len(), space.len()].map(|n| (n as u16).to_le_bytes()).concat();
        message(&mut root, ATTRIBUTE, &[[3, 0].as_slice(), &sizes, &[0], &name, &kind, &space, &data].concat())?;
    }
    let address = object(&mut file, &root);
    let end = file.len() as u64;
    let mut head = [b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00".as_slice()].concat();
    for value in [0, UNDEFINED, end, address] {
        head.extend(value.to_le_bytes());
    }
    head.extend(jenkins_lookup3(&head).to_le_bytes());
    file[..SUPERBLOCK].copy_from_slice(&head);
    Ok(file)
}

fn broken(problem: impl ToString) -> ModelError {
    ModelError::container("HDF5 (.dp)", problem)
}

/// Appends a message to the body of an object header.
fn message(body: &mut Vec<u8>, kind: u8, data: &[u8]) -> Result<(), ModelError> {
    let length = u16::try_from(data.len()).map_err(|_| broken("a header message is longer than 64 KiB"))?;
    body.push(kind);
    body.extend(length.to_le_bytes());
    body.push(0);
    body.extend(data);
    Ok(())
}

fn align(file: &mut Vec<u8>) -> u64 {
    file.resize(file.len().next_multiple_of(8), 0);
    file.len() as u64
}

/// Puts an object header in the file.
fn object(file: &mut Vec<u8>, body: &[u8]) -> u64 {
    let address = align(file);
    let start = file.len();
    file.extend(b"OHDR\x02\x02");
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    let sum = jenkins_lookup3(&file[start..]);
    file.extend(sum.to_le_bytes());
    address
}

/// Puts one text in a global heap collection of its own, as object 1.
fn heap(file: &mut Vec<u8>, text: &[u8]) -> u64 {
    let address = align(file);
    let object = 16 + text.len().next_multiple_of(8);
    let used = 16 + object;
    let size = if used + 16 > HEAP_MINIMUM { used } else { HEAP_MINIMUM };
    let start = file.len();
    file.extend(b"GCOL\x01\0\0\0");
    file.extend((size as u64).to_le_bytes());
    file.extend([1, 0, 1, 0, 0, 0, 0, 0]);
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text);
    file.resize(start + used, 0);
    if size > used {
        // The rest is object 0, free space.
        file.extend([0; 8]);
        file.extend(((size - used) as u64).to_le_bytes());
        file.resize(start + size, 0);
    }
    address
}

/// Puts an array in the file: its numbers, then its header.
fn dataset(file: &mut Vec<u8>, tensor: &Tensor) -> Result<u64, ModelError> {
    if tensor.data.len() != tensor.shape.iter().product::<usize>() {
        return Err(broken(format!("{} numbers do not make shape {:?}", tensor.data.len(), tensor.shape)));
    }
    let data = align(file);
    match tensor.dtype {
        Dtype::F32 => tensor.data.iter().for_each(|&v| file.extend((v as f32).to_le_bytes())),
        _ => tensor.data.iter().for_each(|&v| file.extend(v.to_le_bytes())),
    }
    let length = file.len() as u64 - data;
    let rank = u8::try_from(tensor.shape.len()).map_err(|_| broken("an array has too many dimensions"))?;
    let mut space = vec![2, rank, 0, u8::from(rank > 0)];
    tensor.shape.iter().for_each(|&n| space.extend((n as u64).to_le_bytes()));
    let mut body = Vec::new();
    message(&mut body, DATASPACE, &space)?;
    message(&mut body, DATATYPE, &float_type(tensor.dtype))?;
    // Written late, only if the user sets it, and not defined.
    message(&mut body, FILL_VALUE, &[3, 0x0a])?;
    let address = if length == 0 { UNDEFINED } else { data };
    message(&mut body, LAYOUT, &[[3, 1].as_slice(), &address.to_le_bytes(), &length.to_le_bytes()].concat())?;
    Ok(object(file, &body))
}

/// IEEE little-endian floating point.
fn float_type(dtype: Dtype) -> Vec<u8> {
    let (size, sign, exponent, exponent_bits, fraction, bias) = match dtype {
        Dtype::F32 => (4u32, 31, 23, 8, 23, 127u32),
        _ => (8, 63, 52, 11, 52, 1023),
    };
    let mut out = vec![0x11, 0x20, sign, 0];
    out.extend(size.to_le_bytes());
    out.extend([0, 0]);
    out.extend((size as u16 * 8).to_le_bytes());
    out.extend([exponent, exponent_bits, 0, fraction]);
    out.extend(bias.to_le_bytes());
    out
}

/// Variable-length UTF-8 text, ended by zero, over unsigned bytes.
fn text_type() -> Vec<u8> {
    let mut out = vec![0x19, 0x01, 0x01, 0];
    out.extend(16u32.to_le_bytes());
    out.extend([0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0]);
    out
}
