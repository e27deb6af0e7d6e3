//! Two relays behind one NAT: they meet on their own network, not through the router's outer side.

use super::{
    lab::{Lab, Nat},
    node::{Node, until},
    table::{folder, from_peer, row, transfer},
};

#[test]
fn netns_two_relays_behind_one_nat_meet_at_their_local_addresses() {
    let scenario = "one NAT";
    let mut lab = Lab::new("lan");
    lab.public("adp", &["203.0.113.10/24"]);
    lab.router("r", "203.0.113.21/24", 1, Nat::Cone);
    lab.host("a", "r", 1, 2, Nat::Cone);
    lab.host("b", "r", 1, 3, Nat::Cone);
    let folder = folder();
    let join = "203.0.113.10:7080";
    let _adapter = Node::adapter(&lab, "adp", folder.path(), join);
    let [a, b] = ["a", "b"].map(|short| Node::edge(&lab, short, join));
    a.knows(2);
    b.knows(2);
    let done = from_peer(&a, &b, 0);
    transfer(scenario, "a", "b", &done);
    let at = b.link_to(&a).unwrap()["address"].as_str().unwrap().to_owned();
    row(scenario, &format!("b found a at {at}"));
    assert!(at.starts_with("192.168.1.2:"), "{at}");
}

#[test]
fn netns_neighbours_find_one_another_by_multicast_without_adapter_or_list() {
    let mut lab = Lab::new("mdns");
    lab.public("adp", &["203.0.113.10/24"]);
    lab.router("r", "203.0.113.21/24", 1, Nat::Cone);
    lab.host("a", "r", 1, 2, Nat::Cone);
    lab.host("b", "r", 1, 3, Nat::Cone);
    let folder = folder();
    let join = "203.0.113.10:7080";
    let mut adapter = Node::adapter(&lab, "adp", folder.path(), join);
    let [a, mut b] = ["a", "b"].map(|short| Node::edge_with(&lab, short, join, &["--mdns"]));
    a.knows(2);
    b.knows(2);
    let held = a.get("/s0.ts").unwrap();
    a.holds("/s0.ts");
    adapter.kill();
    b.kill();
    b.forget_members();
    b.spawn();
    let (got, took) = until("the restarted relay to serve what its neighbour holds", || b.get("/s0.ts"));
    assert_eq!(got, held);
    row("adapter away", &format!("without a list: served from a neighbour {} ms after it was ready", took.as_millis()));
}
