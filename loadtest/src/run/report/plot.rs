//! Plots as inline SVG. Colours are classes of the page's style sheet, so that they follow light and dark; every plot has a
//! title that is read aloud, and lines differ by dashes as well as by colour.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 200.0;
/// Grid lines that an axis has at most, by its length.
const LINE_EVERY: f64 = 29.0;
/// Rows of the names of marks, so that neighbours do not cover one another.
const MARK_ROWS: usize = 3;
/// Colours of lines, each with dashes of its own; more lines begin again. Each was chosen as far as could be from all before it for
/// people who see all colours and for those who lack one kind of cone, at least 3.2 to 1 against its background.
const COLOURS: usize = 12;
/// Points that a line is thinned to.
const POINTS: usize = 720;

/// A line or an area.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A stretch of time that is marked.
pub(super) struct Mark {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// How values become places on an axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// In proportion.
    Linear,
    /// By the logarithm; values are positive.
    Log,
    /// Shares from 0 to 1, the last percents drawn apart: each nine has the same width.
    Nines,
}

/// A plot.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) x: (&'a str, Scale),
    pub(super) y: (&'a str, Scale),
    pub(super) lines: Vec<Line>,
    /// Areas on top of one another, below the lines.
    pub(super) stack: Vec<Line>,
    pub(super) marks: Vec<Mark>,
}

#[derive(Clone, Copy)]
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(scale: Scale, values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let high = values.clone().fold(0.0, f64::max);
        // Upright axes leave room above; time ends where it ends.
        let room = if from > to { 1.06 } else { 1.0 };
        let (low, high) = match scale {
            Scale::Linear => (0.0, if high > 0.0 { high * room } else { 1.0 }),
            Scale::Log => {
                let low = values.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
                let low = if low.is_finite() { low } else { 1.0 };
                (10f64.powf(low.log10().floor()), 10f64.powf(high.max(low * 1.01).log10().ceil()))
            }
            Scale::Nines => (0.0, 4.0),
        };
        Self { scale, low, high, from, to }
    }

    fn place(self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            Scale::Nines => nines(value) / self.high,
        };
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    /// Values of the grid, with their names.
    fn grid(self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let most = ((self.to - self.from).abs() / LINE_EVERY).clamp(3.0, 12.0);
                let power = 10f64.powf((self.high / most).log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].iter().map(|step| step * power);
                let step = step.clone().find(|step| self.high / step <= most).unwrap_or(power * 10.0);
                (0..=20).map(|n| f64::from(n) * step).take_while(|v| *v <= self.high).map(|v| (v, number(v))).collect()
            }
            Scale::Log => {
                let (first, last) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
                (first..=last).map(|power| (10f64.powi(power), number(10f64.powi(power)))).collect()
            }
            Scale::Nines => [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (1.0, "100")]
                .map(|(value, name)| (value, name.to_owned()))
                .to_vec(),
        }
    }
}

/// How many nines a share has; all of it counts as four.
fn nines(share: f64) -> f64 {
    if share >= 0.9999 { 4.0 } else { -(1.0 - share.max(0.0)).log10() }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", trim(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trim(v / 1e3)),
        v => trim(v),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text as HTML and SVG want it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A line of many points thinned, each stretch by its highest.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(POINTS).max(1);
    let highest = |chunk: &[(f64, f64)]| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(each).filter_map(highest).collect()
}

impl Plot<'_> {
    /// The plot, or nothing when there is nothing to draw.
    pub(super) fn draw(&self) -> Option<String> {
        let drawn = || self.lines.iter().chain(&self.stack).flat_map(|line| &line.points);
        drawn().next()?;
        let tops = self.tops();
        let x = Axis::of(self.x.1, drawn().map(|point| point.0), LEFT, RIGHT);
        let of_lines = self.lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        let y = Axis::of(self.y.1, of_lines.chain(tops.iter().copied()), BOTTOM, TOP);
        let mut svg = String::new();
        let title = escape(self.title);
        let _ = write!(
            svg,
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><text class="unit" x="{LEFT}" y="14">{}</text>"#,
            escape(self.y.0)
        );
        for (value, name) in y.grid() {
            let at = y.place(value);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{RIGHT}" y2="{at:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#,
                LEFT - 8.0,
                at + 4.0
            );
        }
        for (value, name) in x.grid() {
            let at = x.place(value);
            let _ = write!(
                svg,
                r#"<line class="axis" x1="{at:.1}" y1="{BOTTOM}" x2="{at:.1}" y2="{:.1}"/><text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{name}</text>"#,
                BOTTOM + 4.0,
                BOTTOM + 18.0
            );
        }
        let _ = write!(
            svg,
            r#"<line class="axis" x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}"/><text class="unit" x="{RIGHT}" y="{:.1}" text-anchor="end">{}</text>"#,
            BOTTOM + 34.0,
            escape(self.x.0)
        );
        self.draw_marks(&mut svg, x);
        self.draw_stack(&mut svg, x, y);
        for (index, line) in self.lines.iter().enumerate() {
            let mut path = String::new();
            for (at, value) in thin(&line.points) {
                let _ =
                    write!(path, "{}{:.1} {:.1}", if path.is_empty() { 'M' } else { 'L' }, x.place(at), y.place(value));
            }
            let class = (index + self.stack.len()) % COLOURS;
            let _ = write!(svg, r#"<path class="line c{class}" d="{path}"/>"#);
        }
        svg.push_str("</svg>");
        Some(format!("<figure><figcaption>{title}{}</figcaption>{svg}</figure>", self.legend()))
    }

    /// The sums of the stack at each point.
    fn tops(&self) -> Vec<f64> {
        let longest = self.stack.iter().map(|line| line.points.len()).max().unwrap_or(0);
        (0..longest)
            .map(|at| self.stack.iter().filter_map(|line| line.points.get(at)).map(|point| point.1).sum())
            .collect()
    }

    fn draw_marks(&self, svg: &mut String, x: Axis) {
        for (index, mark) in self.marks.iter().enumerate() {
            let (from, to) = (x.place(mark.from), x.place(mark.to));
            let row = TOP + 10.0 + 13.0 * (index % MARK_ROWS) as f64;
            // A name stays inside the frame.
            let (anchor, at) = if from > RIGHT - 110.0 { ("end", to - 3.0) } else { ("start", from + 3.0) };
            let _ = write!(
                svg,
                r#"<rect class="band" x="{from:.1}" y="{TOP}" width="{:.1}" height="{:.1}"/><text class="told" x="{at:.1}" y="{row:.1}" text-anchor="{anchor}">{}</text>"#,
                (to - from).max(1.0),
                BOTTOM - TOP,
                escape(&mark.name)
            );
        }
    }

    fn draw_stack(&self, svg: &mut String, x: Axis, y: Axis) {
        let longest = self.stack.iter().map(|line| line.points.len()).max().unwrap_or(0);
        let mut below = vec![0.0; longest];
        for (index, area) in self.stack.iter().enumerate() {
            let (mut there, mut back) = (String::new(), Vec::new());
            for (at, (moment, value)) in area.points.iter().enumerate() {
                let (low, high) = (below[at], below[at] + value);
                let _ =
                    write!(there, "{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, x.place(*moment), y.place(high));
                back.push(format!("L{:.1} {:.1}", x.place(*moment), y.place(low)));
                below[at] = high;
            }
            back.reverse();
            let _ = write!(svg, r#"<path class="area a{}" d="{there}{}Z"/>"#, index % COLOURS, back.concat());
        }
    }

    fn legend(&self) -> String {
        let names =
            self.stack.iter().map(|line| (line, "area a")).chain(self.lines.iter().map(|line| (line, "line c")));
        if self.stack.len() + self.lines.len() < 2 {
            return String::new();
        }
        names.enumerate().fold(String::new(), |mut all, (index, (line, class))| {
            let index = index % COLOURS;
            let _ = write!(
                all,
                r#" <span class="key"><svg viewBox="0 0 44 10" aria-hidden="true"><path class="{class}{index}" d="{}"/></svg>{}</span>"#,
                if class.starts_with("area") { "M0 1H44V9H0Z" } else { "M0 5H44" },
                escape(&line.name)
            );
            all
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn line(points: &[(f64, f64)]) -> Line {
        Line { name: "a<b".to_owned(), points: points.to_vec() }
    }

    #[test]
    fn places_are_within_the_frame_on_every_scale() {
        for scale in [Scale::Linear, Scale::Log, Scale::Nines] {
            let axis = Axis::of(scale, [0.5, 0.9, 0.99].into_iter(), LEFT, RIGHT);
            let mut last = LEFT - 1.0;
            for value in [0.5, 0.9, 0.99] {
                let place = axis.place(value);
                assert!(place > last && place <= RIGHT, "{place}");
                last = place;
            }
            assert!(axis.place(1.0) <= RIGHT, "what lies beyond stands at the edge");
            assert!(axis.grid().len() >= 2);
        }
        let two_nines = Axis::of(Scale::Nines, std::iter::empty(), 0.0, 400.0).place(0.99);
        assert!((two_nines - 200.0).abs() < 1e-6, "{two_nines}");
    }

    #[test]
    fn twelve_lines_differ_by_colour_and_by_dashes_in_both_themes() {
        let style = include_str!("report.css");
        let (light, dark) = style.split_once("@media(prefers-color-scheme:dark)").unwrap();
        let value_of = |text: &str, begins: &str| {
            let (_, rest) = text.split_once(begins).unwrap_or_else(|| panic!("{begins} is not there"));
            rest[..rest.find([';', '}']).unwrap()].trim().to_owned()
        };
        for theme in [light, dark] {
            let colours: BTreeSet<String> =
                (0..COLOURS).map(|index| value_of(theme, &format!("--c{index}:"))).collect();
            assert_eq!(colours.len(), COLOURS);
        }
        let dashes: BTreeSet<String> = (1..COLOURS)
            .map(|index| value_of(style, &format!(".c{index}{{stroke:var(--c{index});stroke-dasharray:")))
            .collect();
        assert_eq!(dashes.len(), COLOURS - 1, "the first line has none");
    }

    #[test]
    fn a_plot_holds_its_lines_marks_and_escaped_names() {
        let plot = Plot {
            title: "T & U",
            x: ("s", Scale::Linear),
            y: ("ms", Scale::Log),
            lines: vec![line(&[(0.0, 1.0), (10.0, 1000.0)])],
            stack: vec![line(&[(0.0, 1.0), (10.0, 2.0)])],
            marks: vec![Mark { from: 5.0, to: 7.0, name: "kill a".to_owned() }],
        };
        let svg = plot.draw().unwrap();
        for part in ["T &amp; U", "a&lt;b", "kill a", "class=\"line c1\"", "class=\"area a0\"", ">1000<"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(Plot { lines: Vec::new(), stack: Vec::new(), ..plot }.draw().is_none());
    }
}
