//! The service's policy as the virtual peer asks for it.

use std::time::Duration;

use avp::application::forward::{Avoid, Forward, PREFERENCES_MAX, Preference};
use avp::application::policy::{Answer, Decision, Degree, Peer, Plan, Policy, Questions, Verdict};
use eep_sdk::policy::{self, Action, Chain, Decisions, Region};

/// Answers with the node's capability.
#[derive(Debug)]
pub(crate) struct NodePolicy;

impl Policy for NodePolicy {
    fn generation(&mut self) -> u64 {
        policy::generation()
    }

    fn meet(&mut self, peers: &[Peer<'_>]) -> Answer {
        let peer = |p: &Peer<'_>| policy::Peer {
            conn: p.conn.0,
            group: p.group.to_owned(),
            user_agent: p.user_agent.to_owned(),
        };
        answer(policy::meet(&peers.iter().map(peer).collect::<Vec<_>>()))
    }

    fn decide(&mut self, questions: &Questions) -> Answer {
        ask(Chain::Access, questions)
    }

    fn plan(&mut self) -> Plan {
        let plan = policy::planned();
        Plan {
            routes: plan.routes,
            degree: plan.degree.map(|d| Degree { min: d.min, target: d.target, max: d.max }),
            path_length: plan.path_length,
        }
    }

    fn route(&mut self, questions: &Questions) -> Answer {
        ask(Chain::Routing, questions)
    }

    fn forward(&mut self, outcome: u32) -> Option<Forward> {
        let outcome = policy::describe(outcome).filter(|outcome| !outcome.shadow)?;
        match outcome.action {
            Action::Forward(to) => Some(forward(&to)),
            _ => None,
        }
    }

    fn used(&mut self, generation: u64, outcomes: &[u32], counts: &[u64]) {
        policy::used(generation, outcomes, counts);
    }
}

fn ask(chain: Chain, questions: &Questions) -> Answer {
    let q = questions.clone();
    answer(policy::decide(&policy::Questions {
        chain,
        conns: q.conns,
        messages: q.messages,
        directions: q.directions,
        contents: q.contents,
        ttls: q.ttls,
        hops: q.hops,
        sizes: q.sizes,
        rates: q.rates,
        text_lens: q.text_lens,
        text: q.text,
        sha1s: q.sha1s,
        file_sizes: q.file_sizes,
    }))
}

/// What the policy says, as far as a virtual peer knows its neighbours: it knows of none in which region it is, so none is
/// preferred for that.
fn forward(to: &policy::Forward) -> Forward {
    let preference = |preference: &policy::Preference| match preference {
        policy::Preference::SameRegion => None,
        policy::Preference::LeastLoad => Some(Preference::LeastLoad),
        policy::Preference::LowRtt => Some(Preference::LowRtt),
        policy::Preference::HighThroughput => Some(Preference::HighThroughput),
    };
    let mut prefer = [None; PREFERENCES_MAX];
    for (into, known) in prefer.iter_mut().zip(to.prefer.iter().filter_map(preference)) {
        *into = Some(known);
    }
    let avoid = &to.avoid;
    Forward {
        fanout: to.fanout,
        ttl: to.ttl,
        prefer,
        avoid: Avoid {
            load_over: avoid.util_over,
            loss_over: avoid.loss_over,
            round_trip_over: avoid.rtt_over_s.and_then(|s| Duration::try_from_secs_f64(s).ok()),
            unknown_region: avoid.regions.contains(&Region::Unknown),
        },
    }
}

fn answer(decisions: Decisions) -> Answer {
    let verdict = |number: u8| match policy::Verdict::of(number) {
        policy::Verdict::Go => Verdict::Go,
        policy::Verdict::Deny => Verdict::Deny,
        policy::Verdict::Drop => Verdict::Drop,
        policy::Verdict::Ask => Verdict::Ask,
    };
    let Decisions { generation, verdicts, outcomes } = decisions;
    let each = verdicts.into_iter().zip(outcomes);
    let decisions = each.map(|(number, outcome)| Decision { verdict: verdict(number), outcome }).collect();
    Answer { generation, decisions }
}
