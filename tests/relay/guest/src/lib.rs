//! The relay scenarios as a proxylet. A batch with one reception says what to do: the first byte is the scenario's
//! number, the second is 0 to prepare a round and 1 to run it.

use eep_relay::{Round, Scenario};
use eep_sdk::{Event, Events, Instant, Proxylet};

struct Relay(Vec<Round>);

impl Proxylet for Relay {
    fn start(_now: Instant, _config: &str) -> Result<Self, String> {
        Ok(Self(Scenario::ALL.into_iter().map(Round::new).collect()))
    }

    fn handle(&mut self, _now: Instant, events: Events<'_>) {
        for event in events {
            if let Event::Received { bytes: &[scenario, what], .. } = event
                && let Some(round) = self.0.get_mut(usize::from(scenario))
            {
                match what {
                    0 => round.prepare(),
                    _ => round.run(),
                }
            }
        }
    }
}

eep_sdk::proxylet!(Relay, manifest = "../proxylet.json");
