//! The shape of `policy: eep/v1`, of its tests and of events.

use super::lexical::Lexical;
use super::shape::{Key, Shape};

/// Most rules of one chain.
pub const RULES_MAX: usize = 10_000;
/// Most sets of one policy.
pub const SETS_MAX: usize = 1_000;
/// Most traffic classes.
pub const CLASSES_MAX: usize = 64;
/// Most budgets.
pub const BUDGETS_MAX: usize = 32;
/// Most relations that a topology may ask for.
pub const DEGREE_MAX: u64 = 1_000_000;

macro_rules! text {
    ($name:ident, $kind:ident) => {
        static $name: Shape = Shape::Text(Lexical::$kind);
    };
}
text!(NAME, Name);
text!(WORDS, Words);
text!(EXPRESSION, Expression);
text!(CIDR, Cidr);
text!(ADDRESS, Address);
text!(SHA1, Sha1);
text!(KEYWORD, Keyword);
text!(AGENT, Agent);
text!(PATH, Path);
text!(DURATION, Duration);
text!(VOLUME, Volume);
text!(RATE, Rate);
text!(FILE_TYPE, FileType);

static FLAG: Shape = Shape::Flag;
static ANY: Shape = Shape::Any;
static ASN: Shape = Shape::Whole { min: 0, max: u32::MAX as u64 };
static COUNT: Shape = Shape::Whole { min: 0, max: DEGREE_MAX };
static FANOUT: Shape = Shape::Whole { min: 1, max: 255 };
static HOPS: Shape = Shape::Whole { min: 1, max: 15 };
static SHARE: Shape = Shape::Real { min: 0.0, max: 1.0 };
static NAMES: Shape = Shape::Many(&NAME);

/// Kinds of message, in the order of [`crate::event::Message`].
pub static MESSAGES: [(&str, &str); 13] = [
    ("connect", "a peer wants to become a neighbour"),
    ("ping", "who is there?"),
    ("pong", "I am here"),
    ("query", "a search"),
    ("query-hit", "files that match a search"),
    ("push", "a request to connect back"),
    ("route-table", "what a leaf can answer"),
    ("vendor", "an extension message"),
    ("bye", "a farewell"),
    ("download", "a file is asked of us"),
    ("upload", "a file is given to us"),
    ("deploy", "another node asks to run a service here"),
    ("relay", "another node asks to pass on a stream"),
];

/// Directions, in the order of [`crate::event::Direction`].
pub static DIRECTIONS: [(&str, &str); 2] =
    [("inbound", "it comes from the peer"), ("outbound", "it goes to the peer")];

/// Where the peer is, in the order of [`crate::event::Region`].
pub static REGIONS: [(&str, &str); 3] = [
    ("same", "the peer is in this node's region"),
    ("other", "the peer is in another region"),
    ("unknown", "it is not known where the peer is"),
];

/// States of a link, in the order of [`crate::event::Link`].
pub static LINKS: [(&str, &str); 4] = [
    ("good", "the link to the peer works well"),
    ("congested", "more is to be sent than the link takes"),
    ("lossy", "the link loses data"),
    ("unknown", "the link has not been measured"),
];

/// Groups that every node knows.
pub static GROUPS: [(&str, &str); 4] = [
    ("leaf", "peers that we shield"),
    ("ultrapeer", "peers that route"),
    ("virtual-peer", "virtual peers of other nodes"),
    ("node", "other nodes"),
];

/// Modes of a policy or a rule.
static MODE: Shape = Shape::Word(&[
    ("enforce", "what it decides is done"),
    ("shadow", "what it decides is counted and logged; nothing changes"),
]);
static FAIL: Shape = Shape::Word(&[
    ("open", "where the condition cannot be evaluated, the rule does not match"),
    ("closed", "where the condition cannot be evaluated, the event is refused"),
]);
static MESSAGE: Shape = Shape::Word(&MESSAGES);
static MESSAGE_LIST: Shape = Shape::Many(&MESSAGE);
static DIRECTION: Shape = Shape::Word(&DIRECTIONS);
static REGION: Shape = Shape::Word(&REGIONS);
static REGION_LIST: Shape = Shape::Many(&REGION);
static LINK: Shape = Shape::Word(&LINKS);
static LINK_LIST: Shape = Shape::Many(&LINK);
static VERSION: Shape = Shape::Word(&[("eep/v1", "this version of the language")]);

static FILE_TYPES: Shape = Shape::Many(&FILE_TYPE);
static CIDR_SET: Shape = Shape::Listed(&CIDR);
static ASN_SET: Shape = Shape::Listed(&ASN);
static SHA1_SET: Shape = Shape::Listed(&SHA1);
static KEYWORD_SET: Shape = Shape::Listed(&KEYWORD);
static AGENT_SET: Shape = Shape::Listed(&AGENT);
static GROUP_SET: Shape = Shape::Listed(&NAME);
static SET: Shape = Shape::One(&[
    Key::must("cidr", &CIDR_SET, "peers by address"),
    Key::must("asn", &ASN_SET, "peers by number of their autonomous system"),
    Key::must("group", &GROUP_SET, "peers by the group that the node puts them in"),
    Key::must("user-agent", &AGENT_SET, "peers by what they call themselves"),
    Key::must("keywords", &KEYWORD_SET, "searches and files by whole words, in any order"),
    Key::must("sha1", &SHA1_SET, "files by SHA-1"),
]);
static SETS: Shape = Shape::Names(&SET);

static MEMBERS: Shape = Shape::Some(&[
    Key::may("in", &NAMES, "in one of these sets"),
    Key::may("not-in", &NAMES, "in none of these sets; what is not known is in no set"),
]);
static SIZE: Shape = Shape::Some(&[
    Key::may("min", &VOLUME, "at least so large"),
    Key::may("max", &VOLUME, "at most so large"),
]);
static CONTENT: Shape = Shape::Some(&[
    Key::may("in", &NAMES, "in one of these sets"),
    Key::may("not-in", &NAMES, "in none of these sets; what is not known is in no set"),
    Key::may("type", &FILE_TYPES, "file name endings"),
    Key::may("size", &SIZE, "a range of file sizes"),
]);
static MATCH: Shape = Shape::Some(&[
    Key::may("message", &MESSAGE_LIST, "kinds of message"),
    Key::may("direction", &DIRECTION, "the way it goes"),
    Key::may("peer", &MEMBERS, "sets of peers"),
    Key::may("group", &NAMES, "groups of peers"),
    Key::may("region", &REGION_LIST, "where the peer is"),
    Key::may("link", &LINK_LIST, "state of the link to the peer"),
    Key::may("content", &CONTENT, "what is searched, offered or moved"),
]);

static REASON: Shape = Shape::Map(&[Key::must("reason", &WORDS, "why, as it is logged and told")]);
static PREFERENCE: Shape = Shape::Word(&[
    ("same-region", "peers in this node's region first"),
    ("least-load", "less loaded peers first"),
    ("low-rtt", "near peers first"),
    ("high-throughput", "fast peers first"),
]);
static PREFERENCES: Shape = Shape::Many(&PREFERENCE);
static AVOID: Shape = Shape::Some(&[
    Key::may("util-over", &SHARE, "links used more than this share"),
    Key::may("loss-over", &SHARE, "links that lose more than this share"),
    Key::may("rtt-over", &DURATION, "links that take longer"),
    Key::may("region", &REGION_LIST, "peers in these regions"),
]);
static FORWARD: Shape = Shape::Map(&[
    Key::must("fanout", &FANOUT, "to how many peers"),
    Key::must("ttl", &HOPS, "how many hops it may still go, at most"),
    Key::may("prefer", &PREFERENCES, "which peers first, in this order"),
    Key::may("avoid", &AVOID, "which peers not at all"),
]);
static STORE: Shape = Shape::Map(&[
    Key::must("ttl", &DURATION, "how long it is kept"),
    Key::may("aggregate", &FLAG, "whether answers to like searches are put together"),
]);
static WITHIN: Shape = Shape::Word(&[("region", "this node's region"), ("node", "this node")]);
static LOCALIZE: Shape = Shape::Map(&[
    Key::must("copies", &FANOUT, "how many copies"),
    Key::must("within", &WITHIN, "where they are kept"),
    Key::must("ttl", &DURATION, "how long they are kept"),
]);

/// What an access rule does.
static ACCESS: Shape = Shape::Action {
    words: &[
        ("allow", "go on"),
        ("deny", "refuse, and say so; the reason is the rule's id"),
        ("drop", "throw away, silently; the reason is the rule's id"),
    ],
    forms: &[
        Key::must("deny", &REASON, "refuse, and say why"),
        Key::must("drop", &REASON, "throw away, silently"),
    ],
};
/// What a routing rule does.
static ROUTING: Shape = Shape::Action {
    words: &[("drop", "do not pass on; the reason is the rule's id")],
    forms: &[
        Key::must("forward", &FORWARD, "pass on to some neighbours"),
        Key::must("drop", &REASON, "do not pass on"),
    ],
};
/// What a cache rule does.
static CACHE: Shape = Shape::Action {
    words: &[("pass", "keep nothing")],
    forms: &[
        Key::must("store", &STORE, "keep and answer from what is kept"),
        Key::must("localize", &LOCALIZE, "keep copies near"),
    ],
};
static CLASS: Shape = Shape::One(&[Key::must("class", &NAME, "the traffic class")]);
/// What happens where a budget is used up.
static BUDGET_THEN: Shape = Shape::One(&[
    Key::must("class", &NAME, "the traffic class"),
    Key::must("deny", &REASON, "refuse, and say why"),
]);

const ID: Key = Key::must("id", &NAME, "the rule's name in every decision");
const RULE_MODE: Key = Key::may("mode", &MODE, "enforce, or shadow");
const RULE_MATCH: Key = Key::may("match", &MATCH, "what it is about: all of these must hold");
const WHEN: Key = Key::may("when", &EXPRESSION, "a condition, evaluated only where `match` holds");
const FAIL_MODE: Key = Key::may("fail", &FAIL, "what a condition does that cannot be evaluated");

macro_rules! rules {
    ($rule:ident, $list:ident, $chain:ident, $action:ident) => {
        static $rule: Shape = Shape::Map(&[
            ID,
            RULE_MODE,
            RULE_MATCH,
            WHEN,
            FAIL_MODE,
            Key::must("then", &$action, "what is done"),
        ]);
        static $list: Shape = Shape::List(&$rule);
        static $chain: Shape = Shape::Map(&[
            Key::must("default", &$action, "what is done where no rule matches"),
            Key::may("rules", &$list, "the rules; the first that matches decides"),
        ]);
    };
}
rules!(ACCESS_RULE, ACCESS_RULES, ACCESS_CHAIN, ACCESS);
rules!(ROUTING_RULE, ROUTING_RULES, ROUTING_CHAIN, ROUTING);

static CACHE_RULE: Shape =
    Shape::Map(&[ID, RULE_MODE, RULE_MATCH, WHEN, Key::must("then", &CACHE, "what is done")]);
static CACHE_CHAIN: Shape = Shape::List(&CACHE_RULE);

static DEGREE: Shape = Shape::Map(&[
    Key::must("min", &COUNT, "below it, neighbours are looked for"),
    Key::must("target", &COUNT, "what is aimed at"),
    Key::must("max", &COUNT, "above it, none is taken"),
]);
static PATH_LENGTH: Shape = Shape::Map(&[Key::must("max", &HOPS, "how many hops a message may go")]);
static TOPOLOGY: Shape = Shape::Some(&[
    Key::may("degree", &DEGREE, "how many neighbours"),
    Key::may("path-length", &PATH_LENGTH, "how far messages go"),
    Key::may("link-cost", &EXPRESSION, "what a link costs, lower is better"),
]);

/// Code points that a class may be marked with, and their numbers (RFC 2474, 2597, 3246, 5865, 8622).
pub static DSCP: [(&str, u8); 22] = [
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("ef", 46),
    ("le", 1),
];
static DSCP_WORDS: [(&str, &str); DSCP.len()] = {
    let mut words = [("", "a differentiated services code point"); DSCP.len()];
    let mut i = 0;
    while i < DSCP.len() {
        words[i].0 = DSCP[i].0;
        i += 1;
    }
    words
};
static DSCP_WORD: Shape = Shape::Word(&DSCP_WORDS);
static TRAFFIC_CLASS: Shape = Shape::Map(&[
    Key::must("dscp", &DSCP_WORD, "how its packets are marked"),
    Key::must("rate", &RATE, "what it is sure to get"),
    Key::must("ceil", &RATE, "what it gets at most"),
]);
static TRAFFIC_CLASSES: Shape = Shape::Names(&TRAFFIC_CLASS);
static BUDGET: Shape = Shape::Map(&[
    Key::must("peers", &NAME, "the set of peers whose traffic counts"),
    Key::must("volume", &VOLUME, "how much, both ways together"),
    Key::must("per", &DURATION, "in how much time"),
    Key::must("then", &BUDGET_THEN, "what happens to their traffic once it is used up"),
]);
static BUDGETS: Shape = Shape::Names(&BUDGET);
static TRAFFIC_RULE: Shape =
    Shape::Map(&[ID, RULE_MODE, RULE_MATCH, WHEN, Key::must("then", &CLASS, "what is done")]);
static TRAFFIC_RULES: Shape = Shape::List(&TRAFFIC_RULE);
static TRAFFIC: Shape = Shape::Map(&[
    Key::must("classes", &TRAFFIC_CLASSES, "traffic classes"),
    Key::may("default", &CLASS, "the class where no rule matches"),
    Key::may("rules", &TRAFFIC_RULES, "which traffic is in which class"),
    Key::may("budgets", &BUDGETS, "volumes that may be used up"),
]);

static SEVERITY: Shape =
    Shape::Word(&[("info", "good to know"), ("warning", "look soon"), ("critical", "look now")]);
static ALARM: Shape = Shape::Map(&[
    Key::must("id", &NAME, "the alarm's name"),
    Key::must("when", &EXPRESSION, "the condition"),
    Key::may("for", &DURATION, "how long it must hold"),
    Key::must("severity", &SEVERITY, "how much it matters"),
    Key::may("about", &WORDS, "what it means and what to do, for people"),
]);
static ALARMS: Shape = Shape::List(&ALARM);

static INCLUDES: Shape = Shape::Many(&PATH);

/// A policy.
pub static POLICY: Shape = Shape::Map(&[
    Key::must("policy", &VERSION, "the language and its version"),
    Key::must("name", &NAME, "the policy's name in logs and metrics"),
    Key::may("about", &WORDS, "what it is for, for people"),
    Key::may("mode", &MODE, "enforce, or shadow for the policy as a whole"),
    Key::may("include", &INCLUDES, "files with more sets"),
    Key::may("sets", &SETS, "sets of peers and of content, by name"),
    Key::may("access", &ACCESS_CHAIN, "who may do what"),
    Key::may("routing", &ROUTING_CHAIN, "where messages go"),
    Key::may("topology", &TOPOLOGY, "how many neighbours, how far, at what cost"),
    Key::may(
        "cache",
        &CACHE_CHAIN,
        "what is kept; the first rule that matches decides, else nothing is kept",
    ),
    Key::may("traffic", &TRAFFIC, "classes of traffic, and budgets"),
    Key::may("alarms", &ALARMS, "what people are told of"),
]);

/// A file that a policy includes.
pub static INCLUDED: Shape = Shape::Map(&[
    Key::must("policy", &VERSION, "the language and its version"),
    Key::may("about", &WORDS, "what it is for, for people"),
    Key::may("include", &INCLUDES, "files with more sets"),
    Key::must("sets", &SETS, "sets of peers and of content, by name"),
]);

static PEER: Shape = Shape::Map(&[
    Key::may("address", &ADDRESS, "its address"),
    Key::may("asn", &ASN, "its autonomous system"),
    Key::may("group", &NAME, "its group"),
    Key::may("user-agent", &WORDS, "what it calls itself"),
]);
static EVENT_CONTENT: Shape = Shape::Map(&[
    Key::may("text", &WORDS, "the search, or the file's name"),
    Key::may("sha1", &SHA1, "the file's SHA-1"),
    Key::may("type", &FILE_TYPE, "the ending of the file's name"),
    Key::may("size", &VOLUME, "the file's size"),
]);

/// An event.
pub static EVENT: Shape = Shape::Map(&[
    Key::must("message", &MESSAGE, "kind of message"),
    Key::may("direction", &DIRECTION, "the way it goes; inbound unless given"),
    Key::may("peer", &PEER, "the peer"),
    Key::may("region", &REGION, "where the peer is"),
    Key::may("link", &LINK, "state of the link to the peer"),
    Key::may("content", &EVENT_CONTENT, "what is searched, offered or moved"),
    Key::may("facts", &ANY, "other facts by their names, such as `node.cpu: 0.5`"),
]);

/// Chains that decide events.
pub static CHAINS: [(&str, &str); 4] = [
    ("access", "who may do what"),
    ("routing", "where messages go"),
    ("cache", "what is kept"),
    ("traffic", "classes of traffic"),
];
static CHAIN: Shape = Shape::Word(&CHAINS);
static RULE_OR_DEFAULT: Shape = Shape::Text(Lexical::Words);
static EXPECT: Shape = Shape::Map(&[
    Key::may("chain", &CHAIN, "which chain decides; access unless given"),
    Key::must("rule", &RULE_OR_DEFAULT, "the id of the rule that decides, or `default`"),
    Key::may("action", &ANY, "what it does: its name, or all of it"),
    Key::may("shadow", &NAME, "the rule in shadow that would have decided"),
]);
static TEST: Shape = Shape::Map(&[
    Key::must("name", &WORDS, "what is expected, in words"),
    Key::must("given", &EVENT, "the event and the facts"),
    Key::must("expect", &EXPECT, "what is decided"),
]);
static TEST_LIST: Shape = Shape::List(&TEST);

/// A file of tests.
pub static TESTS: Shape = Shape::Map(&[
    Key::must("policy-test", &VERSION, "the language and its version"),
    Key::may("policy", &PATH, "the policy; else the file beside with the same name"),
    Key::must("tests", &TEST_LIST, "the tests"),
]);

/// One line of a recording.
pub static RECORDED: Shape = Shape::Map(&[
    Key::may("id", &WORDS, "the decision's id"),
    Key::may("chain", &CHAIN, "which chain decides; access unless given"),
    Key::must("event", &EVENT, "the event and the facts"),
]);
