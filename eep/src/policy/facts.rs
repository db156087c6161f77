//! Facts of the node and of the time, taken once a second where a policy asks for them.

use std::fs;

use chrono::{Datelike as _, Timelike as _};
use policies::condition::Formula;
use policies::facts::{Fact, FactSet, Facts};
use policies::model::action::Preference;
use policies::{Action, Chain, Policy};

use crate::observe::figures::Figures;

/// What is counted of a service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    connections: u64,
    neighbours: u64,
}

impl Counted {
    pub(crate) fn of(figures: &Figures) -> Self {
        Self { connections: figures.connections.get(), neighbours: figures.neighbours.get() }
    }
}

/// Takes the facts that a policy may read.
#[derive(Debug, Default)]
pub(crate) struct Taker {
    /// Busy and total processor time at the last look, in ticks.
    cpu: Option<(u64, u64)>,
    /// The uplink's bytes and when they were read, nanoseconds.
    uplink: Option<(u64, u64)>,
}

impl Taker {
    /// Those of the wanted facts that are known now.
    pub(crate) fn take(&mut self, wanted: FactSet, now_ns: u64, counted: Counted) -> Facts {
        let mut facts = Facts::default();
        let local = chrono::Local::now();
        facts.set(Fact::HOUR, local.hour().into());
        facts.set(Fact::MINUTE, local.minute().into());
        facts.set(Fact::WEEKDAY, local.weekday().number_from_monday().into());
        facts.set(Fact::UNIX, local.timestamp() as f64);
        facts.set(Fact::CONNECTIONS, counted.connections as f64);
        facts.set(Fact::DEGREE, counted.neighbours as f64);
        let mut put = |fact: Fact, take: &mut dyn FnMut() -> Option<f64>| {
            if wanted.contains(fact)
                && let Some(value) = take()
            {
                facts.set(fact, value);
            }
        };
        put(Fact::CPU, &mut || self.cpu());
        put(Fact::MEMORY, &mut memory);
        put(Fact::UPLINK, &mut || self.uplink(now_ns));
        facts
    }

    /// Share of the machine's processors that was used since the last look (proc_stat(5)).
    fn cpu(&mut self) -> Option<f64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let ticks: Vec<u64> =
            stat.lines().next()?.split_ascii_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        let total: u64 = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        let (busy_before, total_before) = self.cpu.replace((total - idle, total))?;
        let passed = total.checked_sub(total_before).filter(|n| *n > 0)?;
        Some((total - idle).saturating_sub(busy_before) as f64 / passed as f64)
    }

    /// Share of the link behind the default route that was used since the last look, the busier of both ways.
    fn uplink(&mut self, now_ns: u64) -> Option<f64> {
        let routes = fs::read_to_string("/proc/net/route").ok()?;
        let device = routes.lines().skip(1).find_map(|line| {
            let mut parts = line.split_ascii_whitespace();
            let device = parts.next()?;
            (parts.next()? == "00000000").then_some(device)
        })?;
        let read = |name: &str| -> Option<u64> {
            fs::read_to_string(format!("/sys/class/net/{device}/{name}")).ok()?.trim().parse().ok()
        };
        let bytes = read("statistics/rx_bytes")?.max(read("statistics/tx_bytes")?);
        // Megabits a second; virtual devices do not know.
        let speed = read("speed").filter(|mbit| *mbit > 0)?;
        let (before, at_ns) = self.uplink.replace((bytes, now_ns))?;
        let passed_s = now_ns.saturating_sub(at_ns) as f64 / 1e9;
        let can = speed as f64 * 1e6 / 8.0 * passed_s;
        (can > 0.0).then(|| bytes.saturating_sub(before) as f64 / can)
    }
}

/// All facts that a policy may read: its rules and alarms, and what it says of classes, budgets, routes and links.
pub(crate) fn wanted(policy: &Policy) -> FactSet {
    let pairs = Chain::ALL.into_iter().flat_map(|c| policies::event::Message::ALL.map(|m| (c, m)));
    let rules = pairs.fold(FactSet::default(), |all, (chain, message)| all.and(policy.needs(chain, message)));
    let alarms = policy.alarms().iter().fold(rules, |all, alarm| all.and(alarm.when.facts()));
    let others = [
        // What classes are sure to get depends on whether the uplink is full.
        (Fact::UPLINK, !policy.classes().is_empty()),
        (Fact::REGION, asks_for_regions(policy)),
    ];
    let others: FactSet = others.into_iter().filter(|(_, wanted)| *wanted).map(|(fact, _)| fact).collect();
    alarms
        .and(others)
        .and(policy.needs_of_budgets())
        .and(policy.link_cost().map(Formula::facts).unwrap_or_default())
}

/// Whether it says of a region that searches go there first, or do not go there.
pub(crate) fn asks_for_regions(policy: &Policy) -> bool {
    policy.outcomes().any(|outcome| match outcome.action {
        Action::Forward(to) => to.prefer.contains(&Preference::SameRegion) || !to.avoid.regions.is_empty(),
        _ => false,
    })
}

/// Share of the machine's memory that is used (proc_meminfo(5)).
fn memory() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |key: &str| -> Option<f64> {
        text.lines().find_map(|l| l.strip_prefix(key))?.split_ascii_whitespace().next()?.parse().ok()
    };
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    (total > 0.0).then(|| 1.0 - available / total)
}
