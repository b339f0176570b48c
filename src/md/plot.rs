//! The energy log: read back for the summary and drawn as SVG.

use anyhow::{bail, Context, Result};
use plotters::prelude::*;
use std::path::Path;

/// Columns of the energy log.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// ps
    pub time: Vec<f64>,
    /// eV
    pub potential: Vec<f64>,
    /// eV
    pub conserved: Vec<f64>,
    /// K
    pub temperature: Vec<f64>,
}

impl Series {
    /// Reads an energy log.
    ///
    /// # Errors
    /// Unreadable files and lines.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut series = Series::default();
        for (number, line) in text.lines().enumerate().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let field = |k: usize| fields.get(k).and_then(|f| f.parse::<f64>().ok());
            let (Some(t), Some(u), Some(c), Some(k)) = (field(1), field(2), field(4), field(5)) else {
                bail!("{}, line {}: not a line of an energy log", path.display(), number + 1);
            };
            series.time.push(t);
            series.potential.push(u);
            series.conserved.push(c);
            series.temperature.push(k);
        }
        Ok(series)
    }

    /// Slope of the conserved quantity by least squares, eV/ps; `None` with fewer than three samples.
    pub fn drift(&self) -> Option<f64> {
        let n = self.time.len() as f64;
        if self.time.len() < 3 {
            return None;
        }
        let (mt, mc) = (self.time.iter().sum::<f64>() / n, self.conserved.iter().sum::<f64>() / n);
        let cross: f64 = self.time.iter().zip(&self.conserved).map(|(t, c)| (t - mt) * (c - mc)).sum();
        let square: f64 = self.time.iter().map(|t| (t - mt) * (t - mt)).sum();
        (square > 0.0).then(|| cross / square)
    }

    /// Mean temperature of the second half, K: the first half may still equilibrate.
    pub fn temperature(&self) -> Option<f64> {
        let half = &self.temperature[self.temperature.len() / 2..];
        (!half.is_empty()).then(|| half.iter().sum::<f64>() / half.len() as f64)
    }
}

/// Most points drawn: more would only make the file large.
const POINTS: usize = 4000;

const INK: RGBColor = RGBColor(40, 40, 48);
const BLUE: RGBColor = RGBColor(31, 98, 168);
const ORANGE: RGBColor = RGBColor(214, 109, 22);
const RED: RGBColor = RGBColor(178, 44, 54);

/// What belongs to a run's plot.
pub struct Labels<'a> {
    /// First line.
    pub title: &'a str,
    /// Number of atoms.
    pub atoms: usize,
    /// Temperature of the thermostat, K.
    pub target: Option<f64>,
}

/// Draws energy and temperature against time.
///
/// # Errors
/// What cannot be written.
pub fn draw(series: &Series, labels: &Labels, path: &Path) -> Result<()> {
    if series.time.len() < 2 {
        return Ok(());
    }
    let mut svg = String::new();
    paint(series, labels, &mut svg).map_err(|e| anyhow::anyhow!("cannot draw {}: {e}", path.display()))?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

/// The range of values with a margin.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let margin = ((high - low) * 0.08).max(1e-3 * high.abs()).max(1e-3);
    low - margin..high + margin
}

/// One curve of a panel.
struct Curve {
    label: String,
    points: Vec<(f64, f64)>,
    style: ShapeStyle,
}

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn paint(series: &Series, labels: &Labels, svg: &mut String) -> Drawn {
    let stride = series.time.len().div_ceil(POINTS);
    let thin = |values: &[f64]| -> Vec<(f64, f64)> {
        series.time.iter().copied().zip(values.iter().copied()).step_by(stride).collect()
    };
    // Energies relative to the first sample, meV per atom: absolute ones hide the motion behind a large offset.
    let relative = |values: &[f64]| -> Vec<(f64, f64)> {
        let first = values[0];
        thin(values).into_iter().map(|(t, v)| (t, (v - first) * 1e3 / labels.atoms as f64)).collect()
    };
    let line = |color: RGBColor| ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: 2 };
    let curve = |label: &str, points, color| Curve { label: label.into(), points, style: line(color) };
    let end = series.time[series.time.len() - 1].max(series.time[0] + 1e-9);
    let time = series.time[0]..end;

    let root = SVGBackend::with_string(svg, (860, 660)).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(36);
    head.draw(&Text::new(labels.title.to_string(), (LEFT, 12), ("sans-serif", 22).into_font().color(&INK)))?;
    let (upper, lower) = body.split_vertically(312);
    let energies = [
        curve("potential energy", relative(&series.potential), BLUE),
        curve("conserved quantity", relative(&series.conserved), ORANGE),
    ];
    panel(&upper, time.clone(), "energy change (meV/atom)", &energies)?;
    let mut heat = Vec::new();
    if let Some(target) = labels.target {
        let style = ShapeStyle { color: INK.mix(0.6), filled: false, stroke_width: 1 };
        let points = vec![(time.start, target), (time.end, target)];
        heat.push(Curve { label: format!("thermostat, {target} K"), points, style });
    }
    heat.insert(0, curve("temperature", thin(&series.temperature), RED));
    panel(&lower, time, "temperature (K)", &heat)?;
    root.present()?;
    Ok(())
}

/// Left edge of the axes, pixels.
const LEFT: i32 = 92;

/// Curves against time; the legend stands above, where it hides nothing.
fn panel(area: &Area, time: std::ops::Range<f64>, title: &str, curves: &[Curve]) -> Drawn {
    let font = ("sans-serif", 17).into_font().color(&INK);
    let (strip, area) = area.split_vertically(24);
    let mut x = LEFT;
    for curve in curves {
        strip.draw(&PathElement::new(vec![(x, 12), (x + 24, 12)], curve.style))?;
        strip.draw(&Text::new(curve.label.clone(), (x + 31, 5), font.clone()))?;
        x += 31 + 8 * curve.label.len() as i32 + 28;
    }
    let span = range(curves.iter().flat_map(|c| c.points.iter().map(|p| p.1)));
    let mut chart = ChartBuilder::on(&area)
        .margin_left(14)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(LEFT - 14)
        .build_cartesian_2d(time, span)?;
    // Without the noise of binary fractions.
    let number = |v: &f64| format!("{}", (v * 1e6).round() / 1e6 + 0.0);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.12))
        .axis_style(INK)
        .label_style(font.clone())
        .axis_desc_style(font)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .x_desc("time (ps)")
        .y_desc(title)
        .draw()?;
    for curve in curves.iter().rev() {
        chart.draw_series(LineSeries::new(curve.points.iter().copied(), curve.style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        let time: Vec<f64> = (0..100).map(|i| i as f64 * 0.01).collect();
        Series {
            potential: time.iter().map(|t| -100.0 + t.sin()).collect(),
            conserved: time.iter().map(|t| -90.0 + 2.5e-4 * t).collect(),
            temperature: time.iter().map(|t| if *t < 0.5 { 0.0 } else { 300.0 }).collect(),
            time,
        }
    }

    #[test]
    fn drift_is_the_slope_and_temperature_that_of_the_second_half() {
        assert!((series().drift().unwrap() - 2.5e-4).abs() < 1e-9);
        assert!((series().temperature().unwrap() - 300.0).abs() < 1e-9);
        assert_eq!(Series::default().drift(), None);
    }

    #[test]
    fn the_plot_has_two_panels_with_units() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        draw(&series(), &Labels { title: "water", atoms: 192, target: Some(300.0) }, &path).unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        for text in ["water", "energy change (meV/atom)", "temperature (K)", "time (ps)", "thermostat, 300 K"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.matches("<polyline").count() >= 3);
    }

    #[test]
    fn a_constant_series_can_be_drawn() {
        let mut flat = series();
        flat.potential.fill(1.0);
        flat.conserved.fill(1.0);
        flat.temperature.fill(0.0);
        let folder = tempfile::tempdir().unwrap();
        draw(&flat, &Labels { title: "flat", atoms: 1, target: None }, &folder.path().join("x.svg")).unwrap();
    }
}
