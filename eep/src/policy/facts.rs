//! Facts of the node and of the time, taken once a second where a policy asks for them.

use std::fs;

use chrono::{Datelike as _, Timelike as _};
use policies::facts::{Fact, FactSet, Facts};
use policies::{Chain, Policy};

/// Takes the facts that a policy may read.
#[derive(Debug, Default)]
pub(crate) struct Taker {
    /// Busy and total processor time at the last look, in ticks.
    cpu: Option<(u64, u64)>,
    /// The uplink's bytes and when they were read, nanoseconds.
    uplink: Option<(u64, u64)>,
}

impl Taker {
    /// The facts of now. `connections` are those of the service.
    pub(crate) fn take(&mut self, policy: &Policy, now_ns: u64, connections: usize) -> Facts {
        let wanted = wanted(policy);
        let mut facts = Facts::default();
        let local = chrono::Local::now();
        facts.set(Fact::HOUR, local.hour().into());
        facts.set(Fact::MINUTE, local.minute().into());
        facts.set(Fact::WEEKDAY, local.weekday().number_from_monday().into());
        facts.set(Fact::UNIX, local.timestamp() as f64);
        facts.set(Fact::CONNECTIONS, connections as f64);
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

/// All facts that any rule or alarm may read.
fn wanted(policy: &Policy) -> FactSet {
    let pairs = Chain::ALL.into_iter().flat_map(|c| policies::event::Message::ALL.map(|m| (c, m)));
    // What classes are sure to get depends on whether the uplink is full.
    let classes = (!policy.classes().is_empty()).then_some(Fact::UPLINK).into_iter().collect::<FactSet>();
    let rules = pairs.fold(classes, |all, (chain, message)| all.and(policy.needs(chain, message)));
    policy.alarms().iter().fold(rules, |all, alarm| all.and(alarm.when.facts()))
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
