//! The policy language of eep.

use policies::event::{Content, Message, Peer};
use policies::facts::Fact;
use policies::{Action, Chain, Event, Facts, Policy};

use crate::scenario::{Given, Scenario};

pub(crate) struct Engine<'g> {
    policy: Policy,
    events: Vec<(Event<'g>, Facts)>,
}

impl<'g> Engine<'g> {
    pub(crate) fn new(scenario: &Scenario, given: &'g [Given]) -> Self {
        let policy = Policy::load(&scenario.files(true), "bench.yaml", 1).expect("a policy").policy;
        let event = |given: &'g Given| {
            let mut facts = Facts::default();
            facts.set(Fact::UPLINK, given.util as f64 / 100.0);
            facts.set(Fact::HOUR, given.hour as f64);
            let event = Event {
                message: Message::of(given.message).expect("a kind of message"),
                peer: Peer { address: Some(given.address), ..Peer::default() },
                content: Content { text: &given.text, ..Content::default() },
                ..Event::default()
            };
            (event, facts)
        };
        Self { policy, events: given.iter().map(event).collect() }
    }

    pub(crate) fn allows(&self, n: usize) -> bool {
        let (event, facts) = &self.events[n];
        *self.policy.decide(Chain::Access, event, facts).action == Action::Allow
    }
}
