//! What nodes of other domains may ask of this one. The policy of the mesh decides, and where it does not speak the answer is
//! no; a node of the own domain is not asked about.
//!
//! | asked for | in the policy |
//! | --- | --- |
//! | to have a stream passed on | `message: relay` |
//! | to open a stream to a service, or to send it a message | `message: connect`, `content.text` is the service's name |
//! | code by its digest | `message: download`, `content.text` is the digest |
//! | to run a service, or to stop it | `message: deploy` |
//!
//! All of them are `inbound`; the peer's group is its domain, and its user agent `NAME@DOMAIN`: both are what certificates
//! prove.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use policies::event::{Content, Direction, Message, Peer as PolicyPeer};
use policies::facts::Facts;
use policies::{Action, Chain, Event};
use tokio::sync::watch;

use crate::mesh::trust::{May, Peer};
use crate::policy::audit::Sampler;
use crate::policy::facts::{Counted, Taker, wanted};
use crate::policy::service::ServicePolicy;

/// How long facts of the node and the time hold.
const FACTS_AGE: Duration = Duration::from_secs(1);

impl May {
    /// What it is called in the node file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Stream => "stream",
            Self::Fetch => "fetch",
            Self::Place => "place",
        }
    }

    /// What it is to a policy.
    #[must_use]
    pub const fn message(self) -> Message {
        match self {
            Self::Relay => Message::Relay,
            Self::Stream => Message::Connect,
            Self::Fetch => Message::Download,
            Self::Place => Message::Deploy,
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Admission {
    own: String,
    policy: Arc<ServicePolicy>,
    asked: Mutex<Asked>,
    /// The generation that is in force, as it was last seen.
    generation: watch::Sender<Option<u64>>,
}

/// Hears of changes of the policy.
pub(super) type Changes = watch::Receiver<Option<u64>>;

#[derive(Debug)]
struct Asked {
    begun: Instant,
    taker: Taker,
    facts: Facts,
    /// When the facts were taken, and for which generation.
    taken: Option<(Instant, u64)>,
    sampler: Sampler,
}

impl Admission {
    /// Lets this policy decide about all domains but the own one.
    #[must_use]
    pub fn new(own: String, policy: Arc<ServicePolicy>) -> Self {
        let asked = Asked {
            begun: Instant::now(),
            taker: Taker::default(),
            facts: Facts::default(),
            taken: None,
            sampler: Sampler::default(),
        };
        let generation = watch::Sender::new(Self::in_force(&policy));
        Self { own, policy, asked: Mutex::new(asked), generation }
    }

    fn in_force(policy: &ServicePolicy) -> Option<u64> {
        policy.current().map(|now| now.policy().generation())
    }

    /// Looks whether another policy is in force.
    pub(super) fn look(&self) {
        let now = Self::in_force(&self.policy);
        self.generation.send_if_modified(|seen| std::mem::replace(seen, now) != now);
    }

    /// Hears of changes from now on.
    pub(super) fn changes(&self) -> Changes {
        self.generation.subscribe()
    }

    /// Comes back when a policy does not allow any more what was allowed; which rule says so.
    pub(super) async fn forbids(&self, mut changes: Changes, peer: &Peer, what: May, about: &str) -> String {
        while peer.domain != self.own && changes.changed().await.is_ok() {
            if let Err(why) = self.ask(peer, what, about) {
                return why;
            }
        }
        std::future::pending().await
    }

    /// Whether a node may ask for something; `about` says what it is about. The decision is counted, and put on record.
    ///
    /// # Errors
    /// It may not; which rule says so.
    pub fn ask(&self, peer: &Peer, what: May, about: &str) -> Result<(), String> {
        if peer.domain == self.own {
            return Ok(());
        }
        let who = format!("the domain {} may not ask this node to {}", peer.domain, what.word());
        let Some(now) = self.policy.current() else {
            return Err(format!("{who}: its mesh has no policy"));
        };
        let policy = now.policy();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Asked { begun, taker, facts, taken, sampler } = &mut *asked;
        let now_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let generation = policy.generation();
        if taken.is_none_or(|(at, of)| of != generation || at.elapsed() >= FACTS_AGE) {
            *facts = taker.take(wanted(policy), now_ns, Counted::default());
            self.policy.add_shares(policy, facts);
            *taken = Some((Instant::now(), generation));
        }
        let agent = peer.full_name();
        let event = Event {
            message: what.message(),
            direction: Direction::Inbound,
            peer: PolicyPeer { group: Some(&peer.domain), user_agent: &agent, ..PolicyPeer::default() },
            content: Content { text: about, ..Content::default() },
            ..Event::default()
        };
        let decision = policy.decide(Chain::Access, &event, facts);
        now.count(&decision);
        if let Some(skipped) = sampler.take(now_ns, &decision) {
            self.policy.audit().write(policy, &decision, &event, facts, skipped);
        }
        if decision.failed.is_some() {
            self.policy.failed();
        }
        let rule = decision.rule_or_default();
        let why = match decision.action {
            // What is in shadow changes nothing, and without a policy nothing is allowed.
            Action::Allow if decision.enforced => return Ok(()),
            Action::Allow => "the policy is in shadow, and nothing is allowed without it".to_owned(),
            Action::Deny { reason } | Action::Drop { reason } => format!("`{rule}` says {reason}"),
            _ => format!("`{rule}` does not allow it"),
        };
        Err(format!("{who}: {why} (policy {}, generation {generation})", policy.name()))
    }
}

/// The policy that the node file's `trust` stands for: what is named is allowed.
#[must_use]
pub fn policy_of(trust: &[(String, Vec<May>)]) -> String {
    let mut text = "\
# Made from `mesh.trust` of the node file, and made again when that changes. To say more, name a policy of your own in
# `mesh.policy`.
policy: eep/v1
name: mesh-trust
access:
  default: {deny: {reason: not in mesh.trust}}
"
    .to_owned();
    let allowed = trust.iter().enumerate().filter(|(_, (_, may))| !may.is_empty());
    for (i, (number, (domain, may))) in allowed.enumerate() {
        if i == 0 {
            text += "  rules:\n";
        }
        let messages: Vec<&str> = may.iter().map(|what| what.message().word()).collect();
        // Twice a string: of the condition, and of the file.
        let domain = serde_json::Value::from(domain.as_str()).to_string();
        let when = serde_json::Value::from(format!("peer.group == {domain}")).to_string();
        let _ = write!(
            text,
            "    - id: trust-{}\n      match: {{message: [{}], direction: inbound}}\n      when: {when}\n      then: allow\n",
            number + 1,
            messages.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use policies::{Facts, Policy};

    use super::*;

    fn decides(policy: &Policy, domain: &str, what: May) -> bool {
        let event = Event {
            message: what.message(),
            peer: PolicyPeer { group: Some(domain), ..PolicyPeer::default() },
            ..Event::default()
        };
        matches!(policy.decide(Chain::Access, &event, &Facts::default()).action, Action::Allow)
    }

    #[test]
    fn what_trust_says_is_a_policy() {
        let odd = "ISP \"B\", \\ #1: *";
        let trust = [(odd.to_owned(), vec![May::Relay, May::Place]), ("isp-c".to_owned(), Vec::new())];
        for trust in [&trust[..], &[]] {
            let files = BTreeMap::from([("mesh.yaml".to_owned(), policy_of(trust))]);
            let loaded = Policy::load(&files, "mesh.yaml", 1);
            let policy = loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).policy;
            for what in [May::Relay, May::Stream, May::Fetch, May::Place] {
                let named = !trust.is_empty() && matches!(what, May::Relay | May::Place);
                assert_eq!(decides(&policy, odd, what), named, "{what:?}");
                assert!(!decides(&policy, "isp-c", what) && !decides(&policy, "ISP", what));
            }
        }
    }
}
