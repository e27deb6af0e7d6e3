//! The adapter is gone, a relay starts again: it finds the others by itself.

use super::{
    lab::Lab,
    node::{Node, until},
    table::{folder, row},
};

#[test]
fn netns_a_relay_that_restarts_without_the_adapter_finds_the_others() {
    let scenario = "adapter away";
    let mut lab = Lab::new("away");
    for (short, address) in [("adp", "203.0.113.10/24"), ("a", "203.0.113.11/24"), ("b", "203.0.113.12/24")] {
        lab.public(short, &[address]);
    }
    let folder = folder();
    let join = "203.0.113.10:7080";
    let mut adapter = Node::adapter(&lab, "adp", folder.path(), join);
    let [a, mut b] = ["a", "b"].map(|short| Node::edge(&lab, short, join));
    a.knows(2);
    b.knows(2);
    a.is("direct");
    b.is("direct");
    let held = a.get("/s0.ts").unwrap();
    a.holds("/s0.ts");
    // The list is written every five seconds: an earlier one may not name the other relay, or say where it is.
    until("the other relay to be kept", || {
        let networks = b.data().join("networks");
        let files = std::fs::read_dir(networks).ok()?.flatten();
        let file = files.map(|file| file.path()).find(|file| file.to_string_lossy().ends_with(".members.json"))?;
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let mut members = kept["members"].as_array()?.iter();
        let other = members.find(|member| member["relay"] == a.id().as_str())?;
        other["addresses"].as_array()?.first().map(|_| ())
    });
    adapter.kill();
    b.kill();
    b.spawn();
    let (got, took) = until("the restarted relay to serve what another holds", || b.get("/s0.ts"));
    assert_eq!(got, held);
    assert!(b.bytes().from_peers >= held.len() as u64, "{:?}", b.bytes());
    row(scenario, &format!("restarted relay served from a member {} ms after it was ready", took.as_millis()));
}

#[test]
fn netns_a_relay_that_has_lost_its_list_begins_with_those_that_the_join_document_names() {
    let mut lab = Lab::new("boot");
    for (short, address) in [("adp", "203.0.113.10/24"), ("a", "203.0.113.11/24"), ("b", "203.0.113.12/24")] {
        lab.public(short, &[address]);
    }
    let folder = folder();
    let join = "203.0.113.10:7080";
    let mut adapter = Node::adapter(&lab, "adp", folder.path(), join);
    let a = Node::edge(&lab, "a", join);
    a.is("direct");
    until("the join document to name the open relay", || {
        let document = a.curl(&format!("http://{join}/.well-known/weir"))?;
        let document: serde_json::Value = serde_json::from_slice(&document).ok()?;
        document["bootstrap"].as_array()?.iter().any(|relay| relay["relay"] == a.id()).then_some(())
    });
    let mut b = Node::edge(&lab, "b", join);
    b.knows(2);
    // Whoever does not know that b is a member refuses it, and hears of it from the adapter alone.
    a.knows(2);
    let held = a.get("/s0.ts").unwrap();
    a.holds("/s0.ts");
    adapter.kill();
    b.kill();
    b.forget_members();
    b.spawn();
    let (got, took) = until("the restarted relay to serve what another holds", || b.get("/s0.ts"));
    assert_eq!(got, held);
    row(
        "adapter away",
        &format!("without a list: served from a named relay {} ms after it was ready", took.as_millis()),
    );
}
