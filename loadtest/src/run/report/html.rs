//! A report as one page that needs nothing else: no script, no request. Under every plot stands its table, for those who do not
//! see it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::figure::{self, Better, FIGURES};
use super::plot::{Line, Mark, Plot, Scale, escape};
use super::{Report, SecondOf, TargetReport};
use crate::run::faults::Done;

const STYLE: &str = include_str!("report.css");
/// Rows of a table under a plot over time.
const ROWS: usize = 30;

impl Report {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = String::new();
        let name = escape(&self.scenario);
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{name} · weir load run</title><style>{STYLE}</style></head><body>\
             <header><h1>{name}</h1><p>{}</p>",
            escape(&self.about)
        );
        let _ = write!(
            page,
            "<p class=\"small\">{} viewers of each target, {} s, {} round(s), {} processors, weir {}, {}</p></header><main>",
            self.viewers,
            figure::number(self.seconds),
            self.rounds,
            self.processors,
            self.version,
            date(self.began)
        );
        self.verdicts(&mut page);
        self.tiles(&mut page);
        self.plots(&mut page);
        self.figures(&mut page);
        for target in &self.targets {
            target.details(&mut page);
        }
        page.push_str("</main></body></html>\n");
        page
    }

    fn verdicts(&self, page: &mut String) {
        if self.expectations.is_empty() && self.faults.is_empty() {
            return;
        }
        page.push_str("<section><h2>Expectations and faults</h2><ul class=\"verdicts\">");
        for verdict in &self.expectations {
            let value = verdict.value.map_or_else(|| "not measured".to_owned(), figure::number);
            let (class, mark) = if verdict.met { ("met", "✔ met") } else { ("missed", "✘ missed") };
            let _ = write!(
                page,
                "<li class=\"{class}\"><b>{mark}</b> {}: <code>{}</code> is {value}, expected {}</li>",
                escape(&verdict.target),
                escape(&verdict.figure),
                escape(&verdict.bound)
            );
        }
        for fault in &self.faults {
            let (class, why) = match &fault.failed {
                None => ("fault", String::new()),
                Some(reason) => ("missed", format!(" <b>✘ not done:</b> {}", escape(reason))),
            };
            let _ = write!(
                page,
                "<li class=\"{class}\">{}, round {}, {:.1} s: {}{}{why}</li>",
                escape(&fault.target),
                fault.round,
                fault.at,
                escape(&fault.what),
                if fault.ends { " ends" } else { "" }
            );
        }
        page.push_str("</ul></section>");
    }

    /// The figures that people ask for first.
    fn tiles(&self, page: &mut String) {
        const FIRST: [(&str, &str); 6] = [
            ("rebuffer_ratio", "Rebuffering"),
            ("start_up_p50_ms", "Start-up, median"),
            ("bitrate_mbps", "Bitrate"),
            ("segment_p99_ms", "Segment, p99"),
            ("latency_p50_seconds", "From live edge"),
            ("server_cpu_seconds_per_gb", "Server CPU"),
        ];
        for target in &self.targets {
            let _ = write!(page, "<section class=\"tiles\" aria-label=\"{0}\"><h2>{0}</h2><dl>", escape(&target.name));
            for (name, label) in FIRST {
                let Some(value) = target.figures.get(name) else { continue };
                let (shown, unit) = match name {
                    "rebuffer_ratio" => (format!("{:.3}", value * 100.0), "%"),
                    _ => (figure::number(*value), figure::find(name).map_or("", |figure| figure.unit)),
                };
                let _ = write!(page, "<div><dt>{label}</dt><dd>{shown} <small>{unit}</small></dd></div>");
            }
            page.push_str("</dl></section>");
        }
    }

    fn plots(&self, page: &mut String) {
        page.push_str("<section><h2>Plots</h2>");
        let curve = |title, pick: fn(&TargetReport) -> &Vec<(f64, f64)>| {
            let lines: Vec<Line> = self
                .targets
                .iter()
                .map(|target| Line { name: target.name.clone(), points: pick(target).clone() })
                .collect();
            let plot = Plot {
                title,
                x: ("% of them", Scale::Nines),
                y: ("ms", Scale::Log),
                lines,
                stack: Vec::new(),
                marks: Vec::new(),
            };
            plot.draw()
                .map(|svg| svg + &table("share", &plot.lines, |share| format!("{} %", figure::number(share * 100.0))))
        };
        let curves = [
            curve("Time within which segments came", |target| &target.curves.segment_ms),
            curve("The same, corrected for coordinated omission", |target| &target.curves.corrected_ms),
            curve("Time within which viewers had a picture", |target| &target.curves.start_up_ms),
        ];
        curves.iter().flatten().for_each(|one| page.push_str(one));
        for target in &self.targets {
            if self.targets.len() > 1 {
                let _ = write!(page, "<h3>{}, last round</h3>", escape(&target.name));
            }
            self.over_time(target, page);
        }
        page.push_str("</section>");
    }

    fn over_time(&self, target: &TargetReport, page: &mut String) {
        let seconds = &target.curves.seconds;
        let of_last: Vec<&Done> = self
            .faults
            .iter()
            .filter(|fault| fault.target == target.name && fault.round == self.rounds && fault.failed.is_none())
            .collect();
        let marks = || {
            let begins = of_last.iter().filter(|fault| !fault.ends);
            begins
                .map(|fault| {
                    let end = of_last.iter().find(|end| end.ends && end.what == fault.what && end.at >= fault.at);
                    Mark { from: fault.at, to: end.map_or(self.seconds, |end| end.at), name: fault.what.clone() }
                })
                .collect::<Vec<_>>()
        };
        let line = |name: &str, value: &dyn Fn(&SecondOf) -> Option<f64>| {
            let at = |(index, second): (usize, &SecondOf)| Some((index as f64, value(second)?));
            Line { name: name.to_owned(), points: seconds.iter().enumerate().filter_map(at).collect() }
        };
        let hosts: BTreeSet<&String> = seconds.iter().flat_map(|second| second.bits.keys()).collect();
        let stack = hosts
            .into_iter()
            .map(|host| line(host, &|second| Some(second.bits.get(host).copied().unwrap_or_default() / 1e6)))
            .collect();
        let plot = |title, unit, scale, lines, stack| Plot {
            title,
            x: ("s", Scale::Linear),
            y: (unit, scale),
            lines,
            stack,
            marks: marks(),
        };
        let plots = [
            plot("What came, by host", "Mbit/s", Scale::Linear, Vec::new(), stack),
            plot(
                "Viewers that were there, and that stood still",
                "viewers",
                Scale::Linear,
                vec![
                    line("there", &|second| Some(f64::from(second.viewers))),
                    line("stood still", &|second| Some(second.stalled)),
                    line("failed requests a second", &|second| Some(second.failures as f64)),
                ],
                Vec::new(),
            ),
            plot(
                "Segment times",
                "ms",
                Scale::Log,
                vec![
                    line("longest", &|second| second.segment_ms.map(|ms| ms.1)),
                    line("mean", &|second| second.segment_ms.map(|ms| ms.0)),
                ],
                Vec::new(),
            ),
            plot(
                "Bitrate of the media that came",
                "Mbit/s",
                Scale::Linear,
                vec![line("bitrate", &|second| second.bitrate.map(|bits| bits / 1e6))],
                Vec::new(),
            ),
        ];
        for plot in plots {
            if let Some(svg) = plot.draw() {
                page.push_str(&svg);
                let lines: Vec<&Line> = plot.stack.iter().chain(&plot.lines).collect();
                let each = lines.iter().map(|line| line.points.len()).max().unwrap_or(0).div_ceil(ROWS).max(1);
                let thinned: Vec<Line> = lines
                    .iter()
                    .map(|line| Line {
                        name: line.name.clone(),
                        points: line.points.iter().step_by(each).copied().collect(),
                    })
                    .collect();
                page.push_str(&table("second", &thinned, figure::number));
            }
        }
    }

    fn figures(&self, page: &mut String) {
        page.push_str("<section><h2>Figures</h2><div class=\"wide\"><table><thead><tr><th scope=\"col\">figure</th>");
        for target in &self.targets {
            let _ = write!(page, "<th scope=\"col\" class=\"n\">{}</th>", escape(&target.name));
        }
        page.push_str("<th scope=\"col\">unit</th><th scope=\"col\">what it says</th></tr></thead><tbody>");
        for figure in FIGURES {
            let values: Vec<_> = self.targets.iter().map(|target| target.figures.get(figure.name).copied()).collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            let _ = write!(page, "<tr><th scope=\"row\"><code>{}</code></th>", figure.name);
            for value in &values {
                let _ = write!(page, "<td class=\"n\">{}</td>", value.map_or_else(|| "–".to_owned(), figure::number));
            }
            let way = match figure.better {
                Better::Lower => " (less is better)",
                Better::Higher => " (more is better)",
                Better::Neither => "",
            };
            let _ = write!(page, "<td>{}</td><td>{}{way}</td></tr>", figure.unit, escape(figure.about));
        }
        page.push_str("</tbody></table></div></section>");
    }
}

impl TargetReport {
    fn details(&self, page: &mut String) {
        let _ = write!(page, "<section><h2>{} in detail</h2>", escape(&self.name));
        page.push_str(
            "<div class=\"wide\"><table><thead><tr><th scope=\"col\">ms</th><th scope=\"col\" class=\"n\">count</th>\
             <th scope=\"col\" class=\"n\">p50</th><th scope=\"col\" class=\"n\">p90</th><th scope=\"col\" class=\"n\">p99</th>\
             <th scope=\"col\" class=\"n\">p99.9</th><th scope=\"col\" class=\"n\">max</th></tr></thead><tbody>",
        );
        for (name, times) in self.times().into_iter().filter(|(_, times)| times.count > 0) {
            let _ = write!(page, "<tr><th scope=\"row\">{name}</th><td class=\"n\">{}</td>", times.count);
            for us in [times.p50_us, times.p90_us, times.p99_us, times.p999_us, times.max_us] {
                let _ = write!(page, "<td class=\"n\">{}</td>", figure::number(us as f64 / 1e3));
            }
            page.push_str("</tr>");
        }
        page.push_str("</tbody></table></div><div class=\"wide\"><table><thead><tr><th scope=\"col\">host</th>\
             <th scope=\"col\" class=\"n\">MB</th><th scope=\"col\" class=\"n\">segments</th>\
             <th scope=\"col\" class=\"n\">failures</th><th scope=\"col\" class=\"n\">left by viewers</th></tr></thead><tbody>");
        for (name, host) in &self.hosts {
            let _ = write!(
                page,
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escape(name),
                figure::number(host.bytes as f64 / 1e6),
                host.segments,
                host.failures,
                host.left
            );
        }
        page.push_str("</tbody></table></div>");
        let mut list = |title: &str, rows: Vec<String>| {
            if !rows.is_empty() {
                let rows: Vec<String> = rows.iter().map(|row| format!("<li>{}</li>", escape(row))).collect();
                let _ = write!(page, "<h3>{title}</h3><ul>{}</ul>", rows.concat());
            }
        };
        let counts =
            |of: &std::collections::BTreeMap<String, u64>| of.iter().map(|(k, v)| format!("{k}: {v}")).collect();
        list("Segments by version of HTTP", counts(&self.protocols));
        list("Failed requests by class", counts(&self.errors));
        list("What cannot be right, by class", counts(&self.integrity.classes));
        list("The first of them", self.integrity.examples.iter().chain(&self.examples).cloned().collect());
        page.push_str("</section>");
    }
}

/// The points of lines as a table that can be unfolded.
fn table(what: &str, lines: &[Line], name: impl Fn(f64) -> String) -> String {
    let mut text = format!(
        "<details><summary>as a table</summary><div class=\"wide\"><table><thead><tr><th scope=\"col\">{what}</th>"
    );
    for line in lines {
        let _ = write!(text, "<th scope=\"col\" class=\"n\">{}</th>", escape(&line.name));
    }
    text.push_str("</tr></thead><tbody>");
    let mut places: Vec<f64> = lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    for place in places {
        let _ = write!(text, "<tr><th scope=\"row\">{}</th>", name(place));
        for line in lines {
            let value = line.points.iter().find(|point| point.0 == place).map(|point| point.1);
            let _ = write!(text, "<td class=\"n\">{}</td>", value.map_or_else(|| "–".to_owned(), figure::number));
        }
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table></div></details>");
    text
}

/// A moment in UTC, to the minute.
fn date(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    // Days are counted from 0000-03-01, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(1_709_208_000), "2024-02-29 12:00 UTC");
        assert_eq!(date(1_767_225_599), "2025-12-31 23:59 UTC");
    }
}
