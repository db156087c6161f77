//! Plots: curves with their confidence intervals as bands. Title and legend stand above, where they cover nothing.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::experiments::{Curve, Plot};
use crate::measure::Estimate;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

const WIDTH: u32 = 720;
/// Of the curves and their axes.
const HEIGHT: u32 = 400;
const TITLE_HEIGHT: u32 = 34;
/// A row of the legend.
const ROW_HEIGHT: i32 = 20;
const MARGIN: i32 = 14;
/// A letter of the legend, in the mean, and what stands before its words.
const LETTER: i32 = 7;
const SAMPLE: i32 = 34;
/// Between what is named side by side.
const GAP: i32 = 18;

/// Colours that people tell apart who see colours otherwise than most (Okabe and Ito 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    RGBColor(160, 120, 40),
];

/// Draws a plot.
///
/// # Errors
/// What could not be drawn.
pub(super) fn draw(plot: &Plot) -> Result<String, String> {
    let mut out = String::new();
    let names = legend(plot);
    let rows = names.iter().map(|(_, row, _)| row + 1).max().unwrap_or(0) as u32;
    let above = TITLE_HEIGHT + rows * ROW_HEIGHT as u32 + 6;
    {
        let area = SVGBackend::with_string(&mut out, (WIDTH, above + HEIGHT)).into_drawing_area();
        let (head, body) = area.split_vertically(above);
        area.fill(&WHITE)
            .and_then(|()| head_of(&head, plot, &names))
            .and_then(|()| body_of(&body, plot))
            .and_then(|()| area.present())
            .map_err(|e| format!("plot {}: {e}", plot.name))?;
    }
    Ok(out)
}

/// What the legend names: words, row, and how far from the left.
fn legend(plot: &Plot) -> Vec<(String, i32, i32)> {
    let curves = plot.curves.iter().map(|curve| curve.name.clone());
    let all = curves.chain(plot.published.map(|(_, what)| format!("published: {what}")));
    let (mut row, mut left) = (0, MARGIN);
    let mut names = Vec::new();
    for name in all {
        let width = SAMPLE + name.chars().count() as i32 * LETTER + GAP;
        if left > MARGIN && left + width > WIDTH as i32 {
            (row, left) = (row + 1, MARGIN);
        }
        names.push((name, row, left));
        left += width;
    }
    names
}

fn head_of<'a>(area: &Area<'a>, plot: &Plot, names: &[(String, i32, i32)]) -> Drawn<'a> {
    let title = ("sans-serif", 17).into_font().style(FontStyle::Bold).color(&BLACK);
    area.draw(&Text::new(plot.title, (MARGIN, 12), title))?;
    for (n, (name, row, left)) in names.iter().enumerate() {
        let y = TITLE_HEIGHT as i32 + row * ROW_HEIGHT + 8;
        let words = ("sans-serif", 13).into_font().color(&BLACK);
        area.draw(&Text::new(name.clone(), (left + SAMPLE, y - 6), words))?;
        if n < plot.curves.len() {
            let (colour, end) = (colour(n), SAMPLE - 8);
            let line = [(*left, y), (left + end, y)];
            area.draw(&PathElement::new(line, colour.stroke_width(2)))?;
            area.draw(&Circle::new((left + end / 2, y), 3, colour.filled()))?;
        } else {
            for from in [0, 10, 20] {
                area.draw(&PathElement::new([(left + from, y), (left + from + 6, y)], BLACK))?;
            }
        }
    }
    Ok(())
}

fn colour(n: usize) -> RGBColor {
    COLOURS[n % COLOURS.len()]
}

/// The points of a curve that are numbers.
fn known(curve: &Curve) -> impl DoubleEndedIterator<Item = (f64, Estimate)> + '_ {
    curve.points.iter().copied().filter(|(_, e)| e.mean.is_finite())
}

/// How far up and down an interval goes; the mean alone where there is none.
fn interval(e: &Estimate) -> (f64, f64) {
    let width = if e.half_width.is_finite() { e.half_width } else { 0.0 };
    ((e.mean - width).max(0.0), e.mean + width)
}

fn body_of<'a>(area: &Area<'a>, plot: &Plot) -> Drawn<'a> {
    let points = || plot.curves.iter().flat_map(known);
    let left = points().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let right = points().map(|p| p.0).fold(1.0, f64::max);
    if plot.log && left.is_finite() && left > 0.0 {
        // One looks at the sizes that there are.
        let mut sizes: Vec<f64> = points().map(|p| p.0).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        let range = (left / 1.15..right * 1.15).log_scale().with_key_points(sizes);
        chart(area, plot, range)
    } else {
        chart(area, plot, 0.0..right * 1.02)
    }
}

fn chart<'a, X>(area: &Area<'a>, plot: &Plot, across: X) -> Drawn<'a>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let highest = plot.curves.iter().flat_map(known).map(|(_, e)| interval(&e).1);
    let top = highest.chain(plot.published.map(|(at, _)| at)).fold(plot.floor + 1e-9, f64::max);
    let top = plot.ceiling.unwrap_or(f64::INFINITY).min(top) + (top - plot.floor) * 0.03;
    let within = move |y: f64| y.clamp(plot.floor, plot.ceiling.unwrap_or(top));
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(across, plot.floor..top)?;
    let grid = BLACK.mix(0.12);
    chart
        .configure_mesh()
        .bold_line_style(grid)
        .light_line_style(TRANSPARENT)
        .axis_style(BLACK.mix(0.6))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .x_desc(plot.axes.0)
        .y_desc(plot.axes.1)
        .draw()?;
    let range = chart.x_range();
    if let Some((at, _)) = plot.published {
        let line = [(range.start, at), (range.end, at)];
        chart.draw_series(DashedLineSeries::new(line, 6, 4, BLACK.stroke_width(1)))?;
    }
    for (n, curve) in plot.curves.iter().enumerate() {
        let band = known(curve).map(|(x, e)| (x, within(interval(&e).1)));
        let band = band.chain(known(curve).rev().map(|(x, e)| (x, within(interval(&e).0))));
        chart.draw_series([Polygon::new(band.collect::<Vec<_>>(), colour(n).mix(0.15))])?;
    }
    for (n, curve) in plot.curves.iter().enumerate() {
        let colour = colour(n);
        let line = || known(curve).map(|(x, e)| (x, within(e.mean)));
        chart.draw_series(LineSeries::new(line(), colour.stroke_width(2)))?;
        chart.draw_series(line().map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    Ok(())
}

/// A number at an axis: no more places than it has, thousands apart.
fn number(value: f64) -> String {
    let rounded = (value * 1e4).round() / 1e4;
    if rounded.abs() < 10_000.0 {
        return format!("{rounded}");
    }
    let digits = format!("{rounded:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::estimate;

    fn plot(log: bool) -> Plot {
        let points = vec![(1.0, estimate(&[1.0, 2.0])), (2.0, estimate(&[])), (300.0, estimate(&[4.0]))];
        let curves = vec![Curve { name: "with churn".into(), points }];
        let published = Some((3.0, "below 3 s"));
        Plot {
            name: "test",
            title: "A test",
            axes: ("peers", "seconds"),
            log,
            floor: 0.0,
            ceiling: None,
            published,
            curves,
        }
    }

    #[test]
    fn a_plot_names_its_axes_and_curves_and_leaves_out_what_is_no_number() {
        for log in [false, true] {
            let text = draw(&plot(log)).unwrap();
            for word in ["<svg", "A test", "with churn", "peers", "seconds", "published: below 3 s"] {
                assert!(text.contains(word), "{word}");
            }
            assert!(!text.contains("NaN") && !text.contains("inf"));
        }
    }

    #[test]
    fn a_long_legend_goes_on_in_the_next_row() {
        let one = plot(false);
        let curves: Vec<Curve> =
            (0..9).map(|n| Curve { name: format!("a curve with number {n}"), points: vec![] }).collect();
        let names = legend(&Plot { curves, ..one });
        assert!(names.iter().any(|(_, row, _)| *row > 0));
        let right = |(name, _, left): &(String, i32, i32)| left + SAMPLE + name.len() as i32 * LETTER;
        assert!(names.iter().all(|name| right(name) <= WIDTH as i32));
    }

    #[test]
    fn numbers_are_as_short_as_they_may_be() {
        let all = [0.1 + 0.2, 150.0, 1_000.0, 1_000_000.0].map(number);
        assert_eq!(all, ["0.3", "150", "1000", "1,000,000"]);
    }
}
