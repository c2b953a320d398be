//! The plots: bars, one for each server, with the range of its runs.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;
use ullim_loadtest::report::Report;

use crate::experiment;
use crate::goal::{cpu, kibibytes, p50, p99};
use crate::results::{Figure, Results};

/// One picture.
pub(crate) struct Plot {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    experiment: &'static str,
    value: fn(&Report) -> Option<f64>,
    /// Servers differ by orders of magnitude.
    logarithmic: bool,
    digits: usize,
}

const PLOTS: [Plot; 10] = [
    Plot {
        name: "fanout-1000",
        title: "CPU per delivery, 1,000 subscribers (µs)",
        experiment: "fanout-1000",
        value: cpu,
        logarithmic: false,
        digits: 2,
    },
    Plot {
        name: "stomp",
        title: "STOMP: CPU per delivery, 1,000 subscribers (µs)",
        experiment: "stomp",
        value: cpu,
        logarithmic: false,
        digits: 2,
    },
    Plot {
        name: "fanout-5000",
        title: "CPU per delivery, 5,000 subscribers (µs)",
        experiment: "fanout-5000",
        value: cpu,
        logarithmic: false,
        digits: 2,
    },
    Plot {
        name: "burst",
        title: "A burst of a million deliveries: p99 delay (ms, logarithmic)",
        experiment: "burst",
        value: p99,
        logarithmic: true,
        digits: 0,
    },
    Plot {
        name: "idle",
        title: "Resident memory per idle connection (KiB, logarithmic)",
        experiment: "idle",
        value: kibibytes,
        logarithmic: true,
        digits: 2,
    },
    Plot {
        name: "storm",
        title: "CPU per connection (µs, logarithmic)",
        experiment: "storm",
        value: cpu,
        logarithmic: true,
        digits: 1,
    },
    Plot {
        name: "channels",
        title: "CPU per message, 20,000 channels (µs)",
        experiment: "channels",
        value: cpu,
        logarithmic: false,
        digits: 2,
    },
    Plot {
        name: "cluster",
        title: "Two nodes: p99 delay (ms)",
        experiment: "cluster",
        value: p99,
        logarithmic: false,
        digits: 2,
    },
    Plot {
        name: "growth",
        title: "CPU per delivery as subscribers grow (µs)",
        experiment: "growth",
        value: cpu,
        logarithmic: false,
        digits: 2,
    },
    Plot {
        name: "lone",
        title: "A lone publication: p50 delay (ms)",
        experiment: "lone",
        value: p50,
        logarithmic: false,
        digits: 3,
    },
];

/// The pictures of an experiment.
pub(crate) fn of(experiment: &str) -> impl Iterator<Item = &'static Plot> {
    PLOTS.iter().filter(move |plot| plot.experiment == experiment)
}

const WIDTH: u32 = 760;
const BAR: i32 = 26;
const TOP: i32 = 44;
const LEFT: i32 = 190;
const RIGHT: i32 = 110;

const INK: RGBColor = RGBColor(60, 64, 72);
const OURS: RGBColor = RGBColor(38, 110, 196);
const FLOOR: RGBColor = RGBColor(150, 156, 166);
const THEIRS: RGBColor = RGBColor(214, 150, 70);

/// Draws what there are figures for.
pub(crate) fn draw_all(results: &Results, folder: &Path) -> anyhow::Result<()> {
    for plot in &PLOTS {
        let bars = bars(results, plot);
        if !bars.is_empty() {
            let file = folder.join(plot.name).with_extension("svg");
            draw(plot, &bars, &file).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))?;
        }
    }
    Ok(())
}

fn bars(results: &Results, plot: &Plot) -> Vec<(&'static str, Figure)> {
    let experiments = experiment::all();
    let contestants = experiments.iter().filter(|experiment| experiment.id == plot.experiment);
    let labels = contestants.flat_map(|experiment| experiment.contestants.iter().map(|contestant| contestant.label));
    labels.filter_map(|label| Some((label, results.figure(plot.experiment, label, plot.value)?))).collect()
}

fn draw(plot: &Plot, bars: &[(&str, Figure)], file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let height = TOP + BAR * bars.len() as i32 + 16;
    let area = SVGBackend::new(file, (WIDTH, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    area.draw(&Text::new(plot.title, (16, 12), text(17)))?;
    let scale = Scale::over(bars, plot.logarithmic);
    for (row, (label, figure)) in bars.iter().enumerate() {
        let top = TOP + BAR * row as i32;
        let color = match *label {
            label if label.starts_with("Ullim") => OURS,
            label if label.starts_with("floor") => FLOOR,
            _ => THEIRS,
        };
        let end = scale.place(figure.median);
        area.draw(&Text::new((*label).to_owned(), (16, top + 5), text(14)))?;
        area.draw(&Rectangle::new([(LEFT, top + 4), (end, top + BAR - 4)], color.filled()))?;
        let middle = top + BAR / 2;
        let (least, greatest) = (scale.place(figure.least), scale.place(figure.greatest));
        area.draw(&PathElement::new([(least, middle), (greatest, middle)], INK.stroke_width(1)))?;
        for edge in [least, greatest] {
            area.draw(&PathElement::new([(edge, middle - 4), (edge, middle + 4)], INK.stroke_width(1)))?;
        }
        let value = format!("{:.*}", plot.digits, figure.median);
        area.draw(&Text::new(value, (greatest.max(end) + 8, top + 5), text(14)))?;
    }
    area.present()?;
    Ok(())
}

/// From values to places on the picture.
struct Scale {
    first: f64,
    last: f64,
    logarithmic: bool,
}

impl Scale {
    fn over(bars: &[(&str, Figure)], logarithmic: bool) -> Self {
        let last = bars.iter().map(|(_, figure)| figure.greatest).fold(f64::MIN_POSITIVE, f64::max);
        let least = bars.iter().map(|(_, figure)| figure.least).fold(last, f64::min);
        // Logarithmic bars begin a little below the shortest.
        let first = if logarithmic { (least / 2.0).max(last / 1e6) } else { 0.0 };
        Self { first, last, logarithmic }
    }

    fn place(&self, value: f64) -> i32 {
        let part = match self.logarithmic {
            true => (value.max(self.first) / self.first).ln() / (self.last / self.first).ln().max(f64::MIN_POSITIVE),
            false => value / self.last,
        };
        LEFT + (part * f64::from(WIDTH as i32 - LEFT - RIGHT)) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_every_server_with_its_figure() {
        let file = tempfile::Builder::new().suffix(".svg").tempfile().unwrap();
        let figure = |median| Figure { least: median * 0.9, median, greatest: median * 1.1, runs: 3 };
        for plot in &PLOTS {
            draw(plot, &[("floor", figure(3.0)), ("Ullim", figure(3.5)), ("Nchan", figure(900.0))], file.path())
                .unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            for expected in ["floor", "Ullim", "Nchan", "900"] {
                assert!(text.contains(expected), "{expected} is missing in {text}");
            }
        }
    }
}
