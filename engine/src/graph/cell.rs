//! Lattice arithmetic: fractional coordinates, heights, wrapping.

use super::GraphError;

/// A periodic cell with its inverse; rows are lattice vectors in A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Rows a, b, c.
    pub rows: [[f64; 3]; 3],
    /// Columns of the inverse: fractional coordinate k of x is `x . inverse[k]`.
    pub inverse: [[f64; 3]; 3],
    /// Distance between the two faces that lattice vector k connects, A.
    pub heights: [f64; 3],
    /// Volume, A^3 (positive).
    pub volume: f64,
}

/// Cross product.
pub fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Scalar product.
pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl Cell {
    /// Checks the rows and prepares the inverse.
    ///
    /// # Errors
    /// [`GraphError::Cell`] when an entry is not finite or the volume is (nearly) zero.
    pub fn new(rows: &[[f64; 3]; 3]) -> Result<Self, GraphError> {
        let [a, b, c] = *rows;
        let volume = dot(a, cross(b, c));
        let lengths = [a, b, c].map(|v| dot(v, v).sqrt());
        let scale = lengths[0] * lengths[1] * lengths[2];
        let finite = rows.iter().flatten().all(|x| x.is_finite()) && scale.is_finite() && volume.is_finite();
        if !finite || volume.abs() <= 1e-10 * scale {
            return Err(GraphError::Cell { volume, lengths });
        }
        let faces = [cross(b, c), cross(c, a), cross(a, b)];
        let inverse = faces.map(|f| f.map(|x| x / volume));
        let heights = faces.map(|f| volume.abs() / dot(f, f).sqrt());
        Ok(Self { rows: *rows, inverse, heights, volume: volume.abs() })
    }

    /// Fractional coordinates of a point.
    pub fn fractional(&self, x: [f64; 3]) -> [f64; 3] {
        [dot(x, self.inverse[0]), dot(x, self.inverse[1]), dot(x, self.inverse[2])]
    }

    /// Lattice translation of an integer image.
    pub fn translation(&self, image: [i32; 3]) -> [f64; 3] {
        let n = image.map(f64::from);
        let r = &self.rows;
        [
            n[0] * r[0][0] + n[1] * r[1][0] + n[2] * r[2][0],
            n[0] * r[0][1] + n[1] * r[1][1] + n[2] * r[2][1],
            n[0] * r[0][2] + n[1] * r[1][2] + n[2] * r[2][2],
        ]
    }

    /// Position wrapped into the cell, and the image it came from (`x = wrapped + translation(image)`).
    pub fn wrap(&self, x: [f64; 3]) -> ([f64; 3], [i32; 3]) {
        let image = self.fractional(x).map(|f| f.floor() as i32);
        let t = self.translation(image);
        ([x[0] - t[0], x[1] - t[1], x[2] - t[2]], image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_and_translating_gives_the_point_back() {
        let cell = Cell::new(&[[10.0, 0.0, 0.0], [3.0, 9.0, 0.0], [-2.0, 1.0, 7.0]]).unwrap();
        let x = [23.4, -17.0, 55.5];
        let (w, image) = cell.wrap(x);
        let t = cell.translation(image);
        for k in 0..3 {
            assert!((w[k] + t[k] - x[k]).abs() < 1e-12);
            let f = cell.fractional(w)[k];
            assert!((-1e-12..1.0 + 1e-12).contains(&f));
        }
        assert!((cell.volume - 630.0).abs() < 1e-9);
        assert!((cell.heights[2] - 7.0).abs() < 1e-12);
    }

    #[test]
    fn a_flat_or_broken_cell_is_refused() {
        assert!(Cell::new(&[[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).is_err());
        assert!(Cell::new(&[[0.0; 3]; 3]).is_err());
        assert!(Cell::new(&[[f64::NAN, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).is_err());
    }
}
