//! A small internet of namespaces. Invariants: every name starts with `weirnat` and this process's id, so labs beside
//! one another do not meet; what was made is removed with the [`Lab`], by name.

use std::{
    fs,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// How a router translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nat {
    /// One mapping for all destinations, the port kept; lets in only whom was sent to before.
    Cone,
    /// The same with another port.
    Remap,
    /// Another port for each destination.
    Symmetric,
    /// No translation, only a firewall: IPv6.
    Firewall,
}

/// How a router is asked for a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grants {
    /// UPnP IGD, and nothing else.
    Upnp,
    /// NAT-PMP (RFC 6886) and PCP (RFC 6887), and nothing else.
    Pcp,
}

/// A router's daemon that grants ports.
struct Daemon {
    child: Child,
    _folder: TempDir,
}

/// The namespaces of one test.
pub(crate) struct Lab {
    prefix: String,
    namespaces: Vec<String>,
    daemons: Vec<Daemon>,
}

impl Lab {
    /// An empty internet: one bridge.
    pub(crate) fn new(name: &str) -> Self {
        let mut lab = Self {
            prefix: format!("weirnat{}{name}", std::process::id()),
            namespaces: Vec::new(),
            daemons: Vec::new(),
        };
        let inet = lab.namespace("inet");
        lab.run(&format!("ip -n {inet} link add br0 type bridge && ip -n {inet} link set br0 up"));
        lab
    }

    /// The namespace's full name.
    pub(crate) fn name(&self, short: &str) -> String {
        format!("{}{short}", self.prefix)
    }

    fn namespace(&mut self, short: &str) -> String {
        let name = self.name(short);
        self.run(&format!(
            "ip netns add {name} && ip -n {name} link set lo up && ip netns exec {name} \
             sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0"
        ));
        self.namespaces.push(name.clone());
        name
    }

    fn run(&self, script: &str) {
        let output = Command::new("bash").args(["-euc", script]).output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a shell script in a namespace.
    pub(crate) fn inside(&self, short: &str, script: &str) {
        let name = self.name(short);
        let output = Command::new("ip").args(["netns", "exec", &name, "bash", "-euc", script]).output().unwrap();
        assert!(output.status.success(), "{short}: {script}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Connects a namespace to the bridge, with these addresses on `wan`.
    fn uplink(&self, short: &str, addresses: &[&str]) {
        let (inet, name) = (self.name("inet"), self.name(short));
        let mut script = format!(
            "ip -n {inet} link add p-{short} type veth peer name wan netns {name}\n\
             ip -n {inet} link set p-{short} master br0 up\nip -n {name} link set wan up\n"
        );
        for address in addresses {
            script.push_str(&format!("ip -n {name} addr add {address} dev wan\n"));
        }
        self.run(&script);
    }

    /// A machine with addresses of its own on the internet, for example `203.0.113.10/24`.
    pub(crate) fn public(&mut self, short: &str, addresses: &[&str]) {
        self.namespace(short);
        self.uplink(short, addresses);
    }

    /// A router at `wan` (an address with its prefix length) with a local network `192.168.LAN.1/24`.
    pub(crate) fn router(&mut self, short: &str, wan: &str, lan: u8, nat: Nat) {
        let name = self.namespace(short);
        self.uplink(short, &[wan]);
        let address = wan.split('/').next().unwrap();
        let translate = match nat {
            Nat::Cone => "oifname \"wan\" masquerade".to_owned(),
            Nat::Remap => format!("oifname \"wan\" ip protocol udp snat to {address}:6001"),
            Nat::Symmetric => "oifname \"wan\" masquerade fully-random".to_owned(),
            Nat::Firewall => String::new(),
        };
        // Remapping takes UDP; TCP, for joining, is masqueraded.
        let rest = if nat == Nat::Remap { "oifname \"wan\" masquerade" } else { "" };
        let local = match nat {
            Nat::Firewall => format!("2001:db8:{lan}::1/64"),
            _ => format!("192.168.{lan}.1/24"),
        };
        self.run(&format!(
            "ip -n {name} link add lan type bridge\nip -n {name} link set lan up\n\
             ip -n {name} addr add {local} dev lan\n\
             ip netns exec {name} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
        ));
        let table = if nat == Nat::Firewall {
            String::new()
        } else {
            format!(
                "table ip nat {{ chain post {{ type nat hook postrouting priority 100; policy accept;\n\
                 {translate}\n{rest}\n}}\n}}\n"
            )
        };
        let keep_out = "iifname \"wan\" meta l4proto { tcp, udp } ct state new drop";
        self.inside(
            short,
            &format!(
                "nft -f - <<'X'\n{table}\
             table inet filter {{\n\
             chain input {{\ntype filter hook input priority 0; policy accept;\n{keep_out}\n}}\n\
             chain forward {{\ntype filter hook forward priority 0; policy accept;\n{keep_out}\n}}\n\
             }}\nX"
            ),
        );
    }

    /// Lets a router grant ports: `miniupnpd`, as home routers have it. It grants nothing at an address that is not public,
    /// and an address for documentation is not.
    pub(crate) fn grants_ports(&mut self, router: &str, grants: Grants) {
        self.inside(
            router,
            "nft -f - <<'X'
             table inet filter {
             chain miniupnpd {}
             chain prerouting_miniupnpd {}
             chain postrouting_miniupnpd {}
             chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
             chain postrouting { type nat hook postrouting priority 99; policy accept; jump postrouting_miniupnpd; }
             }
             insert rule inet filter forward jump miniupnpd\nX",
        );
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (upnp, pcp) = if grants == Grants::Upnp { ("yes", "no") } else { ("no", "yes") };
        let config = format!(
            "ext_ifname=wan\nlistening_ip=lan\nhttp_port=0\nsecure_mode=yes\n\
             enable_upnp={upnp}\nenable_natpmp={pcp}\nlease_file={}\n\
             upnp_table_name=filter\nupnp_nat_table_name=filter\nupnp_forward_chain=miniupnpd\n\
             upnp_nat_chain=prerouting_miniupnpd\nupnp_nat_postrouting_chain=postrouting_miniupnpd\n\
             uuid=2f3d9c1a-0000-4000-8000-000000000001\n\
             allow 1024-65535 192.168.0.0/16 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
            path("leases"),
        );
        fs::write(path("config"), config).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name(router), "miniupnpd", "-d", "-f", &path("config"), "-P", &path("pid")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.daemons.push(Daemon { child, _folder: folder });
    }

    /// The ports that a router has granted, as its rules say.
    pub(crate) fn granted_ports(&self, router: &str) -> Vec<String> {
        let list = ["nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"];
        let output = Command::new("ip").args(["netns", "exec", &self.name(router)]).args(list).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter_map(|line| line.split_once("dnat ip to ")).map(|(_, to)| to.trim().to_owned()).collect()
    }

    /// A machine behind a router: `192.168.LAN.HOST`, or `2001:db8:LAN::HOST` behind a firewall.
    pub(crate) fn host(&mut self, short: &str, router: &str, lan: u8, host: u8, nat: Nat) {
        let name = self.namespace(short);
        let router = self.name(router);
        let (address, gateway) = match nat {
            Nat::Firewall => {
                (format!("2001:db8:{lan}::{host}/64"), format!("-6 route add default via 2001:db8:{lan}::1"))
            }
            _ => (format!("192.168.{lan}.{host}/24"), format!("route add default via 192.168.{lan}.1")),
        };
        self.run(&format!(
            "ip -n {router} link add l-{short} type veth peer name eth0 netns {name}\n\
             ip -n {router} link set l-{short} master lan up\nip -n {name} link set eth0 up\n\
             ip -n {name} addr add {address} dev eth0\nip -n {name} {gateway}"
        ));
    }

    /// Routes of a machine on the internet to the networks behind IPv6 firewalls.
    pub(crate) fn route6(&self, short: &str, lan: u8, router: &str) {
        self.run(&format!("ip -n {} -6 route add 2001:db8:{lan}::/64 via {router}", self.name(short)));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
        }
        // Last made, first removed; other processes inside have been ended by their handles.
        for name in self.namespaces.iter().rev() {
            let removed = Command::new("ip").args(["netns", "del", name]).status();
            if !removed.is_ok_and(|status| status.success()) {
                eprintln!("namespace {name} was not removed");
            }
        }
    }
}
