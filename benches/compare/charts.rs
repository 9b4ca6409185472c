//! The SVG charts.

use std::error::Error;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::cells::Setup;
use super::floor::FLOOR_NAME;
use super::kinds::{ABIDE_NAME, KINDS};
use super::load::PERCENTILES;
use super::report::{digits, grouped};
use super::results::{Outcome, Row};

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The colours in the order of [`KINDS`]. The configurations of nginx have similar ones.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0xd6, 0x45, 0x1b),
    RGBColor(0x0b, 0x6e, 0x4f),
    RGBColor(0x2e, 0xa0, 0x6e),
    RGBColor(0x86, 0xa8, 0x1d),
    RGBColor(0x2b, 0x5c, 0xa8),
    RGBColor(0x7a, 0x3e, 0x9d),
    RGBColor(0x8a, 0x6d, 0x3b),
    RGBColor(0x4a, 0x9c, 0xc4),
    RGBColor(0x70, 0x70, 0x70),
];
const EXTRA_COLOUR: RGBColor = RGBColor(0xc2, 0x4f, 0x9a);
const FLOOR_COLOUR: RGBColor = RGBColor(0xb9, 0xb9, 0xb9);
const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// A line of a chart, with its label.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// The titles and axes of a line chart.
struct Frame<'a> {
    title: &'a str,
    x_title: &'a str,
    y_title: &'a str,
    x_ticks: Vec<(f64, String)>,
    y_ticks: Vec<(f64, String)>,
    y_range: (f64, f64),
}

/// Draws all charts that the outcomes allow, and returns their files.
pub fn draw_all(
    folder: &Path,
    outcomes: &[Outcome],
    series: &[Outcome],
) -> Result<Vec<PathBuf>, String> {
    let mut written = Vec::new();
    let mut keep = |name: String, draw: &dyn Fn(&Path) -> Drawn| {
        let path = folder.join(name);
        draw(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        written.push(path);
        Ok::<(), String>(())
    };
    let of_chart = |is_tls: bool| {
        let outcomes = outcomes.iter();
        outcomes.filter(move |outcome| (outcome.cell.setup == Setup::Tls) == is_tls)
    };
    for (name, is_tls) in [("cpu.svg", false), ("cpu-tls.svg", true)] {
        let outcomes: Vec<&Outcome> = of_chart(is_tls).collect();
        if !outcomes.is_empty() {
            keep(name.to_owned(), &|path| cpu(path, &outcomes))?;
        }
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.rows.is_empty()) {
        if ["1k", "1k-256", "two-thirds"].contains(&outcome.cell.name) {
            let name = format!("latency-{}.svg", outcome.cell.name);
            keep(name, &|path| latency(path, outcome))?;
        }
    }
    if series.len() > 1 {
        keep("connections.svg".to_owned(), &|path| {
            throughput(path, series)
        })?;
    }
    Ok(written)
}

/// The colour of a server, which is the same in all charts.
fn colour(name: &str) -> RGBColor {
    if name == FLOOR_NAME {
        return FLOOR_COLOUR;
    }
    let index = KINDS.iter().position(|kind| kind.name == name);
    index.map_or(EXTRA_COLOUR, |index| COLOURS[index % COLOURS.len()])
}

fn text(size: u32, at: Pos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&TEXT).pos(at)
}

/// Draws the CPU time per request: a panel for each cell, a bar for each server.
fn cpu(path: &Path, outcomes: &[&Outcome]) -> Drawn {
    const COLUMNS: usize = 3;
    const PANEL: (u32, u32) = (350, 50);
    const BAR: u32 = 18;
    let lines = outcomes.len().div_ceil(COLUMNS) as u32;
    let bars = outcomes.iter().map(|outcome| outcome.rows.len());
    let bars = bars.max().unwrap_or(0);
    let panel_height = PANEL.1 + BAR * bars as u32;
    let columns = outcomes.len().clamp(2, COLUMNS) as u32;
    let size = (PANEL.0 * columns + 20, panel_height * lines + 56);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let top = Pos::new(HPos::Left, VPos::Top);
    let title = "Server CPU time per request, in microseconds";
    root.draw(&Text::new(title, (14, 10), text(20, top)))?;
    let mut note = "Shorter is better. Each panel has its own scale, from zero.".to_owned();
    if outcomes.iter().any(|one| one.row(FLOOR_NAME).is_some()) {
        note += " The floor is the kernel's part.";
    }
    root.draw(&Text::new(note, (14, 33), text(13, top)))?;
    let (_, below) = root.split_vertically(54);
    let panels = below.split_evenly((lines as usize, columns as usize));
    for (outcome, panel) in outcomes.iter().zip(&panels) {
        cpu_panel(panel, outcome, bars)?;
    }
    root.present()?;
    Ok(())
}

/// Draws the panel of one cell, with space for `bars` bars.
fn cpu_panel(panel: &Area, outcome: &Outcome, bars: usize) -> Drawn {
    const NAMES_WIDTH: u32 = 150;
    let value = |row: &Row| row.sample.cpu_micros;
    let largest = outcome.rows.iter().map(value).fold(0.0, f64::max);
    let (room, count) = (bars as f64, outcome.rows.len() as f64);
    let middle = Pos::new(HPos::Right, VPos::Center);
    let title = ("sans-serif", 15).into_font().style(FontStyle::Bold);
    let at = (NAMES_WIDTH as i32, 10);
    panel.draw(&Text::new(outcome.cell.title, at, title.color(&TEXT)))?;
    let mut chart = ChartBuilder::on(panel)
        .margin_right(14)
        .margin_top(32)
        .set_label_area_size(LabelAreaPosition::Left, NAMES_WIDTH)
        .build_cartesian_2d(0.0..(largest * 1.25).max(0.01), 0.0..room)?;
    for (index, row) in outcome.rows.iter().enumerate() {
        let (y, x) = (room - index as f64, value(row));
        let fill = colour(&row.name).filled();
        chart.draw_series([Rectangle::new([(0.0, y - 0.88), (x, y - 0.12)], fill)])?;
        let at = (0.0, y - 0.5);
        let name = Text::new(row.name.clone(), (-6, 0), text(13, middle));
        chart.draw_series([EmptyElement::at(at) + name])?;
        let start = Pos::new(HPos::Left, VPos::Center);
        let number = Text::new(digits(x), (4, 0), text(13, start));
        chart.draw_series([EmptyElement::at((x, y - 0.5)) + number])?;
    }
    let zero = PathElement::new([(0.0, room - count), (0.0, room)], TEXT.stroke_width(1));
    chart.draw_series([zero])?;
    Ok(())
}

/// Draws latency by percentile, one line for each server.
fn latency(path: &Path, outcome: &Outcome) -> Drawn {
    let line = |row: &Row| {
        let values = row.sample.latency_micros.iter().enumerate();
        let point = |(at, micros): (usize, &f64)| (at as f64, micros.max(1.0).log10());
        Line {
            name: row.name.clone(),
            points: values.map(point).collect(),
        }
    };
    let lines: Vec<Line> = without_floor(outcome).map(line).collect();
    let values = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|p| p.1))
    };
    let range = (
        values().fold(f64::MAX, f64::min) - 0.1,
        values().fold(0.0, f64::max) + 0.1,
    );
    let marks = [1, 2, 5]
        .into_iter()
        .flat_map(|digit| (0..7).map(move |e| digit * 10_u64.pow(e)));
    let mut y_ticks: Vec<(f64, String)> = marks
        .map(|micros| ((micros as f64).log10(), duration(micros)))
        .filter(|(y, _)| (range.0..=range.1).contains(y))
        .collect();
    y_ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let percentiles = PERCENTILES.iter().enumerate();
    let title = format!("Latency: {}", outcome.cell.title);
    let frame = Frame {
        title: &title,
        x_title: "percent of the requests that were faster",
        y_title: "latency, logarithmic",
        x_ticks: percentiles
            .map(|(at, p)| (at as f64, p.to_string()))
            .collect(),
        y_ticks,
        y_range: range,
    };
    draw_lines(path, &frame, &lines)
}

/// The rows without the floor, whose throughput is no measure because it has one thread.
fn without_floor(outcome: &Outcome) -> impl Iterator<Item = &Row> {
    outcome.rows.iter().filter(|row| row.name != FLOOR_NAME)
}

fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// Draws requests per second by number of connections, one line for each server.
fn throughput(path: &Path, series: &[Outcome]) -> Drawn {
    let mut names: Vec<String> = Vec::new();
    for row in series.iter().flat_map(without_floor) {
        if !names.contains(&row.name) {
            names.push(row.name.clone());
        }
    }
    let x = |outcome: &Outcome| f64::from(outcome.cell.connections).log2();
    let line = |name: &String| {
        let points = series.iter().filter_map(|outcome| {
            let row = outcome.rows.iter().find(|row| row.name == *name)?;
            Some((x(outcome), row.sample.rate / 1000.0))
        });
        Line {
            name: name.clone(),
            points: points.collect(),
        }
    };
    let lines: Vec<Line> = names.iter().map(line).collect();
    let values = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|p| p.1));
    let largest = values.fold(1.0, f64::max) * 1.05;
    let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];
    let step = steps
        .into_iter()
        .find(|step| largest / step <= 8.0)
        .unwrap_or(500.0);
    let marks = (0..9)
        .map(|n| f64::from(n) * step)
        .filter(|y| *y <= largest);
    let tick = |outcome: &Outcome| (x(outcome), grouped(outcome.cell.connections.into()));
    let frame = Frame {
        title: "Throughput over connections: a file of 1 KB, keep-alive",
        x_title: "connections, logarithmic",
        y_title: "thousand requests per second",
        x_ticks: series.iter().map(tick).collect(),
        y_ticks: marks.map(|y| (y, y.to_string())).collect(),
        y_range: (0.0, largest),
    };
    draw_lines(path, &frame, &lines)
}

/// Draws a line chart, with the name of each line at its end.
fn draw_lines(path: &Path, frame: &Frame, lines: &[Line]) -> Drawn {
    let root = SVGBackend::new(path, (900, 460)).into_drawing_area();
    root.fill(&WHITE)?;
    let top = Pos::new(HPos::Left, VPos::Top);
    root.draw(&Text::new(frame.title, (14, 10), text(20, top)))?;
    root.draw(&Text::new(frame.y_title, (14, 38), text(14, top)))?;
    let ends = |ticks: &[(f64, String)]| {
        let first = ticks.first().map_or(0.0, |tick| tick.0);
        (
            first,
            ticks.last().map_or(1.0, |tick| tick.0.max(first + 1.0)),
        )
    };
    let (from, to) = ends(&frame.x_ticks);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(64)
        .set_label_area_size(LabelAreaPosition::Left, 70)
        .set_label_area_size(LabelAreaPosition::Right, 190)
        .set_label_area_size(LabelAreaPosition::Bottom, 56)
        .build_cartesian_2d(from..to, frame.y_range.0..frame.y_range.1)?;
    let beside = Pos::new(HPos::Right, VPos::Center);
    for (y, label) in &frame.y_ticks {
        chart.draw_series([PathElement::new([(from, *y), (to, *y)], FAINT)])?;
        let label = Text::new(label.clone(), (-8, 0), text(14, beside));
        chart.draw_series([EmptyElement::at((from, *y)) + label])?;
    }
    let bottom = frame.y_range.0;
    let under = Pos::new(HPos::Center, VPos::Top);
    for (x, label) in &frame.x_ticks {
        let label = Text::new(label.clone(), (0, 8), text(14, under));
        let tick = PathElement::new([(0, 0), (0, 5)], TEXT);
        chart.draw_series([EmptyElement::at((*x, bottom)) + label])?;
        chart.draw_series([EmptyElement::at((*x, bottom)) + tick])?;
    }
    chart.draw_series([PathElement::new([(from, bottom), (to, bottom)], TEXT)])?;
    let title = Text::new(frame.x_title.to_owned(), (0, 32), text(14, under));
    chart.draw_series([EmptyElement::at((f64::midpoint(from, to), bottom)) + title])?;

    // The line of abide is drawn last, above the others.
    for line in lines.iter().rev() {
        let colour = colour(&line.name);
        let width = if line.name == ABIDE_NAME { 4 } else { 2 };
        chart.draw_series(LineSeries::new(
            line.points.clone(),
            colour.stroke_width(width),
        ))?;
        let dots = line
            .points
            .iter()
            .map(|&at| Circle::new(at, width, colour.filled()));
        chart.draw_series(dots)?;
    }
    let last = |line: &Line| Some((line.name.clone(), line.points.last().copied()?));
    let ends = lines.iter().filter_map(last);
    let ends = ends
        .map(|(name, at)| (chart.backend_coord(&at), name))
        .collect();
    for (x, y, end_y, name) in apart(ends) {
        let colour = colour(&name);
        let start = Pos::new(HPos::Left, VPos::Center);
        root.draw(&PathElement::new([(x + 6, end_y), (x + 18, y)], colour))?;
        root.draw(&Text::new(
            name,
            (x + 22, y),
            text(14, start).color(&colour),
        ))?;
    }
    root.present()?;
    Ok(())
}

/// Moves labels until none covers another. Returns x, the label's y, the line's y, and the name of each.
fn apart(mut ends: Vec<((i32, i32), String)>) -> Vec<(i32, i32, i32, String)> {
    const APART: i32 = 18;
    const BOTTOM: i32 = 400;
    ends.sort_by_key(|((_, y), _)| *y);
    let mut places: Vec<i32> = Vec::new();
    for ((_, y), _) in &ends {
        let above = places.last().map_or(i32::MIN, |place| place + APART);
        places.push(above.max(*y));
    }
    let mut below = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = below.min(*place);
        below = *place - APART;
    }
    let placed = ends.into_iter().zip(places);
    placed
        .map(|(((x, y), name), place)| (x, place, y, name))
        .collect()
}
