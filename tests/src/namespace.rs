//! A network of a test's own.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace that the calling thread, the threads that it starts from now on and their child processes live
/// in. Removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose loopback device has these addresses too, and enters it.
    ///
    /// # Panics
    /// Where this is not allowed: it needs root and iproute2.
    #[must_use]
    pub fn enter(addresses: &[Ipv4Addr]) -> Self {
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
        let namespace = Self { name: format!("eep-test-{}-{thread}", std::process::id()) };
        // The first one that a machine makes also mounts the folder of all names.
        static MAKES: Mutex<()> = Mutex::new(());
        let _makes = MAKES.lock().unwrap_or_else(PoisonError::into_inner);
        ip(&["netns", "add", &namespace.name]);
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        for address in addresses {
            ip(&["-n", &namespace.name, "addr", "add", &format!("{address}/24"), "dev", "lo"]);
        }
        enter(&namespace.name);
        namespace
    }
}

fn enter(name: &str) {
    let file = File::open(format!("/run/netns/{name}")).expect("just made");
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("as root");
}

/// Machines on one network of their own, 10.80.0.0/24: a network namespace each, around a bridge. Removed when dropped.
#[derive(Debug)]
pub struct Machines {
    hub: String,
    names: Vec<String>,
}

impl Machines {
    /// Makes so many, at most 250.
    ///
    /// # Panics
    /// Where this is not allowed: it needs root and iproute2.
    #[must_use]
    pub fn new(count: u8) -> Self {
        let own = format!("eep-net-{}", std::process::id());
        let mut machines = Self { hub: format!("{own}-hub"), names: Vec::new() };
        let hub = machines.hub.clone();
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &hub, "link", "set", "br0", "up"]);
        for i in 0..count {
            let (name, port) = (format!("{own}-{i}"), format!("p{i}"));
            machines.names.push(name.clone());
            ip(&["netns", "add", &name]);
            let to_hub = ["peer", "name", &port, "netns", &hub];
            ip(&[&["link", "add", "eth0", "netns", &name, "type", "veth"], &to_hub[..]].concat());
            ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["-n", &name, "addr", "add", &format!("{}/24", Self::address(i)), "dev", "eth0"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
        }
        machines
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(machine: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 80, 0, machine + 1)
    }

    /// Does something on a machine. The threads and processes that it starts stay there.
    ///
    /// # Panics
    /// Where it does.
    pub fn on<T: Send>(&self, machine: u8, act: impl FnOnce() -> T + Send) -> T {
        let name = &self.names[usize::from(machine)];
        let done = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(name);
                act()
            });
            thread.join()
        });
        match done {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Lets nothing pass between two machines any more.
    pub fn cut(&self, a: u8, b: u8) {
        for (from, to) in [(a, b), (b, a)] {
            let name = &self.names[usize::from(from)];
            ip(&["-n", name, "route", "add", "blackhole", &format!("{}/32", Self::address(to))]);
        }
    }

    /// Lets everything pass again between two machines that were cut.
    pub fn heal(&self, a: u8, b: u8) {
        for (from, to) in [(a, b), (b, a)] {
            let name = &self.names[usize::from(from)];
            ip(&["-n", name, "route", "del", "blackhole", &format!("{}/32", Self::address(to))]);
        }
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for name in self.names.iter().chain([&self.hub]) {
            Command::new("ip").args(["netns", "del", name]).status().ok();
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What still runs in it keeps it alive; its name goes.
        Command::new("ip").args(["netns", "del", &self.name]).status().ok();
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    let status = status.unwrap_or_else(|e| panic!("ip: {e}. Install it with `apt-get install iproute2`"));
    assert!(status.success(), "ip {}: {status}. Namespaces need root", arguments.join(" "));
}
