//! How a service's policy came to a decision on record, or comes to one about an event.

use policies::proof::given::Given;
use policies::{Chain, Policy};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::audit::Record;
use crate::policy::reading::load_kept;
use crate::policy::service::ServicePolicy;
use crate::problem::Problem;
use crate::state::State;

/// What is to be explained: a decision on record, or an event.
#[derive(Clone, Debug, Default, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Explain {
    /// The id of a decision on record. The generation explains it that made it, with the facts of then.
    pub decision: Option<String>,
    /// An event, as tests of policies have it, in YAML or JSON. The generation in force explains it.
    pub event: Option<String>,
    /// The chain; every chain that the policy speaks of where it is missing. A decision on record has its own.
    pub chain: Option<String>,
}

/// How it is decided.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Explained {
    /// The generation that explains.
    pub generation: u64,
    /// The decision on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// One explanation a chain: the decision, each rule that was tried and what came of it, the facts that were read.
    #[schema(value_type = Vec<Object>)]
    pub explanations: Vec<Value>,
    /// The same in words.
    pub words: String,
}

impl ServicePolicy {
    /// Explains.
    ///
    /// # Errors
    /// No such decision is on record, its generation is no longer kept, or the event is none.
    pub fn explain(&self, state: &State, asked: &Explain) -> Result<Explained, Box<Problem>> {
        match (&asked.decision, &asked.event) {
            (Some(id), None) => self.explain_record(state, id),
            (None, Some(event)) => self.explain_event(event, asked.chain.as_deref()),
            _ => Err(Problem::new("bad-request", 400, "either a decision or an event is explained")
                .at("decision")
                .fix("give `decision` or `event`")),
        }
    }

    fn explain_record(&self, state: &State, id: &str) -> Result<Explained, Box<Problem>> {
        let record = self.audit().find(id).ok_or_else(|| {
            Problem::new("not-found", 404, format!("no decision on record has the id `{id}`")).fix(
                "`eep policy tap SERVICE` shows those of late; older ones are explained from a recording: eep policy \
                 explain FILE --recording RECORDING --id ID",
            )
        })?;
        let number = record.generation;
        let in_force = self.current().filter(|now| now.policy().generation() == number);
        let (former, in_force) = match in_force {
            Some(now) => (None, Some(now)),
            None => {
                let kept = self.history().into_iter().find(|generation| generation.number == number);
                let kept = kept.ok_or_else(|| {
                    Problem::new("no-such-generation", 409, format!("generation {number} is no longer kept"))
                        .fix("explain it from a recording, with the policy of then")
                })?;
                (Some(load_kept(state, &kept)?), None)
            }
        };
        let policy = former.as_ref().or(in_force.as_ref().map(|now| now.policy()));
        let (Some(policy), Some(chain)) = (policy, Chain::of(record.chain)) else {
            return Err(Problem::new("no-policy", 409, "the service has no policy"));
        };
        let given = read(&record.event.to_string(), policy)?;
        Ok(Explained { record: Some(record), ..explained(policy, &[chain], &given) })
    }

    fn explain_event(&self, event: &str, chain: Option<&str>) -> Result<Explained, Box<Problem>> {
        let Some(now) = self.current() else {
            return Err(Problem::new("no-policy", 409, "the service has no policy: nothing is decided")
                .fix("apply one: eep policy apply SERVICE FILE"));
        };
        let policy = now.policy();
        let chains = match chain {
            Some(word) => vec![Chain::of(word).ok_or_else(|| {
                Problem::new("bad-request", 400, format!("there is no chain `{word}`"))
                    .at("chain")
                    .fix(format!("possible here: {}", Chain::ALL.map(Chain::word).join(", ")))
            })?],
            None => Chain::ALL.into_iter().filter(|chain| policy.speaks_of(*chain)).collect(),
        };
        let mut given = read(event, policy)?;
        // What the node knows of a peer by its address alone.
        if let Some((whereabouts, address)) = self.whereabouts().zip(given.event().peer.address) {
            let systems = whereabouts.systems();
            let system = systems.as_ref().and_then(|systems| systems.table.get(address));
            given.locate(system, whereabouts.last_regions().region(Some(address), None));
        }
        Ok(explained(policy, &chains, &given))
    }
}

fn read(event: &str, policy: &Policy) -> Result<Given, Box<Problem>> {
    Given::parse("event", event, policy.budget_names()).map_err(|report| {
        let mut problem = Problem::new("bad-event", 400, "this is no event").at("event");
        if let Some(first) = report.findings.first() {
            problem = Problem::new("bad-event", 400, first.message.clone())
                .at(report.sources.place(first.span))
                .fix(&*first.fix);
        }
        problem.report = Some(report.render(false));
        problem
    })
}

fn explained(policy: &Policy, chains: &[Chain], given: &Given) -> Explained {
    let event = given.event();
    let all: Vec<_> = chains.iter().map(|chain| policy.explain(*chain, &event, given.facts())).collect();
    Explained {
        generation: policy.generation(),
        record: None,
        explanations: all.iter().map(|explanation| explanation.json(policy.budget_names())).collect(),
        words: all.iter().map(ToString::to_string).collect(),
    }
}
