//! One node with a link to where a stream goes, and one to a node that leads there, too.

use std::time::Duration;

use topology::Instant;
use topology::soar::report::{Edge, Message, Report, Sealed};
use topology::soar::{Action, Config, Seal};

use super::*;

struct Trusting;

impl Seal for Trusting {
    fn seal(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn holds(&self, _: NodeId, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

struct Lab {
    soar: Soar,
    ways: Ways,
    zero: Clock,
    now: Instant,
    to: NodeId,
    by: NodeId,
    /// What answers probes, and after how many milliseconds.
    links_ms: BTreeMap<NodeId, u64>,
    /// When which answers come.
    answers: BTreeSet<(Instant, NodeId, u64)>,
    version: u64,
}

impl Lab {
    /// The link costs 1 ms, the detour 10 ms.
    fn new() -> Self {
        let [me, to, by] = [b"me", b"to", b"by"].map(|key| NodeId::of_public_key(key));
        let now = Instant(0);
        // All of them are in one region, whatever their links cost.
        let config = Config { near: vec![Duration::from_secs(2)], ..Config::default() };
        let soar = Soar::new(config, me, Box::new(Trusting), 1, [0; 32], now);
        let links_ms = BTreeMap::from([(to, 1), (by, 5)]);
        let (ways, zero, answers) = (Ways::default(), Clock::now(), BTreeSet::new());
        let mut lab = Self { soar, ways, zero, now, to, by, links_ms, answers, version: 0 };
        lab.soar.link_up(now, to).unwrap();
        lab.soar.link_up(now, by).unwrap();
        lab.carry(8_000, 8_000);
        lab.run(5_000);
        assert_eq!(lab.look(to, 1_000, 0), None);
        lab
    }

    /// What the link and the detour carry, in kbit/s.
    fn carry(&mut self, link_kbps: u32, detour_kbps: u32) {
        let (me, to, by) = (self.soar.me(), self.to, self.by);
        self.soar.throughput(self.now, to, link_kbps);
        self.soar.throughput(self.now, by, detour_kbps);
        self.version += 1;
        let edge = |to, rtt_us, kbps| Edge {
            to,
            rtt_us,
            throughput_kbps: Some(kbps),
            near: true,
            region: None,
            inner: false,
            elected: false,
        };
        let said = [
            (to, [edge(me, 1_000, link_kbps), edge(by, 5_000, detour_kbps)]),
            (by, [edge(me, 5_000, detour_kbps), edge(to, 5_000, detour_kbps)]),
        ];
        for (origin, mut edges) in said {
            edges.sort_by_key(|edge| edge.to);
            let (level, version, edges) = (0, self.version, edges.to_vec());
            let report =
                Report { origin, level, version, region: origin, home: origin, load_milli: 0, edges };
            let sealed = Sealed { report: report.encode(), seal: Vec::new() };
            self.soar.handle_message(self.now, origin, &Message::Reports(vec![sealed]).encode());
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            while let Some(action) = self.soar.poll_action() {
                match action {
                    Action::Probe { to, bytes } => {
                        let Ok(Message::Probe(number)) = Message::decode(&bytes) else { continue };
                        if let Some(ms) = self.links_ms.get(&to) {
                            self.answers.insert((self.now + Duration::from_millis(*ms), to, number));
                        }
                    }
                    Action::Changed => self.ways.forget_routes(),
                    Action::Send { .. } => {}
                }
            }
            let answer = self.answers.first().map(|(at, _, _)| *at);
            let timer = self.soar.poll_timeout();
            let Some(at) = answer.into_iter().chain(timer).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if answer == Some(at) {
                if let Some((_, from, number)) = self.answers.pop_first() {
                    self.soar.handle_message(self.now, from, &Message::Echo(number).encode());
                }
            } else {
                self.soar.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    fn clock(&self) -> Clock {
        self.zero + Duration::from_nanos(self.now.0)
    }

    fn compare(&mut self, in_use: InUse) -> Compared {
        let now = self.clock();
        self.ways.compare(now, &mut self.soar, self.to, in_use, &[])
    }

    /// The neighbour that a stream is to take instead.
    fn look(&mut self, via: NodeId, least_us: u64, carries_kbps: u32) -> Option<NodeId> {
        self.compare(InUse { via, least_us, carries_kbps }).next
    }

    /// A small stream takes whatever is better; the neighbour that it leaves by then.
    fn moved(&mut self, via: NodeId, least_us: u64) -> NodeId {
        let in_use = InUse { via, least_us, carries_kbps: 0 };
        let compared = self.compare(in_use);
        let Some(next) = compared.next else { return via };
        let now = self.clock();
        self.ways.leave(now, self.to, in_use, compared, next);
        next
    }
}

#[test]
fn a_way_that_rests_is_taken_back_where_the_present_one_has_become_bad() {
    let mut lab = Lab::new();
    let (to, by) = (lab.to, lab.by);
    lab.links_ms.insert(to, 200);
    lab.run(2_000);
    assert_eq!(lab.moved(to, 1_000), by);
    lab.links_ms.insert(to, 1);
    lab.run(4_000);
    assert_eq!(lab.moved(by, 10_000), by, "it rests, and the detour is as good as it was");
    lab.links_ms.insert(by, 400);
    lab.run(2_000);
    assert_eq!(lab.moved(by, 10_000), to);
    // And the other way round.
    lab.links_ms.insert(to, 800);
    lab.links_ms.insert(by, 5);
    lab.run(12_000);
    assert_eq!(lab.moved(to, 20_000), by);
}

#[test]
fn a_stream_that_fills_its_way_stays_where_others_carry_no_more() {
    let mut lab = Lab::new();
    let (to, by) = (lab.to, lab.by);
    lab.links_ms.insert(to, 200);
    lab.run(2_000);
    assert_eq!(lab.look(to, 1_000, 10), Some(by), "a small one goes round");
    assert_eq!(lab.look(to, 1_000, 7_000), None, "the one that fills it stays");
    assert_eq!(lab.look(to, 1_000, 3_000), Some(by), "it would be twice as fast");
    lab.carry(8_000, 20_000);
    lab.run(100);
    assert_eq!(lab.look(to, 1_000, 7_000), Some(by));
    // Back from a detour that gains nothing it goes where it is carried as fast.
    let mut lab = Lab::new();
    assert_eq!(lab.look(by, 10_000, 9_000), None);
    assert_eq!(lab.look(by, 10_000, 7_000), Some(to));
    // A way that does not answer is left by all.
    lab.links_ms.remove(&to);
    lab.run(3_000);
    assert_eq!(lab.look(to, 1_000, 7_000), Some(by));
}

/// How often a stream that makes its own way late by 300 ms takes another one within ten minutes.
fn moves_by_its_own_load(carries_kbps: u32) -> u32 {
    let mut lab = Lab::new();
    let (to, by) = (lab.to, lab.by);
    let (mut via, mut least_us, mut moves, mut seen) = (to, u64::MAX, 0, false);
    for _ in 0..6_000 {
        lab.links_ms = BTreeMap::from([(to, 1), (by, 5)]);
        lab.links_ms.entry(via).and_modify(|ms| *ms += 300);
        lab.run(100);
        let in_use = InUse { via, least_us, carries_kbps };
        let compared = lab.compare(in_use);
        least_us = least_us.min(compared.cost_us.unwrap_or(u64::MAX));
        if let Some(next) = compared.next.filter(|_| seen) {
            let now = lab.clock();
            lab.ways.leave(now, to, in_use, compared, next);
            (via, least_us, moves, seen) = (next, u64::MAX, moves + 1, false);
        } else {
            seen = compared.next.is_some();
        }
    }
    moves
}

#[test]
fn what_fills_its_ways_by_itself_does_not_go_to_and_fro() {
    assert_eq!(moves_by_its_own_load(7_000), 0);
    // Streams of which each carries little fill a way together: they rest longer each time.
    let moves = moves_by_its_own_load(10);
    assert!((1..=40).contains(&moves), "{moves} in ten minutes");
}
