//! A run as a picture: one SVG file that needs nothing else. Three panels: what leaves the adapter over time, how fast
//! segments spread, how evenly relays work.

use super::{
    measure::SecondOf,
    report::{Percentiles, Report},
};
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 900.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 890.0;
/// Steps between grid lines, in powers of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
/// Grid lines that an axis has at most.
const MOST_LINES: f64 = 6.0;
const INK: &str = "#1d2733";
const BLUE: &str = "#1f6feb";
const ORANGE: &str = "#d9730d";
const GREY: &str = "#8b98a5";

/// A rectangle with axes.
struct Panel {
    top: f64,
    bottom: f64,
    left: f64,
    right: f64,
    x_max: f64,
    y_max: f64,
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * (value / self.x_max).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * (value / self.y_max).clamp(0.0, 1.0)
    }

    fn axes(&self, svg: &mut String, x_unit: &str, y_unit: &str) {
        for value in lines(self.y_max) {
            let y = self.y(value);
            line(svg, [self.left, y, self.right, y], "#e3e8ee", 1.0);
            text(svg, self.left - 8.0, y + 4.0, "end", GREY, 12.0, &number(value));
        }
        for value in lines(self.x_max) {
            let x = self.x(value);
            line(svg, [x, self.bottom, x, self.bottom + 4.0], GREY, 1.0);
            text(svg, x, self.bottom + 18.0, "middle", GREY, 12.0, &number(value));
        }
        line(svg, [self.left, self.bottom, self.right, self.bottom], GREY, 1.0);
        text(svg, self.right, self.bottom + 34.0, "end", GREY, 12.0, x_unit);
        text(svg, self.left, self.top - 8.0, "start", GREY, 12.0, y_unit);
    }

    fn curve(&self, svg: &mut String, points: impl Iterator<Item = (f64, f64)>, color: &str) {
        let mut path = String::new();
        for (x, y) in points {
            let to = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{to}{:.1} {:.1}", self.x(x), self.y(y));
        }
        let _ = writeln!(svg, r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>"#);
    }
}

/// Round values between 0 and a maximum.
fn lines(max: f64) -> impl Iterator<Item = f64> {
    let power = 10f64.powf((max / MOST_LINES).max(1e-12).log10().floor());
    let step = STEPS.iter().map(|step| step * power).find(|step| max / step <= MOST_LINES).unwrap_or(power * 10.0);
    (0..=20).map(move |index| f64::from(index) * step).take_while(move |value| *value <= max * 1.000_001)
}

fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}k", value / 1e3)
    } else if value == value.round() {
        format!("{value:.0}")
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').to_owned()
    }
}

fn line(svg: &mut String, [x1, y1, x2, y2]: [f64; 4], color: &str, width: f64) {
    let _ = writeln!(
        svg,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}" stroke-width="{width}"/>"#
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, color: &str, size: f64, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{color}" font-size="{size}">{words}</text>"#
    );
}

/// A maximum with some room above.
fn above(values: impl Iterator<Item = f64>) -> f64 {
    let max = values.fold(0.0, f64::max);
    if max > 0.0 { max * 1.08 } else { 1.0 }
}

impl Report {
    /// The run as a picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, sans-serif">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
"##
        );
        let title = format!("{}: {} relays, {} viewers, seed {}", self.scenario, self.relays, self.viewers, self.seed);
        text(&mut svg, LEFT, 34.0, "start", INK, 20.0, &title);
        self.draw_time(&mut svg);
        self.draw_propagation(&mut svg);
        self.draw_load(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_time(&self, svg: &mut String) {
        let seconds = &self.curves.seconds;
        let megabits = |second: &SecondOf| second.adapter * 8.0 / 1e6;
        text(svg, LEFT, 70.0, "start", INK, 15.0, "What leaves the adapter, and who is there");
        let panel = Panel {
            top: 100.0,
            bottom: 300.0,
            left: LEFT,
            right: RIGHT,
            x_max: f64::from(self.seconds),
            y_max: above(seconds.iter().map(megabits)),
        };
        panel.axes(svg, "s", "Mbit/s");
        let time = || (0..self.seconds).map(f64::from);
        panel.curve(svg, time().zip(seconds.iter().map(megabits)), BLUE);
        let most = |who: fn(&SecondOf) -> u32| f64::from(seconds.iter().map(who).max().unwrap_or(0).max(1));
        let viewers: fn(&SecondOf) -> u32 = |second| second.viewers;
        let mut x = RIGHT;
        for (count, color, name) in [(viewers, ORANGE, "viewers"), (|second| second.relays, GREY, "relays")] {
            let scaled = Panel { y_max: most(count) * 1.08, ..panel };
            scaled.curve(svg, time().zip(seconds.iter().map(|second| f64::from(count(second)))), color);
            let label = format!("{name}, at most {:.0}", most(count));
            text(svg, x, 70.0, "end", color, 13.0, &label);
            x -= 200.0;
        }
        text(svg, x, 70.0, "end", BLUE, 13.0, "adapter");
    }

    fn draw_propagation(&self, svg: &mut String) {
        let curve = &self.curves.propagation;
        text(svg, LEFT, 370.0, "start", INK, 15.0, "Relays that have a live segment, after the adapter has it");
        // The last few are told in words: they would press the rest against the axis.
        let Percentiles { p99, max, .. } = self.propagation.after_ms;
        let panel = Panel {
            top: 400.0,
            bottom: 560.0,
            left: LEFT,
            right: RIGHT,
            x_max: above([p99.unwrap_or(1.0) * 1.3].into_iter()),
            y_max: 100.0,
        };
        panel.axes(svg, "ms", "%");
        let steps = curve.len().saturating_sub(1).max(1);
        let share = |index: usize| index as f64 * 100.0 / steps as f64;
        let shown = curve.iter().enumerate().take_while(|(_, ms)| **ms <= panel.x_max);
        panel.curve(svg, shown.map(|(index, ms)| (*ms, share(index))), BLUE);
        let bounds = [
            (self.propagation.slowest_path_ms.p50, 1.0, "slowest path"),
            (self.propagation.slowest_path_ms.p50, 3.0, "3 ×"),
        ];
        for (at, times, name) in bounds {
            if let Some(at) = at.map(|at| at * times).filter(|at| *at <= panel.x_max) {
                line(svg, [panel.x(at), panel.top, panel.x(at), panel.bottom], ORANGE, 1.2);
                text(svg, panel.x(at) + 5.0, panel.top + 12.0, "start", ORANGE, 12.0, name);
            }
        }
        if let (Some(p99), Some(max)) = (p99, max) {
            let label = format!("p99 {p99:.0} ms, slowest {max:.0} ms");
            text(svg, RIGHT, 370.0, "end", INK, 13.0, &label);
        }
    }

    fn draw_load(&self, svg: &mut String) {
        let middle = (LEFT + RIGHT) / 2.0;
        let share = |index: usize| index as f64 / 2.0;
        text(svg, LEFT, 630.0, "start", INK, 15.0, "Bytes sent by the least busy relays");
        let lorenz = Panel { top: 660.0, bottom: 850.0, left: LEFT, right: middle - 50.0, x_max: 100.0, y_max: 100.0 };
        lorenz.axes(svg, "% of relays", "% of bytes");
        lorenz.curve(svg, [(0.0, 0.0), (100.0, 100.0)].into_iter(), "#c4ccd4");
        let points = self.curves.lorenz.iter().enumerate();
        lorenz.curve(svg, points.map(|(index, part)| (share(index), part * 100.0)), BLUE);
        if let Some(gini) = self.load.gini_bytes {
            text(svg, lorenz.left + 12.0, lorenz.top + 18.0, "start", INK, 13.0, &format!("Gini {gini:.2}"));
        }
        text(svg, middle + 40.0, 630.0, "start", INK, 15.0, "Upload that relays use");
        let most = above(self.curves.usage.iter().map(|part| part * 100.0)).max(10.0);
        let usage = Panel { top: 660.0, bottom: 850.0, left: middle + 40.0, right: RIGHT, x_max: 100.0, y_max: most };
        usage.axes(svg, "% of relays", "% of the line");
        let points = self.curves.usage.iter().enumerate();
        usage.curve(svg, points.map(|(index, part)| (share(index), part * 100.0)), BLUE);
    }
}
