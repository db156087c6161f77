//! The capability `policy`: decisions for proxylets that ask.

use policies::event::{Content, Direction, Figures, Message, Region};
use policies::facts::Fact;
use policies::model::action::{Preference, Within};
use policies::{Action, Chain, Event, Policy};

use crate::host::Host;
use crate::host::bindings::eep::proxylet::policy::{
    self, Decisions, Link, Outcome, Peer, Plan, Questions, Survey,
};
use crate::host::enforce::{At, Known, Met, Verdict};
use crate::host::measured::Measured;
use crate::policy::facts::{asks_for_regions, wanted};

/// The most bytes of a group's name and of a user agent that are kept for a connection.
const MET_BYTES_MAX: usize = 256;
/// Bytes of a SHA-1.
const SHA1_BYTES: usize = 20;

impl policy::Host for Host {
    fn generation(&mut self) -> u64 {
        self.env.policy.borrow().generation()
    }

    fn planned(&mut self) -> Plan {
        match self.env.policy.borrow().in_force() {
            Some(now) => plan(now.policy()),
            None => Plan { routes: false, degree: None, path_length: None },
        }
    }

    fn surveyed(&mut self) -> Survey {
        match self.env.policy.borrow().in_force() {
            Some(now) => survey(now.policy()),
            None => Survey { regions: false, links: false },
        }
    }

    fn regions(&mut self, conns: Vec<u64>) -> Vec<policy::Region> {
        let at = At::of(&self.env);
        let (net, mut enforcer) = (self.env.net.borrow(), self.env.policy.borrow_mut());
        conns.into_iter().map(|conn| region(&enforcer.region(at, &net.peer(conn)))).collect()
    }

    fn measured(&mut self, links: Vec<Link>) -> Vec<Option<f64>> {
        let at = At::of(&self.env);
        let mut net = self.env.net.borrow_mut();
        let mut enforcer = self.env.policy.borrow_mut();
        let cost = |link: Link| {
            net.measure(link.conn, Measured::of(&link));
            enforcer.cost(at, &net.peer(link.conn))
        };
        links.into_iter().map(cost).collect()
    }

    fn meet(&mut self, peers: Vec<Peer>) -> Decisions {
        let at = At::of(&self.env);
        let mut net = self.env.net.borrow_mut();
        let mut enforcer = self.env.policy.borrow_mut();
        let rows = peers.len() * Message::ALL.len() * Direction::ALL.len();
        let mut out = Answer::new(enforcer.generation(), rows);
        for peer in peers {
            let met = Met { group: cut(peer.group), user_agent: cut(peer.user_agent) };
            let known = Known { met: Some(&met), ..net.peer(peer.conn) };
            for message in Message::ALL {
                for direction in Direction::ALL {
                    out.push(if message == Message::Connect && direction == known.direction {
                        enforcer.connects(at, &known)
                    } else {
                        enforcer.settled(message, direction, &known)
                    });
                }
            }
            net.meet(at, peer.conn, met, &mut enforcer);
        }
        out.finish()
    }

    fn decide(&mut self, questions: Questions) -> Decisions {
        let at = At::of(&self.env);
        let net = self.env.net.borrow();
        let mut enforcer = self.env.policy.borrow_mut();
        let contents = Contents::new(&questions);
        let chain = Chain::ALL[questions.chain as usize];
        let mut out = Answer::new(enforcer.generation(), questions.conns.len());
        for (row, conn) in questions.conns.iter().enumerate() {
            let of = |column: &[u8]| column.get(row).copied();
            let Some(message) = of(&questions.messages).and_then(|n| Message::ALL.get(usize::from(n))) else {
                out.push((Verdict::Go, u32::MAX));
                continue;
            };
            let outbound = of(&questions.directions) == Some(1);
            let known = enforcer.event(&net.peer(*conn));
            let event = Event {
                message: *message,
                direction: if outbound { Direction::Outbound } else { Direction::Inbound },
                content: contents.get(questions.contents.get(row).copied().unwrap_or(0), *message),
                figures: Figures {
                    ttl: of(&questions.ttls),
                    hops: of(&questions.hops),
                    bytes: questions.sizes.get(row).copied(),
                    peer_messages_per_s: questions.rates.get(row).copied(),
                    ..known.figures
                },
                ..known
            };
            out.push(enforcer.decide(at, chain, &event));
        }
        out.finish()
    }

    fn used(&mut self, generation: u64, outcomes: Vec<u32>, counts: Vec<u64>) {
        let enforcer = self.env.policy.borrow();
        if let Some(now) = enforcer.of_generation(generation) {
            for (outcome, count) in outcomes.into_iter().zip(counts) {
                now.add(outcome, count);
            }
        }
    }

    fn describe(&mut self, number: u32) -> Option<Outcome> {
        let now = self.env.policy.borrow().in_force()?;
        let outcome = now.policy().outcome(number)?;
        let chain = match outcome.chain {
            Chain::Access => policy::Chain::Access,
            Chain::Routing => policy::Chain::Routing,
            Chain::Cache => policy::Chain::Cache,
            Chain::Traffic => policy::Chain::Traffic,
        };
        let rule = outcome.rule.map(str::to_owned);
        Some(Outcome { chain, rule, action: action(outcome.action), shadow: outcome.shadow })
    }
}

fn action(action: &Action) -> policy::Action {
    match action {
        Action::Allow => policy::Action::Allow,
        Action::Deny { reason } => policy::Action::Deny(reason.clone()),
        Action::Drop { reason } => policy::Action::Drop(reason.clone()),
        Action::Forward(forward) => policy::Action::Forward(policy::Forward {
            fanout: forward.fanout,
            ttl: forward.ttl,
            prefer: forward.prefer.iter().map(preference).collect(),
            avoid: policy::Avoid {
                util_over: forward.avoid.util_over,
                loss_over: forward.avoid.loss_over,
                rtt_over_s: forward.avoid.rtt_over_s,
                regions: forward.avoid.regions.iter().map(region).collect(),
            },
        }),
        Action::Store { ttl_s, aggregate } => {
            policy::Action::Store(policy::Store { ttl_s: *ttl_s, aggregate: *aggregate })
        }
        Action::Localize { copies, within: Within::Region | Within::Node, ttl_s } => {
            policy::Action::Localize((*copies, *ttl_s))
        }
        Action::Pass => policy::Action::Pass,
        Action::Class(name) => policy::Action::Class(name.clone()),
        Action::Unclassed => policy::Action::Unclassed,
    }
}

fn region(region: &Region) -> policy::Region {
    match region {
        Region::Same => policy::Region::Same,
        Region::Other => policy::Region::Other,
        Region::Unknown => policy::Region::Unknown,
    }
}

fn plan(policy: &Policy) -> Plan {
    let shadow = policy.is_shadow();
    let degree = policy.degree().filter(|_| !shadow);
    Plan {
        routes: policy.speaks_of(Chain::Routing),
        degree: degree.map(|d| policy::Degree { min: d.min, target: d.target, max: d.max }),
        path_length: policy.path_length_max().filter(|_| !shadow),
    }
}

/// What a policy reads of peers beside what is asked.
fn survey(policy: &Policy) -> Survey {
    const OF_LINKS: [Fact; 5] = [Fact::LINK, Fact::RTT, Fact::LOSS, Fact::UTIL, Fact::THROUGHPUT];
    let reads = wanted(policy);
    Survey { regions: asks_for_regions(policy), links: OF_LINKS.into_iter().any(|fact| reads.contains(fact)) }
}

fn preference(preference: &Preference) -> policy::Preference {
    match preference {
        Preference::SameRegion => policy::Preference::SameRegion,
        Preference::LeastLoad => policy::Preference::LeastLoad,
        Preference::LowRtt => policy::Preference::LowRtt,
        Preference::HighThroughput => policy::Preference::HighThroughput,
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MET_BYTES_MAX));
    text
}

/// An answer in the making.
struct Answer(Decisions);

impl Answer {
    fn new(generation: u64, rows: usize) -> Self {
        Self(Decisions { generation, verdicts: Vec::with_capacity(rows), outcomes: Vec::with_capacity(rows) })
    }

    fn push(&mut self, (verdict, outcome): (Verdict, u32)) {
        self.0.verdicts.push(verdict as u8);
        self.0.outcomes.push(outcome);
    }

    fn finish(self) -> Decisions {
        self.0
    }
}

/// The contents that a batch of questions is about.
struct Contents<'a> {
    questions: &'a Questions,
    texts: Vec<&'a str>,
    types: Vec<Option<String>>,
}

impl<'a> Contents<'a> {
    fn new(questions: &'a Questions) -> Self {
        let mut rest = questions.text.as_slice();
        let mut texts = Vec::with_capacity(questions.text_lens.len());
        for len in &questions.text_lens {
            let (text, after) = rest.split_at(rest.len().min(*len as usize));
            rest = after;
            // Text that is no text matches no words.
            texts.push(std::str::from_utf8(text).unwrap_or_default());
        }
        let types = texts.iter().map(|text| ending(text)).collect();
        Self { questions, texts, types }
    }

    /// The contents with this number; `message` says whether they are a file's or a search's.
    fn get(&self, number: u32, message: Message) -> Content<'_> {
        let Some(at) = (number as usize).checked_sub(1) else { return Content::default() };
        let digest = self.questions.sha1s.get(at * SHA1_BYTES..).and_then(|d| d.first_chunk::<SHA1_BYTES>());
        let file_type = self.types.get(at).and_then(Option::as_deref);
        Content {
            text: self.texts.get(at).copied().unwrap_or_default(),
            sha1: digest.copied().filter(|digest| *digest != [0; SHA1_BYTES]),
            // The last word of a search is no ending.
            file_type: file_type.filter(|_| message != Message::Query),
            bytes: self.questions.file_sizes.get(at).copied().filter(|n| *n != u64::MAX),
        }
    }
}

/// The ending of a file's name, in lower case.
fn ending(name: &str) -> Option<String> {
    let (_, ending) = name.rsplit_once('.')?;
    (!ending.is_empty() && ending.len() <= 16).then(|| ending.to_lowercase())
}
