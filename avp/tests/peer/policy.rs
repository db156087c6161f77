//! What a policy of the shell does to messages and peers, and how often it is asked.

use crate::net::{Net, config};
use crate::raw::{MODERN, guid};
use avp::application::forward::Forward;
use avp::application::policy::{
    Answer, Decision, Measured, Message, NO_OUTCOME, Peer, Plan, Policy, Questions, RIGHTS, Region, Verdict,
    Way,
};
use avp::gnutella::Kind;
use avp::host::ConnId;

/// A policy that a test writes as a function.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) generation: u64,
    /// What is settled about peers that call themselves so.
    settled: fn(&str, Message, Way) -> Verdict,
    /// Words that may not pass.
    forbidden: &'static str,
    meetings: usize,
    decided: Vec<usize>,
    used: Vec<(u32, u64)>,
    pub(crate) plan: Plan,
    /// Where queries with such words go; all others where standard rules say.
    pub(crate) ways: Vec<(&'static str, Forward)>,
    /// How many queries were asked about at once.
    pub(crate) routed: Vec<usize>,
    /// In which regions neighbours are, and what links cost, in the order of the question.
    pub(crate) regions: Vec<Region>,
    pub(crate) costs: Vec<Option<f64>>,
    /// How links did when they were told of last.
    pub(crate) told: Vec<Measured>,
}

impl Rules {
    fn new(generation: u64, settled: fn(&str, Message, Way) -> Verdict, forbidden: &'static str) -> Self {
        Self {
            generation,
            settled,
            forbidden,
            meetings: 0,
            decided: Vec::new(),
            used: Vec::new(),
            plan: Plan::default(),
            ways: Vec::new(),
            routed: Vec::new(),
            regions: Vec::new(),
            costs: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Everything may pass.
    pub(crate) fn open(generation: u64, plan: Plan, ways: Vec<(&'static str, Forward)>) -> Self {
        Self { plan, ways, ..Self::new(generation, all, "-") }
    }

    /// With neighbours in these regions.
    pub(crate) fn around(self, regions: &[Region]) -> Self {
        Self { regions: regions.to_vec(), ..self }
    }

    /// With links that cost so much.
    pub(crate) fn at_costs(self, costs: Vec<Option<f64>>) -> Self {
        Self { costs, ..self }
    }
}

/// The words of each question.
fn words(questions: &Questions) -> Vec<String> {
    let mut rest = &questions.text[..];
    let texts = questions.text_lens.iter().map(|len| {
        let (text, after) = rest.split_at(*len as usize);
        rest = after;
        String::from_utf8_lossy(text).into_owned()
    });
    let texts: Vec<String> = texts.collect();
    let of = |content: &u32| content.checked_sub(1).map_or(String::new(), |i| texts[i as usize].clone());
    questions.contents.iter().map(of).collect()
}

const KINDS: [Message; 10] = [
    Message::Connect,
    Message::Ping,
    Message::Pong,
    Message::Query,
    Message::QueryHit,
    Message::Push,
    Message::RouteTable,
    Message::Vendor,
    Message::Bye,
    Message::Download,
];

impl Policy for Rules {
    fn generation(&mut self) -> u64 {
        self.generation
    }

    fn meet(&mut self, peers: &[Peer<'_>]) -> Answer {
        self.meetings += 1;
        let mut decisions = Vec::new();
        for peer in peers {
            let mut row = [Decision { verdict: Verdict::Go, outcome: 0 }; RIGHTS];
            for (message, way) in KINDS.into_iter().flat_map(|m| [(m, Way::In), (m, Way::Out)]) {
                let verdict = (self.settled)(peer.user_agent, message, way);
                let outcome = if verdict == Verdict::Ask { NO_OUTCOME } else { 1 };
                row[message.right(way)] = Decision { verdict, outcome };
            }
            decisions.extend_from_slice(&row);
        }
        Answer { generation: self.generation, decisions }
    }

    fn decide(&mut self, questions: &Questions) -> Answer {
        self.decided.push(questions.len());
        let decision = |text: &String| {
            let verdict = if text.contains(self.forbidden) { Verdict::Drop } else { Verdict::Go };
            Decision { verdict, outcome: 2 }
        };
        let decisions = words(questions).iter().map(decision).collect();
        Answer { generation: self.generation, decisions }
    }

    fn plan(&mut self) -> Plan {
        self.plan
    }

    fn regions(&mut self, conns: &[ConnId]) -> Vec<Region> {
        self.regions.iter().copied().take(conns.len()).collect()
    }

    fn measured(&mut self, links: &[Measured]) -> Vec<Option<f64>> {
        self.told = links.to_vec();
        self.costs.clone()
    }

    fn route(&mut self, questions: &Questions) -> Answer {
        self.routed.push(questions.len());
        let decision = |text: &String| {
            let way = self.ways.iter().position(|(word, _)| text.contains(word));
            let verdict = if text.contains("nowhere") { Verdict::Drop } else { Verdict::Go };
            Decision { verdict, outcome: way.map_or(NO_OUTCOME, |way| way as u32) }
        };
        let decisions = words(questions).iter().map(decision).collect();
        Answer { generation: self.generation, decisions }
    }

    fn forward(&mut self, outcome: u32) -> Option<Forward> {
        self.ways.get(outcome as usize).map(|(_, forward)| *forward)
    }

    fn used(&mut self, _: u64, outcomes: &[u32], counts: &[u64]) {
        self.used.extend(outcomes.iter().copied().zip(counts.iter().copied()));
    }
}

fn all(_: &str, _: Message, _: Way) -> Verdict {
    Verdict::Go
}

fn queries_are_asked_about(_: &str, message: Message, way: Way) -> Verdict {
    if message == Message::Query && way == Way::In { Verdict::Ask } else { Verdict::Go }
}

#[test]
fn what_depends_on_content_is_asked_once_a_batch_and_takes_effect_at_once() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (asker, other) = (net.leaf(1, up), net.leaf(2, up));
    let sharer = net.sharing_leaf(3, up, "walrus zebra.mp3");
    net.govern(up, Rules::new(1, queries_are_asked_about, "walrus"));
    let payload = |text: &str| avp::gnutella::query::Builder::new(text).finish();
    for n in 0..5 {
        net.message(asker, Kind::QUERY, 4, 0, guid(10 + n), &payload("walrus"));
        net.message(other, Kind::QUERY, 4, 0, guid(20 + n), &payload("zebra"));
    }
    net.run();
    let seen: Vec<_> = net.of_kind(sharer, Kind::QUERY).into_iter().map(|(h, _)| h.guid).collect();
    assert_eq!(seen, [20, 21, 22, 23, 24].map(guid));
    assert_eq!(net.rules(up).decided, [10], "all of a batch together");
    assert_eq!(net.metric(up, "avp_dropped_messages_total", &[("reason", "denied")]), 5.0);

    // The next generation holds for the next message, and is told of what was used under the former.
    net.govern(up, Rules::new(2, all, "walrus"));
    net.query(asker, 4, 0, guid(30), "walrus");
    assert_eq!(net.of_kind(sharer, Kind::QUERY).len(), 1);
    assert!(net.rules(up).decided.is_empty(), "what is settled is not asked about");
    assert!(!net.is_closed(asker) && !net.is_closed(other) && !net.is_closed(sharer));

    net.advance(std::time::Duration::from_secs(2));
    let queries: u64 = net.rules(up).used.iter().filter(|(outcome, _)| *outcome == 1).map(|(_, n)| n).sum();
    assert!(queries >= 1, "settled verdicts are counted");
    // Without a policy nobody is asked.
    let meetings = net.rules(up).meetings;
    net.govern(up, Rules { meetings, ..Rules::new(0, all, "walrus") });
    net.query(asker, 4, 0, guid(31), "walrus");
    assert_eq!(net.of_kind(sharer, Kind::QUERY).len(), 1);
    assert_eq!(net.rules(up).meetings, meetings);
}

#[test]
fn what_may_not_go_to_a_peer_does_not() {
    fn nothing_to_leaves(_: &str, message: Message, way: Way) -> Verdict {
        if message == Message::Query && way == Way::Out { Verdict::Drop } else { Verdict::Go }
    }
    let mut net = Net::new();
    let up = net.peer(config());
    let (asker, neighbour) = (net.leaf(1, up), net.ultrapeer(2, up));
    let sharer = net.sharing_leaf(3, up, "walrus.mp3");
    net.govern(up, Rules::new(1, nothing_to_leaves, "-"));
    net.query(asker, 4, 0, guid(1), "walrus");
    assert!(net.of_kind(sharer, Kind::QUERY).is_empty() && net.of_kind(neighbour, Kind::QUERY).is_empty());
    fn hits_are_asked_about(_: &str, message: Message, way: Way) -> Verdict {
        if message == Message::QueryHit && way == Way::Out { Verdict::Ask } else { Verdict::Go }
    }
    net.govern(up, Rules::new(2, hits_are_asked_about, "walrus"));
    net.query(asker, 4, 0, guid(2), "walrus");
    assert_eq!(net.of_kind(sharer, Kind::QUERY).len(), 1);
    net.hit(sharer, 3, 0, guid(2), guid(50), "walrus.mp3");
    net.hit(sharer, 3, 0, guid(2), guid(50), "zebra.mp3");
    assert_eq!(net.of_kind(asker, Kind::QUERY_HIT).len(), 1);
}

#[test]
fn who_may_not_connect_is_told_or_not() {
    fn by_name(user_agent: &str, message: Message, _: Way) -> Verdict {
        match (message, user_agent) {
            (Message::Connect, "Bad/1.0") => Verdict::Deny,
            (Message::Connect, "Worse/1.0") => Verdict::Drop,
            _ => Verdict::Go,
        }
    }
    let mut net = Net::new();
    let up = net.peer(config());
    net.govern(up, Rules::new(1, by_name, "-"));
    let (answer, raw) = net.shake(1, up, "User-Agent: Bad/1.0\r\nX-Ultrapeer: False\r\n");
    assert!(answer.starts_with("GNUTELLA/0.6 403 "), "{answer}");
    assert!(net.is_closed(raw));
    let (answer, raw) = net.shake(2, up, "User-Agent: Worse/1.0\r\nX-Ultrapeer: False\r\n");
    assert_eq!(answer, "");
    assert!(net.is_closed(raw));
    let (answer, _) = net.shake(3, up, &format!("X-Ultrapeer: False\r\n{MODERN}"));
    assert!(answer.starts_with("GNUTELLA/0.6 200"), "{answer}");
    assert_eq!(net.metric(up, "avp_refused_total", &[("reason", "forbidden")]), 2.0);
}
