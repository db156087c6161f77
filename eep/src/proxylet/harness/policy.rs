//! The capability `policy` of a service without a policy: everything may pass.

use policies::event::{Direction, Message};

use crate::host::bindings::eep::proxylet::policy::{
    self, Decisions, Link, Outcome, Peer, Plan, Questions, Region, Survey,
};
use crate::proxylet::harness::capabilities::TestHost;

/// So many times yes, of no generation.
fn yes(rows: usize) -> Decisions {
    Decisions { generation: 0, verdicts: vec![0; rows], outcomes: vec![u32::MAX; rows] }
}

impl policy::Host for TestHost {
    fn generation(&mut self) -> u64 {
        0
    }

    fn planned(&mut self) -> Plan {
        Plan { routes: false, degree: None, path_length: None }
    }

    fn surveyed(&mut self) -> Survey {
        Survey { regions: false, links: false }
    }

    fn regions(&mut self, conns: Vec<u64>) -> Vec<Region> {
        vec![Region::Unknown; conns.len()]
    }

    fn measured(&mut self, links: Vec<Link>) -> Vec<Option<f64>> {
        vec![None; links.len()]
    }

    fn meet(&mut self, peers: Vec<Peer>) -> Decisions {
        yes(peers.len() * Message::ALL.len() * Direction::ALL.len())
    }

    fn decide(&mut self, questions: Questions) -> Decisions {
        yes(questions.conns.len())
    }

    fn used(&mut self, _: u64, _: Vec<u32>, _: Vec<u64>) {}

    fn describe(&mut self, _: u32) -> Option<Outcome> {
        None
    }
}
