//! The experiments' results as a page and plots.

mod page;
mod svg;

use std::fs;
use std::path::Path;

use crate::experiments::{ABSENT, Experiment, Outcome, Scale};

pub use self::page::{Made, page};

/// Writes the page and its plots below a folder: `scoreboard.md` and `scoreboard/*.svg`.
///
/// # Errors
/// Names the file that could not be written, or the plot that could not be drawn.
pub fn write(
    folder: &Path,
    scale: &Scale,
    made: &Made,
    results: &[(Experiment, Outcome)],
) -> Result<(), String> {
    let plots = folder.join("scoreboard");
    fs::create_dir_all(&plots).map_err(|e| format!("{}: {e}", plots.display()))?;
    for (_, outcome) in results {
        for plot in &outcome.plots {
            let path = plots.join(format!("{}.svg", plot.name));
            fs::write(&path, svg::draw(plot)?).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    let path = folder.join("scoreboard.md");
    fs::write(&path, page(scale, made, results, ABSENT)).map_err(|e| format!("{}: {e}", path.display()))
}
