//! Bins that a search for neighbours looks through, on the host and on a device.

use super::{Cell, GraphError, Reach};

/// The region that bins divide: the periodic cell, or the bounding box of an isolated system.
#[derive(Clone, Debug)]
pub struct Space {
    /// The periodic cell.
    pub cell: Option<Cell>,
    /// Lowest coordinates of an isolated system, A.
    pub low: [f64; 3],
    /// Distances between opposite walls, A.
    pub extent: [f64; 3],
}

impl Space {
    /// Of finite positions, A.
    ///
    /// # Errors
    /// Those of [`Cell::new`].
    pub fn new(positions: &[[f64; 3]], cell: Option<&[[f64; 3]; 3]>) -> Result<Self, GraphError> {
        if let Some(rows) = cell {
            let cell = Cell::new(rows)?;
            return Ok(Self { extent: cell.heights, cell: Some(cell), low: [0.0; 3] });
        }
        let mut low = [f64::INFINITY; 3];
        let mut high = [f64::NEG_INFINITY; 3];
        for p in positions {
            for k in 0..3 {
                low[k] = low[k].min(p[k]);
                high[k] = high[k].max(p[k]);
            }
        }
        let extent = std::array::from_fn(|k| (high[k] - low[k]).max(1e-3) * (1.0 + 1e-9));
        Ok(Self { cell: None, low: low.map(|v| if v.is_finite() { v } else { 0.0 }), extent })
    }

    /// Fractional coordinates in [0, 1).
    pub fn fraction(&self, x: [f64; 3]) -> [f64; 3] {
        match &self.cell {
            Some(cell) => cell.fractional(x).map(|f| f - f.floor()),
            None => std::array::from_fn(|k| (x[k] - self.low[k]) / self.extent[k]),
        }
    }

    /// The bin of a position where there are so many along each direction.
    pub fn bin(&self, x: [f64; 3], count: [usize; 3]) -> [usize; 3] {
        let f = self.fraction(x);
        std::array::from_fn(|k| ((f[k] * count[k] as f64) as usize).min(count[k] - 1))
    }
}

/// A division of space, and how far to look from a bin.
#[derive(Clone, Debug)]
pub struct Grid {
    /// What is divided.
    pub space: Space,
    /// Bins along each direction.
    pub count: [usize; 3],
    /// Bins to look through on each side.
    pub look: [i64; 3],
    /// Square of the reach, A^2: a hair more than asked, because rounding must not lose a pair that the exact cutoff keeps.
    pub reach2: f64,
}

impl Grid {
    /// For all pairs within the reach. Bins are half as wide as that where there is room: 125 of them hold half of what 27 bins of the
    /// reach's width hold.
    ///
    /// # Errors
    /// Those of [`Cell::new`]; [`GraphError::TooManyImages`].
    pub fn new(positions: &[[f64; 3]], reach: &Reach) -> Result<Self, GraphError> {
        Self::in_bins(positions, reach, usize::MAX)
    }

    /// The same in at most so many bins, wider ones where need be.
    ///
    /// # Errors
    /// Those of [`Grid::new`].
    pub fn in_bins(positions: &[[f64; 3]], reach: &Reach, most: usize) -> Result<Self, GraphError> {
        // More bins than atoms only cost memory: the cap keeps a huge empty box from asking for billions of them.
        let cap = (positions.len() as f64).cbrt().ceil().max(1.0) * 4.0;
        let (space, far) = (Space::new(positions, reach.cell.as_ref())?, reach.far());
        let mut count: [usize; 3] =
            std::array::from_fn(|k| (2.0 * space.extent[k] / far).floor().clamp(1.0, cap) as usize);
        while count.iter().product::<usize>() > most.max(1) {
            let widest = (0..3).max_by_key(|&k| count[k]).expect("three directions");
            count[widest] -= 1;
        }
        let mut look = [1; 3];
        for k in 0..3 {
            let height = space.extent[k];
            let images = (far / (height / count[k] as f64)).ceil();
            if images > 1000.0 && space.cell.is_some() {
                return Err(GraphError::TooManyImages { vector: k, height, cutoff: far, images });
            }
            // An isolated system never needs to look beyond its own bins.
            look[k] = if space.cell.is_some() { images as i64 } else { (images as i64).min(count[k] as i64) };
        }
        Ok(Self { space, count, look, reach2: far * far * (1.0 + 1e-12) })
    }
}

/// Bin number and image of an unfolded bin number; `None` outside an isolated system.
pub fn fold(bin: i64, count: usize, periodic: bool) -> Option<(usize, i32)> {
    let n = count as i64;
    if periodic {
        Some((bin.rem_euclid(n) as usize, bin.div_euclid(n) as i32))
    } else {
        (0..n).contains(&bin).then_some((bin as usize, 0))
    }
}
