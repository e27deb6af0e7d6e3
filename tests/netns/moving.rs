//! A relay whose address changes: the machine's own, and its router's.

use super::{
    lab::{Lab, Nat},
    node::{Node, until},
    table::{folder, from_peer, row, transfer},
};
use std::time::{Duration, Instant};

/// "Within seconds".
const SOON: Duration = Duration::from_secs(15);

#[test]
fn netns_a_relay_that_changes_its_address_is_back_in_service_within_seconds() {
    let scenario = "changing address";
    let mut lab = Lab::new("mov");
    lab.public("adp", &["203.0.113.10/24"]);
    lab.public("b", &["203.0.113.12/24"]);
    lab.router("r", "203.0.113.21/24", 1, Nat::Cone);
    lab.host("a", "r", 1, 2, Nat::Cone);
    let folder = folder();
    let join = "203.0.113.10:7080";
    let adapter = Node::adapter(&lab, "adp", folder.path(), join);
    let [a, b] = ["a", "b"].map(|short| Node::edge(&lab, short, join));
    a.knows(2);
    b.knows(2);
    b.is("direct");
    transfer(scenario, "a", "b", &from_peer(&a, &b, 0));

    let at_adapter = || {
        let address = |relay: &serde_json::Value| (relay["relay"] == a.id()).then(|| relay["address"].clone());
        adapter.status()["relays"].as_array().and_then(|all| all.iter().find_map(address)).unwrap_or_default()
    };
    // The machine at home gets another address from its router.
    lab.inside("a", "ip addr del 192.168.1.2/24 dev eth0; ip addr add 192.168.1.77/24 dev eth0; ip route add default via 192.168.1.1");
    let began = Instant::now();
    transfer(scenario, "a (new LAN address)", "b", &from_peer(&a, &b, 1));
    row(scenario, &format!("back in service {} ms after the LAN address changed", began.elapsed().as_millis()));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    // The provider gives the router another address; nobody inside sees that.
    lab.inside("r", "ip addr del 203.0.113.21/24 dev wan; ip addr add 203.0.113.99/24 dev wan");
    let (_, noticed) = until("the adapter to see the relay at its new address", || {
        at_adapter().as_str().is_some_and(|at| at.starts_with("203.0.113.99:")).then_some(())
    });
    row(scenario, &format!("adapter sees the router's new address after {} ms", noticed.as_millis()));
    let began = Instant::now();
    transfer(scenario, "a (new WAN address)", "b", &from_peer(&a, &b, 2));
    row(scenario, &format!("serving again {} ms later", began.elapsed().as_millis()));
    assert!(noticed + began.elapsed() < SOON, "{noticed:?} and {:?}", began.elapsed());

    // A public relay gets another address.
    lab.inside("b", "ip addr del 203.0.113.12/24 dev wan; ip addr add 203.0.113.13/24 dev wan");
    let began = Instant::now();
    transfer(scenario, "b (new own address)", "a", &from_peer(&b, &a, 3));
    row(scenario, &format!("the open relay is back in service after {} ms", began.elapsed().as_millis()));
    assert!(began.elapsed() < 2 * SOON, "{:?}", began.elapsed());
}
