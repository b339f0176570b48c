//! What every calculator asks of positions and of a neighbour list that somebody else made.

use weir_engine::backend::ComputeError;
use weir_engine::graph::{check_positions, summation_order, GivenList, GraphError, Images, NeighbourList};

/// Positions for each of `atoms`.
pub(crate) fn check_count(positions: &[[f64; 3]], atoms: usize) -> Result<(), GraphError> {
    match positions.len() == atoms {
        true => Ok(()),
        false => Err(GraphError::Count { got: positions.len(), expected: atoms }),
    }
}

/// The order of summation at these positions; `into` becomes the list in it. After an error it is what it was.
pub(crate) fn take(
    given: &GivenList,
    positions: &[[f64; 3]],
    cell: Option<&[[f64; 3]; 3]>,
    types: &[i32],
    into: &mut NeighbourList,
) -> Result<Vec<u32>, ComputeError> {
    check_count(positions, types.len())?;
    let order = summation_order(positions, cell)?;
    into.take_over(given, positions, types, &order)?;
    Ok(order)
}

/// Whether a step may use the list: there is one (`taken`), for as many atoms, and the images have all its rows and are numbers.
pub(crate) fn check(
    list: &NeighbourList,
    taken: bool,
    positions: &[[f64; 3]],
    atoms: usize,
    images: Images,
) -> Result<(), ComputeError> {
    check_count(positions, atoms)?;
    // Before translations: those follow from positions.
    check_positions(positions)?;
    if !taken {
        return Err(ComputeError::Parameter("no neighbour list was given".into()));
    }
    Ok(list.check_images(images)?)
}
