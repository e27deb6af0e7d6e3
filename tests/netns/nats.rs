//! Two relays at home, each behind a router of its own, and the adapter on the internet: cone, port-remapping and
//! symmetric NATs, and IPv6 firewalls.

use super::{
    lab::{Lab, Nat},
    node::Node,
    table::{SEGMENTS, folder, from_peer, row, transfer},
};
use std::time::Instant;

const ADAPTER: &str = "203.0.113.10:7080";

/// Adapter, an open relay, and two relays behind routers of this kind.
fn homes(name: &str, nat: Nat) -> (Lab, tempfile::TempDir, [Node; 4]) {
    let mut lab = Lab::new(name);
    lab.public("adp", &["203.0.113.10/24"]);
    lab.public("open", &["203.0.113.11/24"]);
    for (n, short) in [(1, "a"), (2, "b")] {
        lab.router(&format!("r{short}"), &format!("203.0.113.2{n}/24"), n, nat);
        lab.host(short, &format!("r{short}"), n, 2, nat);
    }
    let folder = folder();
    let adapter = Node::adapter(&lab, "adp", folder.path(), ADAPTER);
    let [open, a, b] = ["open", "a", "b"].map(|short| Node::edge(&lab, short, ADAPTER));
    for relay in [&open, &a, &b] {
        relay.knows(3);
    }
    (lab, folder, [adapter, open, a, b])
}

fn through_the_hole(scenario: &str, nat: Nat) {
    let (_lab, _folder, [_adapter, open, a, b]) = homes(scenario, nat);
    let (open_ms, a_ms, b_ms) = (open.is("direct"), a.is("punched"), b.is("punched"));
    row(scenario, &format!("open relay direct after {open_ms} ms; a punched after {a_ms} ms, b after {b_ms} ms"));
    a.can_be_called();
    b.can_be_called();
    let there = from_peer(&a, &b, 0);
    transfer(scenario, "a", "b", &there);
    assert_eq!(there.how, "punched");
    let back = from_peer(&b, &a, 1);
    transfer(scenario, "b", "a", &back);
    let reversed = from_peer(&a, &open, 2);
    transfer(scenario, "a", "open relay", &reversed);
}

#[test]
fn netns_cone_nats_are_punched_and_segments_flow_through_the_hole() {
    through_the_hole("cone", Nat::Cone);
}

#[test]
fn netns_port_remapping_nats_are_punched_too() {
    through_the_hole("remap", Nat::Remap);
}

#[test]
fn netns_symmetric_nats_dial_out_and_the_adapter_serves_the_rest() {
    let scenario = "symmetric";
    let (_lab, _folder, [_adapter, open, a, b]) = homes(scenario, Nat::Symmetric);
    open.is("direct");
    let (a_ms, b_ms) = (a.is("peer-only"), b.is("peer-only"));
    row(scenario, &format!("a peer-only after {a_ms} ms, b after {b_ms} ms"));
    // It dials out, and what it holds reaches openly reachable relays over the same connection.
    transfer(scenario, "open relay", "a", &from_peer(&open, &a, 0));
    transfer(scenario, "a", "open relay", &from_peer(&a, &open, 1));
    // Between the two there is no way; nobody waits for one.
    let path = format!("/s{}.ts", 2 * SEGMENTS);
    assert!(a.get(&path).is_some());
    let began = Instant::now();
    assert!(b.get(&path).is_some(), "the adapter or the open relay serves");
    row(scenario, &format!("a → b: no way, another source served in {} ms", began.elapsed().as_millis()));
    assert!(b.link_to(&a).is_none() && a.link_to(&b).is_none());
}

#[test]
fn netns_ipv6_only_relays_behind_firewalls_meet() {
    let scenario = "ipv6-only";
    let mut lab = Lab::new("six");
    lab.public("adp", &["2001:db8:f::10/64"]);
    for (n, short) in [(1u8, "a"), (2, "b")] {
        lab.router(&format!("r{short}"), &format!("2001:db8:f::2{n}/64"), n, Nat::Firewall);
        lab.host(short, &format!("r{short}"), n, 2, Nat::Firewall);
    }
    for (n, router) in [(1, "2001:db8:f::21"), (2, "2001:db8:f::22")] {
        lab.route6("adp", n, router);
    }
    lab.route6("ra", 2, "2001:db8:f::22");
    lab.route6("rb", 1, "2001:db8:f::21");
    let folder = folder();
    let join = "[2001:db8:f::10]:7080";
    let _adapter = Node::adapter(&lab, "adp", folder.path(), join);
    let [a, b] = ["a", "b"].map(|short| Node::edge(&lab, short, join));
    a.knows(2);
    b.knows(2);
    row(
        scenario,
        &format!("a punched after {} ms, b after {} ms (firewalls, no NAT)", a.is("punched"), b.is("punched")),
    );
    a.can_be_called();
    b.can_be_called();
    transfer(scenario, "a", "b", &from_peer(&a, &b, 0));
    transfer(scenario, "b", "a", &from_peer(&b, &a, 1));
}
