//! Plots: curves with their confidence intervals.

use plotters::prelude::*;

use crate::experiments::Plot;

const SIZE: (u32, u32) = (720, 420);

/// Draws a plot.
///
/// # Errors
/// What could not be drawn.
pub(super) fn draw(plot: &Plot) -> Result<String, String> {
    let mut out = String::new();
    let failed = |e: &dyn std::fmt::Display| format!("plot {}: {e}", plot.name);
    {
        let area = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        let points = || plot.curves.iter().flat_map(|c| &c.points).filter(|(_, e)| e.mean.is_finite());
        let high =
            |e: &crate::measure::Estimate| e.mean + if e.half_width.is_finite() { e.half_width } else { 0.0 };
        let right = points().map(|p| p.0).fold(1.0, f64::max);
        let top = points().map(|p| high(&p.1)).fold(1e-9, f64::max) * 1.05;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right * 1.02, 0.0..top)
            .map_err(|e| failed(&e))?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(plot.axes.0)
            .y_desc(plot.axes.1)
            .draw()
            .map_err(|e| failed(&e))?;
        for (n, curve) in plot.curves.iter().enumerate() {
            let colour = Palette99::pick(n).to_rgba();
            let known = || curve.points.iter().filter(|(_, e)| e.mean.is_finite());
            chart
                .draw_series(LineSeries::new(known().map(|(x, e)| (*x, e.mean)), colour.stroke_width(2)))
                .map_err(|e| failed(&e))?
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
            let intervals = known().filter(|(_, e)| e.half_width.is_finite()).map(|(x, e)| {
                let (low, high) = ((e.mean - e.half_width).max(0.0), e.mean + e.half_width);
                PathElement::new([(*x, low), (*x, high)], colour.stroke_width(1))
            });
            chart.draw_series(intervals).map_err(|e| failed(&e))?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|e| failed(&e))?;
        area.present().map_err(|e| failed(&e))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::Curve;
    use crate::measure::estimate;

    #[test]
    fn a_plot_names_its_axes_and_curves_and_leaves_out_what_is_no_number() {
        let points = vec![(1.0, estimate(&[1.0, 2.0])), (2.0, estimate(&[])), (3.0, estimate(&[4.0]))];
        let curves = vec![Curve { name: "with churn".into(), points }];
        let text = draw(&Plot { name: "test", axes: ("peers", "seconds"), curves }).unwrap();
        for word in ["<svg", "with churn", "peers", "seconds"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(!text.contains("NaN"));
    }
}
