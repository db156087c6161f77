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
        let file = File::open(format!("/run/netns/{}", namespace.name)).expect("just made");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("as root");
        namespace
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
