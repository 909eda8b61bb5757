//! Charts as SVG.

use std::fmt::Write;

/// One line of a chart.
pub struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Line {
    pub fn new(name: &str) -> Line {
        Line { name: name.to_owned(), points: Vec::new() }
    }

    /// Adds a point; one that was not measured is left out.
    pub fn push(&mut self, x: f64, y: f64) {
        if y.is_finite() {
            self.points.push((x, y));
        }
    }
}

/// A chart: what its axes say, and its lines.
pub struct Chart {
    x: String,
    y: String,
    /// Whether both axes are logarithmic; else both begin at 0.
    logarithmic: bool,
    lines: Vec<Line>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const COLOURS: [&str; 3] = ["#0b6e4f", "#b3261e", "#6b5b00"];

impl Chart {
    pub fn new(x: &str, y: &str, logarithmic: bool, lines: Vec<Line>) -> Chart {
        Chart { x: x.to_owned(), y: y.to_owned(), logarithmic, lines }
    }

    /// The least and the greatest that an axis shows, of the values on it.
    fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let (low, high) =
            values.fold((f64::MAX, 1.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if self.logarithmic {
            // Down to a power of ten for rates, to a power of two where there are few.
            (10_f64.powf(low.max(0.1).log10().floor()), high * 1.3)
        } else {
            (0.0, high * 1.1)
        }
    }

    fn place(&self, value: f64, (low, high): (f64, f64), length: f64) -> f64 {
        let part = if self.logarithmic {
            (value / low).log10() / (high / low).log10()
        } else {
            (value - low) / (high - low)
        };
        part * length
    }

    fn ticks(&self, (low, high): (f64, f64)) -> Vec<f64> {
        if self.logarithmic {
            let decades = (0..12).map(|power| low * 10_f64.powi(power));
            let steps = decades.flat_map(|decade| [decade, 2.0 * decade, 5.0 * decade]);
            return steps.filter(|tick| *tick <= high).collect();
        }
        let rough = high / 5.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        (0..10).map(|count| f64::from(count) * step).filter(|tick| *tick <= high).collect()
    }

    fn draw(&self, out: &mut String, left: f64, top: f64) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (xs, ys) = (self.range(points().map(|point| point.0)), self.range(points().map(|point| point.1)));
        let at = |x: f64, y: f64| (left + self.place(x, xs, WIDTH), top + HEIGHT - self.place(y, ys, HEIGHT));
        for tick in self.ticks(xs) {
            let (x, bottom) = at(tick, ys.0);
            let _ = write!(out, "<path d='M{x:.1} {top:.1}V{bottom:.1}' class='g'/>");
            let _ = write!(out, "<text x='{x:.1}' y='{:.1}' class='m'>{}</text>", bottom + 16.0, short(tick));
        }
        for tick in self.ticks(ys) {
            let (start, y) = at(xs.0, tick);
            let _ = write!(out, "<path d='M{start:.1} {y:.1}h{WIDTH}' class='g'/>");
            let _ = write!(
                out,
                "<text x='{:.1}' y='{:.1}' class='e'>{}</text>",
                start - 6.0,
                y + 4.0,
                short(tick)
            );
        }
        for (number, line) in self.lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty()) {
            let colour = COLOURS[number % COLOURS.len()];
            let places: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| at(*x, *y)).collect();
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = write!(
                out,
                "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='2'/>",
                path.join(" ")
            );
            for (x, y) in &places {
                let _ = write!(out, "<circle cx='{x:.1}' cy='{y:.1}' r='3' fill='{colour}'/>");
            }
            let (x, y) = places[places.len() - 1];
            let _ = write!(
                out,
                "<text x='{:.1}' y='{:.1}' class='e' fill='{colour}'>{}</text>",
                x - 4.0,
                y - 8.0,
                line.name
            );
        }
        let (middle, bottom) = (left + WIDTH / 2.0, top + HEIGHT + 36.0);
        let _ = write!(out, "<text x='{middle}' y='{bottom}' class='m'>{}</text>", self.x);
        let _ = writeln!(out, "<text x='{left}' y='{:.1}'>{}</text>", top - 8.0, self.y);
    }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{}", (value * 100.0).round() / 100.0),
    }
}

/// Charts under one title, two a row.
pub fn svg(title: &str, charts: &[Chart]) -> String {
    let (across, down) = (WIDTH + 110.0, HEIGHT + 90.0);
    let rows = charts.len().div_ceil(2) as f64;
    let (width, height) = (across * 2.0, down * rows + 60.0);
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
         font-family='sans-serif' font-size='12'>\n\
         <style>.g{{stroke:#ddd}} .m{{text-anchor:middle}} .e{{text-anchor:end}}</style>\n\
         <rect width='100%' height='100%' fill='white'/>\n<text x='20' y='24' font-size='13'>{title}</text>\n"
    );
    for (number, chart) in charts.iter().enumerate() {
        chart.draw(&mut out, 70.0 + across * (number % 2) as f64, 70.0 + down * (number / 2) as f64);
    }
    out.push_str("</svg>\n");
    out
}
