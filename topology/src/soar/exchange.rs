//! Reports come in, are checked, kept and passed on to those whom they concern.

use super::report::{Message, Name, Report, Sealed};
use super::{Held, Soar};
use crate::id::NodeId;
use crate::time::Instant;

impl Soar {
    /// A report that a neighbour passed on.
    pub(super) fn news(&mut self, now: Instant, from: NodeId, sealed: Sealed) {
        let Ok(report) = Report::decode(&sealed.report, self.config.edges_max) else {
            self.stats.malformed += 1;
            return;
        };
        let key = (report.level, report.origin);
        let Some(level) = self.levels.get_mut(usize::from(report.level)) else {
            self.stats.unknown_kinds += 1;
            return;
        };
        let known = level.get(&report.origin).map(|r| r.version);
        let gone = self.forgotten.get(&key).map(|(version, _)| *version);
        if known.max(gone).is_some_and(|version| report.version <= version) {
            self.stats.stale += 1;
            return;
        }
        if !self.seal.holds(report.origin, &sealed.report, &sealed.seal) {
            self.stats.forged += 1;
            return;
        }
        if report.origin == self.me {
            // From before we were started again: what we say now must be newer.
            self.last_version = self.last_version.max(report.version);
            level.remove(&report.origin);
            return self.soon(now);
        }
        if known.is_none() && self.held.len() >= self.config.reports_max {
            self.stats.no_room += 1;
            return;
        }
        if report.level == 0 && report.origin == from {
            self.notice_lie(&report);
        }
        level_insert(&mut self.levels, report);
        self.held.insert(key, Held { sealed, at: now });
        self.fresh.insert(key, from);
        self.soon(now);
    }

    fn notice_lie(&mut self, report: &Report) {
        let claimed = report.edge(self.me).map(|e| e.rtt_us);
        let measured = self.links.get(&report.origin).and_then(|l| l.least_us());
        if let (Some(claimed), Some(measured)) = (claimed, measured)
            && claimed < measured / 2
        {
            self.stats.lying += 1;
        }
    }

    /// A neighbour says what it has: it gets what is newer here.
    pub(super) fn compare(&mut self, from: NodeId, names: &[Name], answer: bool) {
        let theirs: std::collections::BTreeMap<(u8, NodeId), u64> =
            names.iter().map(|n| ((n.level, n.origin), n.version)).collect();
        let mut newer = Vec::new();
        for (key, held) in &self.held {
            let version = self.levels[usize::from(key.0)].get(&key.1).map(|r| r.version);
            if self.concerns(from, *key) && version > theirs.get(key).copied() {
                newer.push(held.sealed.clone());
            }
        }
        for message in Message::reports(newer) {
            self.send(from, message);
        }
        if answer {
            self.tell_all(from, false);
        }
    }

    /// Whether a neighbour is to be told of a report: of our own always, of others on the levels on which it shares
    /// our region.
    pub(super) fn concerns(&self, peer: NodeId, (level, origin): (u8, NodeId)) -> bool {
        let level = usize::from(level);
        if origin == self.me || level == self.top() {
            return origin != peer;
        }
        let members = &self.members[level];
        let shares = self.members[..=level].iter().any(|m| m.contains(&peer));
        shares && members.contains(&origin) && origin != peer
    }

    /// Tells a neighbour which reports are here that concern it.
    pub(super) fn tell_all(&mut self, peer: NodeId, answer: bool) {
        let held = self.held.keys().filter(|key| self.concerns(peer, **key));
        let names: Vec<Name> = held
            .filter_map(|&(level, origin)| {
                let version = self.levels[usize::from(level)].get(&origin)?.version;
                Some(Name { origin, level, version })
            })
            .collect();
        for message in Message::have(&names, answer) {
            self.send(peer, message);
        }
    }
}

fn level_insert(levels: &mut [super::Level], report: Report) {
    levels[usize::from(report.level)].insert(report.origin, report);
}
