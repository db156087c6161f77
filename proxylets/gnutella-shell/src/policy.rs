//! The service's policy as the virtual peer asks for it.

use avp::application::policy::{Answer, Decision, Peer, Policy, Questions, Verdict};
use eep_sdk::policy::{self, Chain, Decisions};

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
        let q = questions.clone();
        answer(policy::decide(&policy::Questions {
            chain: Chain::Access,
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

    fn used(&mut self, generation: u64, outcomes: &[u32], counts: &[u64]) {
        policy::used(generation, outcomes, counts);
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
