//! Reads what relays say on `/metrics`: the Prometheus text format, as far as counters and histograms need it. Lines that
//! are not understood count as nothing.

/// The sum of a metric over all its series that have these labels.
pub(super) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    series(text, name)
        .filter(|(found, _)| labels.iter().all(|(label, value)| label_of(found, label) == Some(value)))
        .map(|(_, value)| value)
        .sum()
}

/// A histogram's cumulative buckets added up over all series whose `label` is not `without`: upper bounds in rising
/// order, the last infinite, and how many observations were at most that large.
pub(super) fn buckets(text: &str, name: &str, label: &str, without: &str) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::new();
    let name = format!("{name}_bucket");
    for (labels, count) in series(text, &name).filter(|(labels, _)| label_of(labels, label) != Some(without)) {
        let Some(bound) = label_of(labels, "le").and_then(|bound| bound.parse::<f64>().ok()) else {
            continue;
        };
        match all.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => all.push((bound, count)),
        }
    }
    all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    all
}

/// Labels and value of every series of a metric.
fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once('}')?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((labels, value.trim().parse().ok()?))
    })
}

/// The value of a label. Relays' labels come from closed sets, so that none holds a comma or a quote.
fn label_of<'a>(labels: &'a str, wanted: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP weir_ttfb_seconds From a request's arrival to its first body byte.
weir_bytes_total{proto=\"h1\",source=\"peer\"} 5
weir_bytes_total{proto=\"h3\",source=\"peer\"} 7
weir_bytes_total{proto=\"h3\",source=\"own\"} 100
weir_bytes_total_more{proto=\"h3\",source=\"peer\"} 1000
weir_plain 3
weir_ttfb_seconds_bucket{source=\"disk\",le=\"0.1\"} 1
weir_ttfb_seconds_bucket{source=\"disk\",le=\"0.01\"} 0
weir_ttfb_seconds_bucket{source=\"disk\",le=\"+Inf\"} 2
weir_ttfb_seconds_bucket{source=\"own\",le=\"0.1\"} 50
weir_ttfb_seconds_bucket{source=\"peer\",le=\"0.1\"} 4
weir_ttfb_seconds_bucket{source=\"peer\",le=\"+Inf\"} 4
broken{ 1
";

    #[test]
    fn sums_choose_series_by_label() {
        assert_eq!(sum(TEXT, "weir_bytes_total", &[("source", "peer")]), 12.0);
        assert_eq!(sum(TEXT, "weir_bytes_total", &[("source", "peer"), ("proto", "h3")]), 7.0);
        assert_eq!(sum(TEXT, "weir_plain", &[]), 3.0);
        assert_eq!(sum(TEXT, "broken", &[]) + sum(TEXT, "absent", &[]), 0.0);
    }

    #[test]
    fn buckets_are_added_up_in_order() {
        let found = buckets(TEXT, "weir_ttfb_seconds", "source", "own");
        assert_eq!(found, [(0.01, 0.0), (0.1, 5.0), (f64::INFINITY, 6.0)]);
    }
}
