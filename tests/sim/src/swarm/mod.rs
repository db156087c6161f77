//! Random scenarios, and the shortest that fails.
//!
//! A scenario is a [`Setup`] and how long it runs; both follow from a seed. What fails is made smaller step by step, as
//! long as it still fails, and printed as a command.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::engine::Dice;
use crate::workload::Preset;
use crate::workload::preset::{Choice, Searches};
use crate::world::{Fault, FaultKind, Setup};

/// How often a run is looked at, in virtual seconds.
const CHECK_EVERY_S: u64 = 20;
/// Runs that shrinking may take.
const SHRINK_RUNS_MAX: usize = 200;
/// Fewest peers and shortest time of a scenario.
const PEERS_MIN: usize = 4;
const SECONDS_MIN: u64 = 60;

/// A setup and how long it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The network.
    pub setup: Setup,
    /// How long, in virtual seconds.
    pub seconds: u64,
}

impl Scenario {
    /// The scenario of a seed, of at most so many peers.
    #[must_use]
    pub fn random(seed: u64, peers_max: usize) -> Self {
        let mut dice = Dice::new(seed, "scenario");
        let mut preset = match dice.below(5) {
            0 => Preset::flood_2001(),
            1 => Preset::seed_4(),
            _ => Preset::modern(),
        };
        if dice.chance(0.5) {
            preset.searches = Searches::Every(5.0 + dice.exponential(60.0));
        }
        preset.choice = [Choice::Random, Choice::Oracle, Choice::Domain][dice.below(3)];
        let peers = PEERS_MIN + dice.below(peers_max.max(PEERS_MIN + 1) - PEERS_MIN);
        let seconds = SECONDS_MIN + dice.below(1_200) as u64;
        let config = serde_json::json!({
            "ultrapeers": 1 + dice.below(32),
            "leaves": dice.below(peers * 2),
            "old-peers": dice.below(20),
            "max-ttl": 2 + dice.below(5),
            "dynamic-queries": dice.below(64),
            "query-routes": 65_536,
            "push-routes": 1_024,
        });
        let mut setup = Setup::new(preset, peers, seed).with_virtual(dice.below(4), config);
        setup.systems = 8 + dice.below(20);
        setup.ramp_s = 1 + dice.below(120) as u64;
        setup.faults = (0..dice.below(4)).map(|_| fault(&mut dice, seconds)).collect();
        setup.shards = 1 + dice.below(3);
        Self { setup, seconds }
    }

    /// Runs it.
    ///
    /// # Errors
    /// What did not hold.
    pub fn run(&self) -> Result<(), String> {
        let run = || {
            let mut world = self.setup.clone().build()?;
            world.run_checked(self.seconds, CHECK_EVERY_S);
            match world.violations() {
                [] => Ok(()),
                [first, ..] => Err(first.to_string()),
            }
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without words")))
        })
    }

    /// The command that runs it again.
    #[must_use]
    pub fn command(&self) -> String {
        let setup = serde_json::to_string(&self.setup).unwrap_or_default();
        format!("eep-sim run --check {CHECK_EVERY_S} --seconds {} --setup '{setup}'", self.seconds)
    }

    /// Scenarios that are a step smaller.
    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut push = |change: &dyn Fn(&mut Self)| {
            let mut one = self.clone();
            change(&mut one);
            if one != *self {
                all.push(one);
            }
        };
        push(&|s| s.seconds = (s.seconds / 2).max(SECONDS_MIN));
        push(&|s| s.setup.peers = (s.setup.peers / 2).max(PEERS_MIN));
        for n in 0..self.setup.faults.len() {
            push(&|s| {
                s.setup.faults.remove(n);
            });
        }
        push(&|s| s.setup.shards = 1);
        push(&|s| s.setup.virtual_peers = s.setup.virtual_peers.saturating_sub(1));
        push(&|s| s.seconds = (s.seconds * 7 / 8).max(SECONDS_MIN));
        push(&|s| s.setup.peers = (s.setup.peers * 7 / 8).max(PEERS_MIN));
        push(&|s| s.setup.preset.life = crate::workload::Life::Forever);
        push(&|s| s.setup.preset.searches = Searches::Never);
        push(&|s| s.setup.config = serde_json::json!({}));
        all
    }
}

fn fault(dice: &mut Dice, seconds: u64) -> Fault {
    let at_s = dice.below(seconds as usize) as u64;
    let until_s = at_s + 1 + dice.below(300) as u64;
    let percent = 1 + dice.below(40) as u8;
    let kind = match dice.below(8) {
        0 => FaultKind::Partition(percent),
        1 => FaultKind::Kill(percent),
        2 => FaultKind::KillVirtual,
        3 => FaultKind::Loss(percent.min(20)),
        4 => FaultKind::Disorder(percent),
        5 => FaultKind::Slow(percent),
        6 => FaultKind::Skew(percent.min(50)),
        _ => FaultKind::Byzantine(percent),
    };
    Fault { at_s, until_s, kind }
}

/// Makes a failing scenario smaller as long as `fails` says that it still does.
pub fn shrink(failing: Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut smallest = failing;
    let mut runs = 0;
    'again: loop {
        for one in smallest.smaller() {
            runs += 1;
            if runs > SHRINK_RUNS_MAX {
                return smallest;
            }
            if fails(&one) {
                smallest = one;
                continue 'again;
            }
        }
        return smallest;
    }
}

/// The smallest scenario that was found to fail as this one does, and what was seen in it.
#[must_use]
pub fn smallest(failing: Scenario) -> (Scenario, String) {
    let smallest = shrink(failing, |s| s.run().is_err());
    let seen = smallest.run().err().unwrap_or_default();
    (smallest, seen)
}

/// Runs the scenarios of these seeds; stops at the first that fails.
///
/// # Errors
/// What did not hold, in the smallest scenario that was found, and the command that shows it.
pub fn run(
    seeds: impl Iterator<Item = u64>,
    peers_max: usize,
    mut progress: impl FnMut(u64),
) -> Result<(), String> {
    for seed in seeds {
        let scenario = Scenario::random(seed, peers_max);
        if let Err(first) = scenario.run() {
            let (smallest, seen) = smallest(scenario);
            return Err(format!("seed {seed}: {first}\nsmallest: {seen}\n{}", smallest.command()));
        }
        progress(seed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_shrunk_to_what_it_needs() {
        let mut scenario = Scenario::random(1, 200);
        scenario.setup.peers = 100;
        scenario.seconds = 900;
        let needed = Fault { at_s: 10, until_s: 20, kind: FaultKind::Kill(7) };
        let other = Fault { kind: FaultKind::Slow(3), ..needed.clone() };
        scenario.setup.faults = vec![other.clone(), needed.clone(), other];
        let smallest =
            shrink(scenario, |s| s.setup.faults.contains(&needed) && s.setup.peers >= 20 && s.seconds >= 200);
        assert_eq!(smallest.setup.faults, [needed]);
        assert!(smallest.setup.peers < 24 && smallest.seconds < 230, "{smallest:?}");
        assert_eq!(smallest.setup.virtual_peers, 0);
    }

    #[test]
    fn a_scenario_survives_its_command() {
        let scenario = Scenario::random(5, 50);
        let json = serde_json::to_string(&scenario.setup).unwrap();
        assert_eq!(serde_json::from_str::<Setup>(&json).unwrap(), scenario.setup);
        assert!(scenario.command().contains(&json));
    }
}
