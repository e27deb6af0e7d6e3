//! What the panel holds: a pure function of what is told, the place, and whether there may be colour. Nothing is told by colour alone.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{LineGauge, Sparkline, Widget};
use weir_load::run::{Done, Progress};

/// Lines of the panel.
pub(super) const HEIGHT: u16 = 14;
/// Lines for hosts, and beside them for versions of HTTP.
const SHARES: usize = 4;
/// Width of the names of lines.
const NAME: u16 = 12;
/// Width of the figures behind a curve.
const BEHIND: u16 = 26;
/// From this width on hosts and versions stand beside one another.
const BESIDE: u16 = 72;

/// Draws the panel.
pub(super) fn draw(progress: &Progress, colour: bool, area: Rect, buffer: &mut Buffer) {
    let ink = Ink(colour);
    let rows: [Rect; HEIGHT as usize] = Layout::vertical([Constraint::Length(1); HEIGHT as usize]).areas(area);
    let rows = rows.map(|row| row.intersection(area));
    title(progress, ink, rows[0], buffer);
    gauge(progress, ink, rows[1], buffer);
    viewers(progress, ink, rows[2], buffer);
    let now = progress.throughput.last().copied().unwrap_or_default() / 1e6;
    let came = format!("{now:.1} Mbit/s");
    curve("throughput", &progress.throughput, &came, ink.of(Color::Cyan), rows[3], buffer);
    let (stalls, _) = progress.stalls;
    let stood = format!("{stalls} stalls, {:.2} % of time", progress.rebuffer_ratio * 100.0);
    curve("rebuffering", &progress.stalled, &stood, ink.of(Color::Yellow), rows[4], buffer);
    let both = progress.segment_ms;
    let segments = format!(
        "p50 {}  p99 {}   start-up {}",
        ms(both.map(|both| both.0)),
        ms(both.map(|both| both.1)),
        ms(progress.start_up_ms),
    );
    named("segments", vec![segments.into()], rows[5], buffer);
    let behind = progress.latency_seconds.map_or_else(String::new, |seconds| format!("   {seconds:.1} s behind live"));
    let bitrate = format!("{:.2} Mbit/s   {} segments{behind}", progress.bitrate / 1e6, progress.segments);
    named("bitrate", vec![bitrate.into()], rows[6], buffer);
    shares(progress, ink, &rows[7..7 + SHARES], buffer);
    errors(progress, ink, rows[11], buffer);
    named("faults", faults(&progress.faults, ink), rows[12], buffer);
    let (failures, looked) = progress.integrity;
    let style = if failures > 0 { ink.of(Color::Red) } else { Style::new() };
    let spans = vec![
        format!("{looked} looked into, ").into(),
        Span::styled(format!("{failures} cannot be right"), style),
        format!("   this program late {}", ms(progress.late_ms)).into(),
    ];
    named("integrity", spans, rows[13], buffer);
}

/// Colours, where they may be.
#[derive(Clone, Copy)]
struct Ink(bool);

impl Ink {
    fn of(self, colour: Color) -> Style {
        if self.0 { Style::new().fg(colour) } else { Style::new() }
    }
}

fn title(progress: &Progress, ink: Ink, row: Rect, buffer: &mut Buffer) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (round, rounds) = progress.round;
    Line::from(vec![
        Span::styled(progress.scenario.as_str(), bold),
        "  ".into(),
        Span::styled(progress.target.as_str(), bold.patch(ink.of(Color::Cyan))),
        format!("  round {round} of {rounds}   Ctrl-C ends and reports").into(),
    ])
    .render(row, buffer);
}

fn gauge(progress: &Progress, ink: Ink, row: Rect, buffer: &mut Buffer) {
    let (elapsed, whole) = progress.elapsed;
    let share = if whole.is_zero() { 0.0 } else { elapsed.as_secs_f64() / whole.as_secs_f64() };
    let left = whole.saturating_sub(elapsed);
    LineGauge::default()
        .ratio(share.clamp(0.0, 1.0))
        .label(format!("{} gone, {} to go", clock(elapsed), clock(left)))
        .filled_symbol("█")
        .unfilled_symbol("░")
        .filled_style(ink.of(Color::Green))
        .render(row, buffer);
}

fn viewers(progress: &Progress, ink: Ink, row: Rect, buffer: &mut Buffer) {
    let states = progress.states;
    let (here, of) = progress.viewers;
    let standing = if states.rebuffering > 0 { ink.of(Color::Red) } else { Style::new() };
    let spans = vec![
        Span::styled(format!("▶ {} playing", states.playing), ink.of(Color::Green)),
        format!("   … {} starting   ", states.starting).into(),
        Span::styled(format!("‖ {} rebuffering", states.rebuffering), standing),
        format!("   {here} of {of} there").into(),
    ];
    named("viewers", spans, row, buffer);
}

/// A line with its name.
fn named(name: &str, spans: Vec<Span<'_>>, row: Rect, buffer: &mut Buffer) {
    let [left, right] = Layout::horizontal([Constraint::Length(NAME), Constraint::Min(0)]).areas(row);
    Line::styled(name.to_owned(), Style::new().add_modifier(Modifier::DIM)).render(left, buffer);
    Line::from(spans).render(right, buffer);
}

/// The newest seconds, as high as their highest, with a figure behind.
fn curve(name: &str, values: &[f64], figure: &str, style: Style, row: Rect, buffer: &mut Buffer) {
    let [left, middle, right] =
        Layout::horizontal([Constraint::Length(NAME), Constraint::Min(0), Constraint::Max(BEHIND)]).areas(row);
    named(name, Vec::new(), left, buffer);
    let newest = &values[values.len().saturating_sub(middle.width.saturating_sub(1).into())..];
    let highest = newest.iter().copied().fold(0.0, f64::max);
    // Thousandths of the highest, as the widget wants whole numbers.
    let height = |value: &f64| if highest > 0.0 { (value.max(0.0) / highest * 1000.0).round() as u64 } else { 0 };
    let heights: Vec<u64> = newest.iter().map(height).collect();
    Sparkline::default().data(&heights).max(1000).style(style).render(middle, buffer);
    Line::from(figure.to_owned()).render(right, buffer);
}

/// Who sent how much, and by which version of HTTP.
fn shares(progress: &Progress, ink: Ink, rows: &[Rect], buffer: &mut Buffer) {
    let hosts = bars(&progress.hosts, ink.of(Color::Cyan), size);
    let versions = bars(&progress.versions, ink.of(Color::Magenta), |count| count.to_string());
    let beside = rows.first().is_some_and(|row| row.width >= BESIDE);
    for (index, row) in rows.iter().enumerate() {
        let name = if index == 0 { "from" } else { "" };
        let host = hosts.get(index).cloned().unwrap_or_default();
        if beside {
            let [left, right] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(3)]).spacing(1).areas(*row);
            named(name, host, left, buffer);
            Line::from(versions.get(index).cloned().unwrap_or_default()).render(right, buffer);
        } else {
            named(name, host, *row, buffer);
        }
    }
}

/// A bar for each, the last one for all that have no line of their own.
fn bars(counts: &BTreeMap<String, u64>, style: Style, told: impl Fn(u64) -> String) -> Vec<Vec<Span<'static>>> {
    const BAR: usize = 10;
    let total = counts.values().sum::<u64>().max(1);
    let mut shown: Vec<(String, u64)> = counts.iter().map(|(name, count)| (name.clone(), *count)).collect();
    if shown.len() > SHARES {
        shown.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest = shown.split_off(SHARES - 1);
        shown.push((format!("{} more", rest.len()), rest.iter().map(|(_, count)| count).sum()));
    }
    let each = shown.into_iter().map(|(name, count)| {
        let share = count as f64 / total as f64;
        let full = (share * BAR as f64).round() as usize;
        let name: String = name.chars().take(14).collect();
        let bar = "█".repeat(full.min(BAR)) + &"░".repeat(BAR - full.min(BAR));
        vec![
            format!("{name:<6} ").into(),
            Span::styled(bar, style),
            format!(" {:>5.1} %  {}", share * 100.0, told(count)).into(),
        ]
    });
    each.collect()
}

fn errors(progress: &Progress, ink: Ink, row: Rect, buffer: &mut Buffer) {
    let each: Vec<String> = progress.errors.iter().map(|(class, count)| format!("{class} {count}")).collect();
    let span = if each.is_empty() { "none".into() } else { Span::styled(each.join("  "), ink.of(Color::Red)) };
    named("errors", vec![span], row, buffer);
}

/// What lasts, and before it the newest of what was.
fn faults(faults: &[Done], ink: Ink) -> Vec<Span<'static>> {
    const SHOWN: usize = 4;
    if faults.is_empty() {
        return vec!["none yet".into()];
    }
    let newest = &faults[faults.len().saturating_sub(SHOWN)..];
    let mut spans = Vec::new();
    for (index, fault) in newest.iter().enumerate().rev() {
        let is_over = |other: &Done| other.ends && other.what == fault.what;
        let (word, style) = match &fault.failed {
            Some(_) => (" NOT DONE", ink.of(Color::Red)),
            None if fault.ends => (" ended", Style::new()),
            None if newest[index..].iter().any(is_over) => ("", Style::new()),
            None => (" NOW", ink.of(Color::Yellow)),
        };
        let at = clock(Duration::from_secs_f64(fault.at.max(0.0)));
        spans.push(Span::styled(format!("{at} {}{word}", fault.what), style));
        spans.push("   ".into());
    }
    spans
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0} ms"))
}

fn size(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 1000.0 { format!("{megabytes:.1} MB") } else { format!("{:.2} GB", megabytes / 1000.0) }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use weir_load::run::States;

    fn fault(at: f64, what: &str, ends: bool) -> Done {
        Done { target: "weir".to_owned(), round: 1, at, what: what.to_owned(), ends, failed: None }
    }

    fn progress() -> Progress {
        Progress {
            scenario: "evening".to_owned(),
            target: "weir".to_owned(),
            round: (1, 2),
            elapsed: (Duration::from_secs(30), Duration::from_secs(90)),
            viewers: (250, 500),
            states: States { starting: 8, playing: 240, rebuffering: 2 },
            throughput: (0..200).map(|second| f64::from(second) * 1e6).collect(),
            stalled: vec![0.0, 1.0, 0.0],
            hosts: [("a".to_owned(), 3_000_000_000), ("b".to_owned(), 1_000_000_000)].into(),
            errors: [("broken".to_owned(), 7), ("timeout-head".to_owned(), 1)].into(),
            segments: 1234,
            versions: [("h2".to_owned(), 100), ("h3".to_owned(), 300)].into(),
            bitrate: 4.25e6,
            stalls: (2, 1.5),
            rebuffer_ratio: 0.0125,
            faults: vec![fault(20.0, "kill a", false), fault(30.0, "kill a", true), fault(40.0, "slow c", false)],
            start_up_ms: Some(35.0),
            segment_ms: Some((12.0, 140.0)),
            latency_seconds: Some(3.2),
            integrity: (1, 99),
            late_ms: Some(2.0),
        }
    }

    fn shown(progress: &Progress, colour: bool, width: u16, height: u16) -> (String, bool) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(progress, colour, frame.area(), frame.buffer_mut())).unwrap();
        let buffer = terminal.backend().buffer();
        let coloured = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        let lines = buffer.content().chunks(width.into());
        let text = lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned());
        (text.collect::<Vec<_>>().join("\n"), coloured)
    }

    #[test]
    fn everything_is_there_at_eighty_columns() {
        let (text, coloured) = shown(&progress(), true, 80, HEIGHT);
        assert!(coloured);
        for part in [
            "evening  weir  round 1 of 2",
            "0:30 gone, 1:00 to go",
            "▶ 240 playing   … 8 starting   ‖ 2 rebuffering   250 of 500 there",
            "199.0 Mbit/s",
            "2 stalls, 1.25 % of time",
            "p50 12 ms  p99 140 ms   start-up 35 ms",
            "4.25 Mbit/s   1234 segments   3.2 s behind live",
            "a      ████████░░  75.0 %  3.00 GB",
            "h3     ████████░░  75.0 %  300",
            "broken 7  timeout-head 1",
            "0:40 slow c NOW   0:30 kill a ended   0:20 kill a",
            "99 looked into, 1 cannot be right   this program late 2 ms",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert_eq!(text.lines().count(), usize::from(HEIGHT));
        let curve: Vec<char> = text.lines().nth(3).unwrap().chars().filter(|c| ('▁'..='█').contains(c)).collect();
        assert!(curve.len() > 30 && curve.is_sorted(), "what came grew: {curve:?}");
    }

    #[test]
    fn without_colour_there_is_none() {
        assert!(!shown(&progress(), false, 80, HEIGHT).1);
    }

    #[test]
    fn nothing_breaks_where_there_is_little_room_or_nothing_to_tell() {
        for (width, height) in [(1, 1), (3, 14), (20, 5), (40, 14), (71, 14), (80, 24), (300, 60)] {
            for progress in [progress(), Progress::default()] {
                shown(&progress, true, width, height);
            }
        }
        let (narrow, _) = shown(&progress(), true, 40, HEIGHT);
        assert!(narrow.contains("evening") && narrow.contains("75.0 %"), "{narrow}");
    }

    #[test]
    fn hosts_without_a_line_of_their_own_are_told_together() {
        let hosts = (1..=9u64).map(|index| (format!("relay-{index}"), index * 1_000_000)).collect();
        let (text, _) = shown(&Progress { hosts, ..progress() }, true, 80, HEIGHT);
        assert!(text.contains("relay-9") && text.contains("6 more"), "{text}");
        assert!(text.contains("21.0 MB"), "1 to 6 together: {text}");
    }

    #[test]
    fn a_fault_that_could_not_be_done_says_so() {
        let failed = Done { failed: Some("no such relay".to_owned()), ..fault(5.0, "kill x", false) };
        let (text, _) = shown(&Progress { faults: vec![failed], ..progress() }, false, 80, HEIGHT);
        assert!(text.contains("0:05 kill x NOT DONE"), "{text}");
    }
}
