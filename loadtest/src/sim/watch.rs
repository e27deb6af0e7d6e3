//! Viewers, each alone: they come, are sent to a relay near by that has room, look for segments as players do, and wait
//! when their buffer is empty. A viewer whose relay is gone is sent to another one.

use super::{
    pull, push,
    queue::{Micros, SECOND, millis},
    transfer,
    world::{Event, NodeId, Reader, Viewer, ViewerId, Watching, World},
};

/// A segment that was not to be had is asked for again after this.
const AGAIN: Micros = SECOND;
/// Relays of which the one with the most room is taken.
const CANDIDATES: usize = 4;

fn viewer(world: &mut World, id: ViewerId) -> &mut Viewer {
    &mut world.viewers[id as usize]
}

/// True while an event of that turn is not void.
fn turns(world: &World, id: ViewerId, turn: u32) -> bool {
    world.viewers[id as usize].turn == turn
}

/// [`Event::Arrive`].
pub(super) fn arrive(world: &mut World, id: ViewerId) {
    let now = world.now();
    let live = world.scenario.live.as_ref().map_or(0.0, |live| live.share);
    let vod = world.scenario.vod.as_ref().map_or(0.0, |vod| vod.share);
    let random = &mut world.random.viewers;
    let watching = if random.chance(live / (live + vod)) {
        Watching::Live(world.content.pick_rendition(random))
    } else {
        Watching::Title(world.content.pick_title(random))
    };
    let stays = world.scenario.watch.minutes;
    if stays > 0.0 {
        let until = now + millis(random.exponential(stays * 60e3));
        let viewing = world.viewers[id as usize].viewing + 1;
        world.queue.at(until, Event::Stop(id, viewing));
    }
    let one = viewer(world, id);
    one.viewing += 1;
    one.watching = watching;
    one.next = if matches!(watching, Watching::Live(_)) { u32::MAX } else { 0 };
    one.empty_at = None;
    one.began = now;
    one.listed = None;
    if let Watching::Live(rendition) = watching {
        world.counts.watch(rendition, 1);
    }
    world.counts.online += 1;
    settle(world, id);
}

/// Megabits per second that a viewer takes.
fn rate(world: &World, watching: Watching) -> f64 {
    match watching {
        Watching::Nothing => 0.0,
        Watching::Live(rendition) => {
            f64::from(world.content.bytes(world.content.live(rendition, 0))) * 8.0 / world.content.live_segment as f64
        }
        Watching::Title(title) => {
            f64::from(world.content.bytes(world.content.vod(title, 0))) * 8.0 / world.content.vod_segment as f64
        }
    }
}

/// Sends a viewer to a relay.
fn settle(world: &mut World, id: ViewerId) {
    let now = world.now();
    let region = world.viewers[id as usize].region;
    let one = viewer(world, id);
    one.turn += 1;
    let turn = one.turn;
    let watching = one.watching;
    let Some(relay) = world.steering.pick(region, CANDIDATES, &mut world.random.steering, &world.nodes) else {
        // Nobody is there; the player tries again.
        world.queue.at(now + AGAIN, Event::Lost(id, turn));
        return;
    };
    let takes = rate(world, watching);
    let node = world.node_mut(relay);
    node.assigned += takes;
    let life = node.life;
    viewer(world, id).relay = Some((relay, life));
    if world.lives(relay, life)
        && let Watching::Live(rendition) = watching
    {
        push::watch(world, relay, rendition);
    }
    let delay = transfer::viewer_delay(world, relay);
    match watching {
        // A connection is opened first.
        Watching::Live(_) => world.queue.at(now + 3 * delay, Event::Look(id, turn)),
        _ => world.queue.at(now + 3 * delay, Event::Want(id, turn)),
    }
}

/// A viewer is no longer sent to its relay.
fn unsettle(world: &mut World, id: ViewerId) {
    let Some((relay, life)) = viewer(world, id).relay.take() else { return };
    let watching = viewer(world, id).watching;
    let takes = rate(world, watching);
    if !world.lives(relay, life) {
        return;
    }
    let node = world.node_mut(relay);
    node.assigned = (node.assigned - takes).max(0.0);
    if let Watching::Live(rendition) = watching {
        push::unwatch(world, relay, rendition);
    }
}

/// The relay of a viewer, if it lives; otherwise the viewer will notice.
fn relay(world: &mut World, id: ViewerId, turn: u32) -> Option<NodeId> {
    let (relay, life) = viewer(world, id).relay?;
    if world.lives(relay, life) {
        return Some(relay);
    }
    let orderly = world.roster.was_orderly(relay) || world.node(relay).life != life;
    let wait =
        if orderly { transfer::viewer_delay(world, relay) } else { millis(world.scenario.watch.give_up_s * 1e3) };
    let at = world.now() + wait;
    world.queue.at(at, Event::Lost(id, turn));
    None
}

/// [`Event::Look`]: the playlist, as the relay has it.
pub(super) fn look(world: &mut World, id: ViewerId, turn: u32) {
    if !turns(world, id, turn) {
        return;
    }
    let Some(relay) = relay(world, id, turn) else { return };
    let Watching::Live(rendition) = viewer(world, id).watching else { return };
    let now = world.now();
    let delay = transfer::viewer_delay(world, relay);
    push::pull_playlist(world, relay, rendition);
    let Some(newest) = push::newest(world, relay, rendition) else {
        return push::wait(world, relay, rendition, id, turn);
    };
    let playlist = world.content.playlist_bytes as f64;
    world.node_mut(relay).sent_viewers += playlist;
    let window = world.scenario.live.as_ref().map_or(1, |live| live.window);
    let hold_back = world.scenario.live.as_ref().map_or(1, |live| live.hold_back);
    let segment = world.content.live_segment;
    let one = viewer(world, id);
    let changed = one.listed != Some(newest);
    one.listed = Some(newest);
    one.looked = now;
    if one.next == u32::MAX {
        one.next = newest.saturating_sub(hold_back - 1);
    } else if newest >= one.next + window {
        // It has fallen out of the window: what lies between is not seen.
        let next = newest.saturating_sub(hold_back - 1);
        let skipped = u64::from(next - one.next);
        one.next = next;
        world.counts.skipped += skipped;
    }
    if viewer(world, id).next <= newest {
        world.queue.at(now + 2 * delay, Event::Want(id, turn));
    } else {
        // RFC 8216, section 6.3.4: half a target duration after a playlist that has not changed.
        let wait = if changed { segment } else { segment / 2 };
        world.queue.at(now + wait, Event::Look(id, turn));
    }
}

/// A relay's playlist lists what viewers have waited for.
pub(super) fn listed(world: &mut World, node: NodeId, rendition: super::content::Rendition) {
    let now = world.now();
    let Some(one) = world.node_mut(node).live.iter_mut().find(|one| one.rendition == rendition) else { return };
    for (id, turn) in std::mem::take(&mut one.waiting) {
        world.queue.at(now, Event::Look(id, turn));
    }
}

/// [`Event::Want`].
pub(super) fn want(world: &mut World, id: ViewerId, turn: u32) {
    if !turns(world, id, turn) {
        return;
    }
    let Some(relay) = relay(world, id, turn) else { return };
    let one = viewer(world, id);
    let (next, watching) = (one.next, one.watching);
    let object = match watching {
        Watching::Nothing => return,
        Watching::Live(rendition) => world.content.live(rendition, next),
        Watching::Title(title) => world.content.vod(title, next),
    };
    let hit = pull::view(world, relay, object, Reader::Viewer(id, turn));
    world.counts.viewed(hit);
}

/// [`Event::Got`].
pub(super) fn got(world: &mut World, id: ViewerId, turn: u32) {
    if !turns(world, id, turn) {
        return;
    }
    let now = world.now();
    let live = matches!(viewer(world, id).watching, Watching::Live(_));
    let length = if live { world.content.live_segment } else { world.content.vod_segment };
    let one = viewer(world, id);
    let began = one.began;
    match one.empty_at {
        None => {
            one.empty_at = Some(now + length);
            one.played_from = now;
            world.counts.started(now - began);
        }
        Some(empty) if empty < now => {
            one.stalled += now - empty;
            one.stalls += 1;
            one.empty_at = Some(now + length);
        }
        Some(empty) => one.empty_at = Some(empty + length),
    }
    let one = viewer(world, id);
    one.next += 1;
    one.turn += 1;
    let (turn, next, listed, looked, empty) = (one.turn, one.next, one.listed, one.looked, one.empty_at.unwrap_or(now));
    let Some((relay, _)) = one.relay else { return };
    let delay = transfer::viewer_delay(world, relay);
    if live {
        if listed.is_some_and(|listed| next <= listed) {
            world.queue.at(now + delay, Event::Want(id, turn));
        } else {
            world.queue.at((looked + length).max(now) + delay, Event::Look(id, turn));
        }
        return;
    }
    if next >= world.content.segments_of_a_title() {
        let viewing = viewer(world, id).viewing;
        return stop(world, id, viewing);
    }
    let ahead = millis(world.scenario.vod.as_ref().map_or(0.0, |vod| vod.ahead_s) * 1e3);
    let at = empty.saturating_sub(ahead).max(now);
    world.queue.at(at + delay, Event::Want(id, turn));
}

/// [`Event::Lost`]: another relay, when this one is gone; otherwise again.
pub(super) fn lost(world: &mut World, id: ViewerId, turn: u32) {
    if !turns(world, id, turn) {
        return;
    }
    world.counts.viewer_failures += 1;
    let alive = viewer(world, id).relay.is_some_and(|(relay, life)| world.lives(relay, life));
    if alive {
        let at = world.now() + AGAIN;
        let one = viewer(world, id);
        one.turn += 1;
        let turn = one.turn;
        world.queue.at(at, Event::Want(id, turn));
        return;
    }
    world.counts.moved += 1;
    unsettle(world, id);
    settle(world, id);
}

/// [`Event::Stop`]: this viewer leaves, and another one comes.
pub(super) fn stop(world: &mut World, id: ViewerId, viewing: u32) {
    if viewer(world, id).viewing != viewing {
        return;
    }
    finish(world, id);
    let one = viewer(world, id);
    let turn = one.turn;
    one.turn += 1;
    if let Some((relay, life)) = one.relay
        && world.lives(relay, life)
    {
        transfer::stop_viewer(world, relay, id, turn);
    }
    unsettle(world, id);
    if let Watching::Live(rendition) = viewer(world, id).watching {
        world.counts.watch(rendition, -1);
    }
    viewer(world, id).watching = Watching::Nothing;
    world.counts.online -= 1;
    let now = world.now();
    world.queue.at(now, Event::Arrive(id));
}

/// What a viewing was like, as far as it has come.
pub(super) fn finish(world: &mut World, id: ViewerId) {
    let now = world.now();
    let one = viewer(world, id);
    if one.watching == Watching::Nothing {
        return;
    }
    let Some(empty) = one.empty_at else {
        let waited = now - one.began;
        return world.counts.never_started(waited);
    };
    if empty < now {
        one.stalled += now - empty;
        one.stalls += 1;
        one.empty_at = Some(now);
    }
    let (wanted, stalled, stalls) = (now - one.played_from, one.stalled, one.stalls);
    one.stalled = 0;
    one.stalls = 0;
    world.counts.viewing(wanted, stalled, stalls);
}
