//! The committed scenarios of the mesh, small in every run and whole in `./test long`, and what is wrong with others.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use weir_load::sim::{Report, Scenario, ScenarioError, run};

fn scenario(name: &str) -> Scenario {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/mesh").join(name);
    Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// Few enough relays, viewers and seconds for every run; the curve of arrivals moves with the time, and a cut takes the
/// tenth of it that it takes in the whole scenario. The trees of a small network are shallow, so what a line needs for a
/// piece weighs more beside their paths.
fn small(name: &str) -> Scenario {
    let mut scenario = scenario(name);
    (scenario.relays, scenario.viewers, scenario.seconds) = (300, 2_000, 150);
    if !scenario.cuts.is_empty() {
        scenario.seconds = 300;
        // So few relays, of whom a third are cut off, take 1.051 copies there; the whole scenario keeps its bound.
        scenario.expect.egress_copies_per_region = Some(1.06);
    }
    scenario.expect.propagation_p99_delays = Some(5.0);
    for corner in &mut scenario.watch.arrive {
        corner[0] = corner[0].min(40.0);
    }
    for cut in &mut scenario.cuts {
        (cut.from_s, cut.until_s) = (60.0, 90.0);
    }
    scenario
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap()
}

fn keeps(name: &str) -> Report {
    let report = run(&small(name));
    assert!(report.is_met(), "{report}");
    assert_eq!(report.origin.most_for_one, 1, "{report}");
    assert!(report.propagation.after_ms.count > 1_000 && report.viewing.viewings > 1_000, "{report}");
    report
}

#[test]
fn a_flash_crowd_leaves_the_adapter_once_for_each_region() {
    let report = keeps("flash_crowd.toml");
    assert!(report.viewing.hit_ratio.unwrap() > 0.8, "{report}");
    assert_eq!((report.network.deaths, report.viewing.not_started), (0, 0), "{report}");
}

#[test]
fn churn_is_mended() {
    let mut scenario = small("churn.toml");
    scenario.churn.as_mut().unwrap().median_minutes = 5.0;
    let report = run(&scenario);
    assert!(report.is_met(), "{report}");
    assert!(report.network.deaths > 50 && report.propagation.repairs > 20 && report.viewing.moved > 50, "{report}");
}

#[test]
fn malicious_relays_are_passed_over() {
    let report = keeps("malicious.toml");
    assert!(report.requests.failed > 20 && report.propagation.repairs > 5, "{report}");
}

#[test]
fn a_region_that_is_cut_off_comes_back() {
    let report = keeps("cut_region.toml");
    assert!(report.viewing.stalls > 0, "live stands still without its adapter\n{report}");
    let late = &report.propagation.caught_up_ms;
    assert!(late.count > 100 && late.p50.is_some_and(|p50| p50 < 10_000.0), "it comes back within seconds\n{report}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    for name in ["churn.toml", "malicious.toml"] {
        let mut scenario = small(name);
        scenario.seconds = 60;
        let first = run(&scenario);
        let again = run(&scenario);
        assert_eq!(json(&first), json(&again));
        assert_eq!(first.svg(), again.svg());
        scenario.seed += 1;
        assert_ne!(json(&first), json(&run(&scenario)));
    }
}

#[test]
fn the_picture_is_whole() {
    let mut scenario = small("flash_crowd.toml");
    (scenario.seconds, scenario.name) = (30, "a <b> & c".into());
    let svg = run(&scenario).svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("a &lt;b&gt; &amp; c") && !svg.contains("NaN") && !svg.contains("inf"));
    assert_eq!(svg.matches("<path").count(), 7);
}

#[test]
fn a_promise_that_is_not_kept_is_told() {
    let mut scenario = small("flash_crowd.toml");
    scenario.seconds = 30;
    scenario.expect.control_share = Some(0.0);
    let report = run(&scenario);
    assert!(!report.is_met());
    let verdict = report.expectations.iter().find(|verdict| verdict.what == "control_share").unwrap();
    assert!(!verdict.met && verdict.figure.unwrap() > 0.0);
}

#[test]
fn what_is_wrong_with_a_scenario_is_named() {
    let text =
        std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/mesh/flash_crowd.toml"))
            .unwrap();
    let parse = |text: &str| Scenario::parse(text, Path::new("x.toml")).unwrap_err();
    let wrong = [
        ("relays = 10000 ", "relays = 0 ", "relays"),
        ("loss_percent = 0.2", "loss_percent = 60.0", "network.loss_percent"),
        ("adapter_region = \"europe\"", "adapter_region = \"mars\"", "network.adapter_region"),
        ("kbps_share = [25.0, 45.0, 30.0]", "kbps_share = [25.0]", "live.kbps_share"),
        ("[[0.0, 0.00001], [60.0, 1.0]]", "[[60.0, 0.5], [50.0, 1.0]]", "watch.arrive"),
        ("control_share = 0.01", "control_share = -1.0", "expect.control_share"),
    ];
    for (from, to, field) in wrong {
        assert!(text.contains(from), "{from}");
        let error = parse(&text.replace(from, to));
        assert!(matches!(&error, ScenarioError::Value { .. }) && error.to_string().contains(field), "{error}");
    }
    for (from, to) in [("seed = 1 ", "sead = 1 "), ("share = 90.0", "share = \"much\"")] {
        let error = parse(&text.replacen(from, to, 1));
        assert!(matches!(error, ScenarioError::Toml { .. }));
        let told = error.to_string();
        assert!(told.contains("x.toml") && told.contains("line"), "{told}");
    }
    assert!(matches!(Scenario::read(Path::new("/nowhere.toml")), Err(ScenarioError::Read { .. })));
}

fn whole(name: &str) {
    let report = run(&scenario(name));
    println!("{report}");
    assert!(report.is_met(), "{report}");
}

#[test]
#[ignore = "long: 10 000 relays and 100 000 viewers for ten simulated minutes"]
fn the_whole_flash_crowd() {
    whole("flash_crowd.toml");
}

#[test]
#[ignore = "long: 10 000 relays and 100 000 viewers for ten simulated minutes"]
fn the_whole_churn() {
    whole("churn.toml");
}

#[test]
#[ignore = "long: 10 000 relays and 100 000 viewers for ten simulated minutes"]
fn the_whole_of_malice() {
    whole("malicious.toml");
}

#[test]
#[ignore = "long: 10 000 relays and 100 000 viewers for ten simulated minutes"]
fn the_whole_cut() {
    whole("cut_region.toml");
}
