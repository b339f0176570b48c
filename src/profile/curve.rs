//! The curve of a profile: time of a step against the HBM budget.

use super::lines::Measured;
use super::measure::Way;
use plotters::coord::Shift;
use plotters::prelude::*;

type Drawn = Result<(), Box<dyn std::error::Error>>;

const INK: RGBColor = RGBColor(40, 40, 40);
const COLORS: [RGBColor; 3] = [RGBColor(196, 78, 82), RGBColor(76, 114, 176), RGBColor(85, 140, 70)];

/// The curve as SVG: measured times as lines with dots, predicted ones as dashes.
///
/// # Errors
/// What the plotting library says.
pub fn draw(measured: &Measured, title: &str) -> Result<String, String> {
    let mut svg = String::new();
    render(measured, title, &mut svg).map_err(|e| e.to_string())?;
    Ok(svg)
}

fn render(m: &Measured, title: &str, svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, (860, 460)).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(64);
    head.draw(&Text::new(title.to_string(), (70, 10), ("sans-serif", 20).into_font().color(&INK)))?;
    legend(&head)?;
    let rows: Vec<_> = m.rows.iter().filter(|r| !r.infeasible).collect();
    let share = |bytes: u64| 100.0 * bytes as f64 / m.unlimited_bytes.max(1) as f64;
    let top = rows.iter().map(|r| r.predicted_s.max(r.measured_s)).fold(m.unlimited_s, f64::max) / m.unlimited_s;
    let right = rows.iter().map(|r| share(r.hbm_bytes)).fold(100.0, f64::max);
    let font = ("sans-serif", 16).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&body)
        .margin_left(14)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..right * 1.03, 0.0..top * 1.08)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.12))
        .axis_style(INK)
        .label_style(font.clone())
        .axis_desc_style(font)
        .x_desc("hbm budget (% of what an unlimited step takes)")
        .y_desc("time of a step (unlimited = 1)")
        .draw()?;
    let placements: std::collections::BTreeSet<&str> = rows.iter().map(|r| r.placement.as_str()).collect();
    for placement in placements {
        for (way, color) in Way::ALL.into_iter().zip(COLORS) {
            let mut points: Vec<(f64, f64, f64)> = rows
                .iter()
                .filter(|r| r.way == way && r.placement == placement)
                .map(|r| (share(r.hbm_bytes), r.measured_s / m.unlimited_s, r.predicted_s / m.unlimited_s))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let line = |pick: fn(&(f64, f64, f64)) -> f64| points.iter().map(move |p| (p.0, pick(p)));
            let style = ShapeStyle { color: color.to_rgba(), filled: true, stroke_width: 2 };
            chart.draw_series(LineSeries::new(line(|p| p.1), style))?;
            chart.draw_series(line(|p| p.1).map(|p| Circle::new(p, 4, style)))?;
            chart.draw_series(DashedLineSeries::new(line(|p| p.2), 6, 5, color.mix(0.8).stroke_width(1)))?;
        }
    }
    root.present()?;
    Ok(())
}

fn legend(area: &DrawingArea<SVGBackend<'_>, Shift>) -> Drawn {
    let font = ("sans-serif", 16).into_font().color(&INK);
    let mut x = 70;
    for (label, color) in ["rebuild only", "spill only", "the planner's choice"].into_iter().zip(COLORS) {
        area.draw(&Circle::new((x, 50), 4, ShapeStyle { color: color.to_rgba(), filled: true, stroke_width: 1 }))?;
        area.draw(&Text::new(label, (x + 10, 42), font.clone()))?;
        x += 26 + 9 * label.len() as i32;
    }
    area.draw(&Text::new("dots measured, dashes predicted", (x + 10, 42), font))?;
    Ok(())
}
