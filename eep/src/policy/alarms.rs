//! Alarms of a policy: how they stand, from one look to the next.

use policies::event::Scope;
use policies::facts::Facts;
use policies::model::alarm::{Level, State};
use policies::{Event, Policy};
use serde::Serialize;

use crate::policy::service::Told;

/// An alarm as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AlarmView {
    /// Its name.
    pub id: String,
    /// `info`, `warning` or `critical`.
    pub severity: &'static str,
    /// Since when its condition holds, seconds since 1970-01-01T00:00:00Z, where it is raised.
    pub raised_since_s: Option<f64>,
    /// What it means and what to do.
    pub about: String,
}

/// The alarms of one generation.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    generation: u64,
    states: Vec<State>,
}

impl Alarms {
    /// Looks at all of them; what to tell.
    pub(crate) fn look(&mut self, policy: &Policy, facts: &Facts, now_s: u64) -> Vec<Told> {
        if self.generation != policy.generation() {
            *self = Self { generation: policy.generation(), states: Vec::new() };
        }
        self.states.resize(policy.alarms().len(), State::Quiet);
        let event = Event::default();
        let scope = Scope { event: &event, facts };
        let mut told = Vec::new();
        for (alarm, state) in policy.alarms().iter().zip(&mut self.states) {
            // What cannot be known leaves it as it is.
            let Ok(next) = alarm.look(*state, now_s as f64, &scope) else { continue };
            let (was, is) = (is_raised(*state), is_raised(next));
            *state = next;
            let about = if alarm.about.is_empty() { String::new() } else { format!(": {}", alarm.about) };
            let line = match (was, is) {
                (false, true) => format!("alarm `{}` ({}){about}", alarm.id, alarm.level.word()),
                (true, false) => format!("alarm `{}` is over", alarm.id),
                _ => continue,
            };
            told.push(if is && alarm.level != Level::Info { Told::Warn(line) } else { Told::Info(line) });
        }
        told
    }

    /// All of them as they stand.
    pub(crate) fn view(&self, policy: &Policy) -> Vec<AlarmView> {
        let states = if self.generation == policy.generation() { self.states.as_slice() } else { &[] };
        let all = policy.alarms().iter().enumerate();
        all.map(|(i, alarm)| AlarmView {
            id: alarm.id.clone(),
            severity: alarm.level.word(),
            raised_since_s: match states.get(i) {
                Some(State::Raised { since_s }) => Some(*since_s),
                _ => None,
            },
            about: alarm.about.clone(),
        })
        .collect()
    }
}

fn is_raised(state: State) -> bool {
    matches!(state, State::Raised { .. })
}
