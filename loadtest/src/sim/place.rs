//! Where nodes are, and what a message suffers on its way: distance, access lines, jitter, loss, and regions that are cut
//! off. A lost packet costs its transfer a retransmission (QUIC detects the loss after about a round trip and a half).

use super::{
    queue::{Micros, SECOND, millis},
    random::Random,
    scenario::Scenario,
};

/// Packets at the end of a transfer of which one lost delays the end: a loss further ahead is mended while it runs.
const TAIL_PACKETS: i32 = 32;
/// Retransmissions of one packet that are followed.
const MOST_LOSSES: u32 = 8;

/// Where a node is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Index of its region.
    pub(super) region: u8,
    at_ms: [f64; 2],
    access_ms: f64,
}

/// A region that is cut off between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutOff {
    pub(super) region: u8,
    pub(super) from: Micros,
    pub(super) until: Micros,
}

/// The paths between nodes.
pub(super) struct Paths {
    jitter_us: f64,
    loss: f64,
    tail_loss: f64,
    pub(super) cuts: Vec<CutOff>,
    random: Random,
}

impl Paths {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let loss = scenario.network.loss_percent / 100.0;
        let cuts = scenario.cuts.iter().map(|cut| CutOff {
            region: region(scenario, &cut.region),
            from: millis(cut.from_s * 1e3),
            until: millis(cut.until_s * 1e3),
        });
        Self {
            jitter_us: scenario.network.jitter_ms * 1e3,
            loss,
            tail_loss: 1.0 - (1.0 - loss).powi(TAIL_PACKETS),
            cuts: cuts.collect(),
            random: Random::new(seed, "paths"),
        }
    }

    /// False while a cut lies between two regions.
    pub(super) fn connected(&self, a: u8, b: u8, now: Micros) -> bool {
        a == b
            || !self
                .cuts
                .iter()
                .any(|cut| (cut.region == a) != (cut.region == b) && (cut.from..cut.until).contains(&now))
    }

    /// When the last cut between two regions ended that was there at some time between two moments; `None` when there
    /// was none.
    pub(super) fn cut_between(&self, a: u8, b: u8, from: Micros, until: Micros) -> Option<Micros> {
        let lies = |cut: &&CutOff| (cut.region == a) != (cut.region == b) && cut.from <= until && from < cut.until;
        self.cuts.iter().filter(lies).map(|cut| cut.until).max()
    }

    /// One-way delay without jitter and loss.
    pub(super) fn one_way(a: &Place, b: &Place) -> Micros {
        let distance = (a.at_ms[0] - b.at_ms[0]).hypot(a.at_ms[1] - b.at_ms[1]);
        millis(distance + a.access_ms + b.access_ms)
    }

    /// What a message of one packet takes; `None` when a cut lies in between.
    pub(super) fn message(&mut self, a: &Place, b: &Place, now: Micros) -> Option<Micros> {
        let base = Self::one_way(a, b);
        self.connected(a.region, b.region, now).then(|| base + self.trouble(base, self.loss))
    }

    /// What the last byte of a long transfer takes after it was sent.
    pub(super) fn tail(&mut self, a: &Place, b: &Place) -> Micros {
        let base = Self::one_way(a, b);
        base + self.trouble(base, self.tail_loss)
    }

    fn trouble(&mut self, base: Micros, loss: f64) -> Micros {
        let jitter = if self.jitter_us > 0.0 { self.random.exponential(self.jitter_us) as Micros } else { 0 };
        let mut lost = 0;
        let mut probability = loss;
        while lost < MOST_LOSSES && self.random.chance(probability) {
            lost += 1;
            // The retransmission is one packet again.
            probability = self.loss;
        }
        jitter + Micros::from(lost) * base * 3
    }

    /// A node's place in a region: uniformly in its disc.
    pub(super) fn place(scenario: &Scenario, region: u8, access_ms: f64, random: &mut Random) -> Place {
        let disc = &scenario.regions[usize::from(region)];
        let (angle, radius) = (random.unit() * std::f64::consts::TAU, random.unit().sqrt() * disc.radius_ms);
        let at_ms = [disc.at_ms[0] + radius * angle.cos(), disc.at_ms[1] + radius * angle.sin()];
        Place { region, at_ms, access_ms }
    }

    /// The adapter's place: the middle of its region, without an access line.
    pub(super) fn adapter(scenario: &Scenario) -> Place {
        let region = region(scenario, &scenario.network.adapter_region);
        Place { region, at_ms: scenario.regions[usize::from(region)].at_ms, access_ms: 0.0 }
    }
}

/// The index of a region whose name the scenario's check has found.
pub(super) fn region(scenario: &Scenario, name: &str) -> u8 {
    let index = scenario.regions.iter().position(|region| region.name == name).unwrap_or(0);
    u8::try_from(index).expect("a scenario has at most 32 regions")
}

/// Whole seconds of a time.
pub(super) fn seconds(at: Micros) -> usize {
    usize::try_from(at / SECOND).expect("a run has fewer seconds than fit")
}
