//! The one place where the simulation meets the decisions that it runs: `weir_relay::mesh` decides, this file translates
//! node numbers, times and objects, and states what the node around the decisions adds to them.

use super::{
    content::{Content, Object},
    queue::{MILLI, Micros},
    roster::Roster,
    world::{NodeId, Plan, Step},
};
use std::time::Duration;
use weir_protocol::{ids::RelayId, time::UnixMillis};
use weir_relay::mesh::{self, Admission, Class, Effect, Failure, Mesh, MeshConfig};

/// When a run begins: any time that no relay is older than.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Peers that a node remembers, and counters in each row of its sketches: less than a node's defaults, since each
/// simulated relay has few viewers, and there are ten thousand.
const CONFIG: MeshConfig = MeshConfig { peers: 256, sketch: 1024 };

/// The wall clock that decisions see.
pub(super) fn clock(at: Micros) -> UnixMillis {
    UnixMillis(EPOCH_MS + at / MILLI)
}

/// What a relay weighs: its upload in Mbit/s.
pub(super) fn weight(megabits: f64) -> u32 {
    megabits.round().clamp(1.0, 1e6) as u32
}

/// An object as decisions know it: its rendition or title is its group.
pub(super) fn object(content: &Content, object: Object) -> mesh::Object {
    mesh::Object { hash: content.hash(object), group: content.group(object) }
}

/// One relay's decisions.
pub(super) struct Decider {
    mesh: Mesh,
    epoch: u64,
}

impl Decider {
    pub(super) fn new(me: RelayId) -> Self {
        Self { mesh: Mesh::new(me, CONFIG), epoch: 0 }
    }

    /// The node's view, with the members that it has been told of.
    pub(super) fn view(&mut self, roster: &Roster, region: u8) -> &mut Mesh {
        let (members, epoch) = roster.members(region);
        if epoch != self.epoch {
            // It was told of them when they came, although it has not looked since.
            roster.former(region, self.epoch).for_each(|list| self.mesh.set_members(list.clone()));
            self.mesh.set_members(members);
            self.epoch = epoch;
        }
        &mut self.mesh
    }

    /// A relay that comes now is told the list of now.
    pub(super) fn comes(&mut self, roster: &Roster, region: u8) {
        let (members, epoch) = roster.members(region);
        self.mesh.set_members(members);
        self.epoch = epoch;
    }

    /// The node's view as it was.
    pub(super) fn mesh(&mut self) -> &mut Mesh {
        &mut self.mesh
    }

    /// Whom to ask.
    pub(super) fn plan(
        &mut self,
        roster: &Roster,
        region: u8,
        adapter: NodeId,
        object: &mesh::Object,
        hops: u8,
        now: Micros,
    ) -> Plan {
        let plan = self.view(roster, region).plan(object, hops, clock(now));
        let steps = plan.steps.into_iter().filter_map(|step| {
            let (node, life) = match step.peer() {
                Some((relay, _)) => roster.node(&relay)?,
                None => (adapter, 0),
            };
            Some(Step { node, life, what: step })
        });
        Plan {
            stage: plan.stage,
            steps: steps.collect(),
            next: 0,
            failed: 0,
            asked: Vec::new(),
            running: Vec::new(),
            insists: false,
            behind: None,
        }
    }

    /// When another peer is asked as well.
    pub(super) fn hedge_after(&self, step: &mesh::Step) -> Option<Micros> {
        self.mesh.hedge_after(step).map(micros)
    }

    /// How long a relay may take for a head that a fill of this stage waits for.
    pub(super) fn patience(&self, stage: u8) -> Micros {
        micros(self.mesh.patience(stage))
    }

    /// Somebody wants an object; true when this relay should fetch it for others.
    pub(super) fn requested(
        &mut self,
        roster: &Roster,
        region: u8,
        object: &mesh::Object,
        held: bool,
        now: Micros,
    ) -> bool {
        self.view(roster, region).requested(object, held, clock(now)) == Effect::Replicate
    }

    /// Is a filled object kept?
    pub(super) fn keeps(&mut self, object: &mesh::Object, live: bool, full: bool, now: Micros) -> bool {
        let class = if live { Class::Live } else { Class::Vod };
        self.mesh.admit(object, class, full, clock(now)) == Admission::Keep
    }

    /// A source has failed.
    pub(super) fn failed(&mut self, step: &mesh::Step, failure: Failure, now: Micros) {
        match step.peer() {
            Some((relay, _)) => self.mesh.failed(&relay, failure, clock(now)),
            None => self.mesh.adapter_failed(failure, clock(now)),
        }
    }
}

fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A time for decisions.
pub(super) fn duration(micros: Micros) -> Duration {
    Duration::from_micros(micros)
}
