//! A relay behind a router that grants ports: real `miniupnpd`, asked in each of the ways that the standards have. The NAT
//! is a symmetric one, through which nobody gets in otherwise.

use super::{
    lab::{Grants, Lab, Nat},
    node::{Node, until},
    table::{folder, from_peer, row, transfer},
};

const ADAPTER: &str = "11.22.33.10:7080";
const ROUTER: &str = "11.22.33.21";

fn a_port_is_granted(scenario: &str, name: &str, grants: Grants) {
    let mut lab = Lab::new(name);
    lab.public("adp", &["11.22.33.10/24"]);
    lab.public("open", &["11.22.33.11/24"]);
    lab.router("r", &format!("{ROUTER}/24"), 1, Nat::Symmetric);
    lab.grants_ports("r", grants);
    lab.host("a", "r", 1, 2, Nat::Symmetric);
    let folder = folder();
    let _adapter = Node::adapter(&lab, "adp", folder.path(), ADAPTER);
    let [open, mut a] = ["open", "a"].map(|short| Node::edge(&lab, short, ADAPTER));
    open.knows(2);
    a.knows(2);
    open.is("direct");
    row(scenario, &format!("relay mapped after {} ms", a.is("mapped")));
    let at = a.status()["reachability"]["port_mappings"]["peer"].as_str().unwrap().to_owned();
    assert!(at.starts_with(&format!("{ROUTER}:")), "{at}");
    // The doors are on loopback here: nobody needs a port for them.
    assert_eq!(lab.granted_ports("r"), ["192.168.1.2:7444"]);
    transfer(scenario, "a", "open relay", &from_peer(&a, &open, 0));
    a.stop();
    let (_, took) = until("the port to be given back", || lab.granted_ports("r").is_empty().then_some(()));
    row(scenario, &format!("port given back {} ms after the relay's end", took.as_millis()));
}

#[test]
fn netns_miniupnpd_grants_a_port_by_upnp_and_gets_it_back() {
    a_port_is_granted("UPnP", "upnp", Grants::Upnp);
}

#[test]
fn netns_miniupnpd_grants_a_port_by_pcp_and_gets_it_back() {
    a_port_is_granted("PCP, NAT-PMP", "pcp", Grants::Pcp);
}
