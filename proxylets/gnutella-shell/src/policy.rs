//! The service's policy as the virtual peer asks for it.

use std::time::Duration;

use avp::application::forward::{Avoid, Forward, PREFERENCES_MAX, Preference};
use avp::application::policy::{
    Answer, Decision, Degree, Measured, Peer, Plan, Policy, Questions, Region, Verdict,
};
use avp::host::ConnId;
use eep_sdk::policy::{self, Action, Chain, Decisions};

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
        let (plan, survey) = (policy::planned(), policy::surveyed());
        Plan {
            routes: plan.routes,
            degree: plan.degree.map(|d| Degree { min: d.min, target: d.target, max: d.max }),
            path_length: plan.path_length,
            regions: survey.regions,
            links: survey.links,
        }
    }

    fn regions(&mut self, conns: &[ConnId]) -> Vec<Region> {
        let conns: Vec<u64> = conns.iter().map(|conn| conn.0).collect();
        policy::regions(&conns).into_iter().map(region).collect()
    }

    fn measured(&mut self, links: &[Measured]) -> Vec<Option<f64>> {
        let link = |link: &Measured| policy::Link {
            conn: link.conn.0,
            rtt_ms: link.round_trip.map(|rtt| rtt.as_secs_f64() * 1e3),
            loss: link.loss,
            util: Some(link.load),
            kbit_s: Some(link.bytes_s * 8.0 / 1e3),
        };
        policy::measured(&links.iter().map(link).collect::<Vec<_>>())
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

fn region(region: policy::Region) -> Region {
    match region {
        policy::Region::Same => Region::Same,
        policy::Region::Other => Region::Other,
        policy::Region::Unknown => Region::Unknown,
    }
}

fn forward(to: &policy::Forward) -> Forward {
    let preference = |preference: &policy::Preference| match preference {
        policy::Preference::SameRegion => Preference::SameRegion,
        policy::Preference::LeastLoad => Preference::LeastLoad,
        policy::Preference::LowRtt => Preference::LowRtt,
        policy::Preference::HighThroughput => Preference::HighThroughput,
    };
    let mut prefer = [None; PREFERENCES_MAX];
    for (into, preferred) in prefer.iter_mut().zip(to.prefer.iter().map(preference)) {
        *into = Some(preferred);
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
            regions: avoid.regions.iter().copied().map(region).collect(),
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
