//! The generations of a service's policy: which is in force, which were, which one is on trial. Time comes from outside.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proxylet::digest::Digest;

/// Where a generation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The operator applied it.
    Applied,
    /// Files of its sets changed on disk.
    Reloaded,
}

/// A policy as it was read, numbered. A number never stands for anything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Generation {
    /// Counts up from 1 for each service.
    pub number: u64,
    /// The policy's name.
    pub policy: String,
    /// The file that it was read from.
    #[schema(value_type = String)]
    pub file: PathBuf,
    /// When it was read, seconds since 1970-01-01T00:00:00Z.
    pub at_s: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// The generation that a rollback goes back to; 0 for none.
    pub before: u64,
    /// SHA-256 of each file that it was read from, by its path in the policy's folder.
    #[schema(value_type = Object)]
    #[serde(with = "digests")]
    pub texts: BTreeMap<String, Digest>,
}

/// What waits for a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trial {
    /// When it ends, seconds since 1970-01-01T00:00:00Z.
    pub until_s: u64,
    /// The generation that is in force then, unless this one is confirmed; 0 for none.
    pub back_to: u64,
}

/// All that is kept of a service's policy, but for the texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The last number that was given.
    pub last: u64,
    /// The generation in force; 0 for none.
    pub in_force: u64,
    /// Whether it waits for a confirmation.
    pub trial: Option<Trial>,
    /// SHA-256 of the files of sets as they lay on disk when they were last taken or passed over: what differs from it
    /// is new.
    #[serde(with = "digests")]
    pub seen: BTreeMap<String, Digest>,
    /// By number.
    pub history: Vec<Generation>,
}

/// What a policy was read from.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The policy's name.
    pub policy: String,
    /// The file.
    pub file: PathBuf,
    /// The file's name in its folder.
    pub main: String,
    /// Digests of all files.
    pub texts: BTreeMap<String, Digest>,
}

/// Why a change of generations makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing is on trial.
    #[error("nothing waits for a confirmation")]
    NoTrial,
    /// The service has no policy.
    #[error("the service has no policy")]
    NoPolicy,
    /// The generation is not kept.
    #[error("generation {0} is not kept")]
    Unknown(u64),
    /// The generation is in force.
    #[error("generation {0} is in force")]
    InForce(u64),
    /// It was the first one.
    #[error("there was no policy before this one")]
    First,
}

impl Kept {
    /// Generations that an operator applied and that are kept.
    pub const APPLIED_MAX: usize = 32;
    /// Generations with reloaded sets that are kept.
    pub const RELOADED_MAX: usize = 4;

    /// A generation.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Generation> {
        self.history.iter().find(|g| g.number == number)
    }

    /// The generation in force.
    #[must_use]
    pub fn current(&self) -> Option<&Generation> {
        self.get(self.in_force)
    }

    /// Puts a policy in force; where it is to be confirmed within so many seconds, what was in force comes back unless
    /// it is. A trial that is under way is over: what it would have gone back to is what this one goes back to.
    pub fn apply(&mut self, reading: Reading, now_s: u64, confirm_s: Option<u64>) {
        let before = self.trial.map_or(self.in_force, |trial| trial.back_to);
        self.seen = reading.texts.iter().filter(|(path, _)| **path != reading.main).map(owned).collect();
        self.push(reading, now_s, Origin::Applied, before);
        self.trial = confirm_s.map(|s| Trial { until_s: now_s.saturating_add(s), back_to: before });
        self.trim();
    }

    /// Puts the policy in force with other sets in force. A trial goes on.
    pub fn reload(&mut self, reading: Reading, now_s: u64) {
        let before = self.current().map_or(0, |g| g.before);
        self.seen = reading.texts.iter().filter(|(path, _)| **path != reading.main).map(owned).collect();
        self.push(reading, now_s, Origin::Reloaded, before);
        self.trim();
    }

    fn push(&mut self, reading: Reading, at_s: u64, origin: Origin, before: u64) {
        self.last += 1;
        let Reading { policy, file, texts, .. } = reading;
        self.history.push(Generation { number: self.last, policy, file, at_s, origin, before, texts });
        self.in_force = self.last;
    }

    /// Keeps what is on trial.
    ///
    /// # Errors
    /// Nothing is.
    pub fn confirm(&mut self) -> Result<(), Refused> {
        self.trial.take().map(|_| ()).ok_or(Refused::NoTrial)
    }

    /// Puts an earlier generation in force again, sets included: the one before, unless another is named; 0 is none.
    /// The files of sets as they lie on disk now are passed over until they change.
    ///
    /// # Errors
    /// There is no such generation, or it is in force.
    pub fn roll_back(&mut self, to: Option<u64>, seen: BTreeMap<String, Digest>) -> Result<(), Refused> {
        let current = self.current().ok_or(Refused::NoPolicy);
        let to = match to {
            Some(to) => to,
            None => match self.trial {
                Some(trial) => trial.back_to,
                None => match current?.before {
                    0 => return Err(Refused::First),
                    before => before,
                },
            },
        };
        if to == self.in_force {
            return Err(Refused::InForce(to));
        }
        if to != 0 && self.get(to).is_none() {
            return Err(Refused::Unknown(to));
        }
        self.in_force = to;
        self.trial = None;
        self.seen = seen;
        Ok(())
    }

    /// Whether the time for a confirmation is over.
    #[must_use]
    pub fn is_overdue(&self, now_s: u64) -> bool {
        self.trial.is_some_and(|trial| trial.until_s <= now_s)
    }

    /// Forgets the oldest generations that are too many, but none that may be needed next.
    fn trim(&mut self) {
        let before = self.current().map_or(0, |g| g.before);
        let needed = [self.in_force, before, self.trial.map_or(0, |t| t.back_to)];
        for (origin, max) in [(Origin::Applied, Self::APPLIED_MAX), (Origin::Reloaded, Self::RELOADED_MAX)] {
            while self.history.iter().filter(|g| g.origin == origin).count() > max {
                let oldest =
                    self.history.iter().position(|g| g.origin == origin && !needed.contains(&g.number));
                let Some(oldest) = oldest else { break };
                self.history.remove(oldest);
            }
        }
    }
}

fn owned((path, digest): (&String, &Digest)) -> (String, Digest) {
    (path.clone(), *digest)
}

/// Digests as hexadecimal digits.
mod digests {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::proxylet::digest::Digest;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<String, Digest>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(path, digest)| (path, digest.to_string())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Digest>, D::Error> {
        let map = BTreeMap::<String, String>::deserialize(d)?;
        map.into_iter()
            .map(|(path, hex)| hex.parse().map(|digest| (path, digest)).map_err(D::Error::custom))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        let texts = [("p.yaml", text), ("lists/a", "set")];
        Reading {
            policy: "p".to_owned(),
            file: "/etc/p.yaml".into(),
            main: "p.yaml".to_owned(),
            texts: texts
                .iter()
                .map(|(path, text)| ((*path).to_owned(), Digest::of(text.as_bytes())))
                .collect(),
        }
    }

    fn none() -> BTreeMap<String, Digest> {
        BTreeMap::new()
    }

    #[test]
    fn unconfirmed_is_not_kept() {
        let mut kept = Kept::default();
        kept.apply(reading("a"), 100, None);
        kept.apply(reading("b"), 200, Some(300));
        assert_eq!((kept.in_force, kept.trial), (2, Some(Trial { until_s: 500, back_to: 1 })));
        assert!(!kept.is_overdue(499) && kept.is_overdue(500));
        // What is applied over a trial goes back to where the trial would have.
        kept.apply(reading("c"), 400, Some(10));
        assert_eq!(kept.trial, Some(Trial { until_s: 410, back_to: 1 }));
        kept.roll_back(None, none()).unwrap();
        assert_eq!((kept.in_force, kept.trial), (1, None));
        assert_eq!(kept.confirm(), Err(Refused::NoTrial));
        // The next number is a new one all the same.
        kept.apply(reading("d"), 500, Some(10));
        assert_eq!(kept.in_force, 4);
        kept.confirm().unwrap();
        assert!(!kept.is_overdue(u64::MAX));
    }

    #[test]
    fn rollbacks_go_back_step_by_step() {
        let mut kept = Kept::default();
        assert_eq!(kept.roll_back(None, none()), Err(Refused::NoPolicy));
        for text in ["a", "b", "c"] {
            kept.apply(reading(text), 0, None);
        }
        assert_eq!(kept.roll_back(Some(3), none()), Err(Refused::InForce(3)));
        assert_eq!(kept.roll_back(Some(9), none()), Err(Refused::Unknown(9)));
        kept.roll_back(None, none()).unwrap();
        assert_eq!(kept.in_force, 2);
        kept.roll_back(None, none()).unwrap();
        assert_eq!(kept.in_force, 1);
        assert_eq!(kept.roll_back(None, none()), Err(Refused::First));
        kept.roll_back(Some(3), none()).unwrap();
        assert_eq!(kept.in_force, 3);
        kept.roll_back(Some(0), none()).unwrap();
        assert_eq!(kept.current(), None);
    }

    #[test]
    fn reloaded_sets_are_a_generation_and_go_back_to_the_policy_before() {
        let mut kept = Kept::default();
        kept.apply(reading("a"), 0, None);
        kept.apply(reading("b"), 10, Some(60));
        kept.reload(reading("b"), 20);
        assert_eq!((kept.in_force, kept.trial.map(|t| t.back_to)), (3, Some(1)));
        kept.confirm().unwrap();
        kept.roll_back(None, none()).unwrap();
        assert_eq!(kept.in_force, 1);
    }

    #[test]
    fn history_is_bounded_and_keeps_what_is_needed() {
        let mut kept = Kept::default();
        kept.apply(reading("a"), 0, None);
        kept.apply(reading("b"), 0, Some(60));
        for _ in 0..100 {
            kept.reload(reading("b"), 0);
        }
        assert_eq!(kept.history.len(), 2 + Kept::RELOADED_MAX);
        for _ in 0..100 {
            kept.apply(reading("c"), 0, Some(60));
        }
        assert_eq!(kept.history.len(), Kept::APPLIED_MAX + Kept::RELOADED_MAX);
        assert!(kept.get(1).is_some() && kept.current().is_some());
        let json = serde_json::to_vec(&kept).unwrap();
        assert_eq!(serde_json::from_slice::<Kept>(&json).unwrap(), kept);
    }
}
