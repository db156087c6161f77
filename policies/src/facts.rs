//! Facts: what rules may ask about, declared once with type and unit.

use serde::{Deserialize, Serialize};

/// Type of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// A text.
    Text,
    /// Something that only `match` can ask about.
    Opaque,
}

impl Type {
    /// Its name in CEL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::Opaque => "opaque",
        }
    }
}

/// A declared fact.
#[derive(Debug)]
pub struct Declared {
    /// Its name in conditions.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// What it is, with its unit.
    pub about: &'static str,
}

/// A fact's number: an index into [`FACTS`], or [`BUDGETS_FROM`] and the number of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fact(pub u8);

/// The first number that stands for a budget.
pub const BUDGETS_FROM: u8 = 64;

macro_rules! facts {
    ($($id:ident $name:literal $ty:ident $about:literal;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u8)]
        enum Number { $($id),* }
        impl Fact {
            $(#[doc = $about] pub const $id: Self = Self(Number::$id as u8);)*
        }
        /// All facts that do not depend on the policy.
        pub static FACTS: &[Declared] = &[$(Declared { name: $name, ty: Type::$ty, about: $about }),*];
    };
}

facts! {
    MESSAGE "message.type" Text "kind of message, as in `match`";
    DIRECTION "message.direction" Text "`inbound` or `outbound`";
    TTL "message.ttl" Int "hops that the message may still go";
    HOPS "message.hops" Int "hops that the message has gone";
    BYTES "message.bytes" Int "size of the message, bytes";
    ADDRESS "peer.address" Opaque "address of the peer: ask with sets";
    ASN "peer.asn" Int "number of the peer's autonomous system";
    GROUP "peer.group" Text "group of the peer";
    AGENT "peer.user_agent" Text "what the peer calls itself";
    REGION "peer.region" Text "`same`, `other` or `unknown`";
    PEER_CONNECTIONS "peer.connections" Int "connections from the peer's address";
    PEER_RATE "peer.messages_per_s" Double "messages a second from the peer";
    TEXT "content.text" Text "the search, or the file's name";
    SHA1 "content.sha1" Opaque "SHA-1 of the file: ask with sets";
    FILE_TYPE "content.type" Text "ending of the file's name";
    FILE_BYTES "content.bytes" Int "size of the file, bytes";
    LINK "link.state" Text "`good`, `congested`, `lossy` or `unknown`";
    RTT "link.rtt_ms" Double "round trip to the peer, milliseconds";
    LOSS "link.loss" Double "share of data that the link loses, 0 to 1";
    UTIL "link.util" Double "share of the link that is used, 0 to 1";
    THROUGHPUT "link.kbit_s" Double "throughput of the link, kbit/s";
    UPLINK "node.uplink.util" Double "share of the node's uplink that is used, 0 to 1";
    CPU "node.cpu" Double "share of the node's processors that is used, 0 to 1";
    MEMORY "node.memory" Double "share of the node's memory that is used, 0 to 1";
    CONNECTIONS "node.connections" Int "connections of the service";
    DEGREE "node.degree" Int "neighbours of the service";
    HOUR "now.hour" Int "hour of the day, local time, 0 to 23";
    MINUTE "now.minute" Int "minute of the hour, 0 to 59";
    WEEKDAY "now.weekday" Int "day of the week, 1 (Monday) to 7";
    UNIX "now.unix_s" Int "seconds since 1970-01-01 UTC";
}

impl Fact {
    /// The share of a budget that is used.
    #[must_use]
    pub fn budget(index: usize) -> Self {
        Self(BUDGETS_FROM + u8::try_from(index).unwrap_or(u8::MAX - BUDGETS_FROM))
    }

    /// The number of the budget that it is about.
    #[must_use]
    pub fn budget_index(self) -> Option<usize> {
        self.0.checked_sub(BUDGETS_FROM).map(usize::from)
    }

    /// The fact with a name; budgets are named `budget.NAME.used`, with `_` for `-`.
    #[must_use]
    pub fn find(name: &str, budgets: &[String]) -> Option<Self> {
        if let Some(at) = FACTS.iter().position(|f| f.name == name) {
            return u8::try_from(at).ok().map(Self);
        }
        budgets.iter().position(|b| budget_fact(b) == name).map(Self::budget)
    }

    /// Its name.
    #[must_use]
    pub fn name(self, budgets: &[String]) -> String {
        match self.budget_index() {
            Some(i) => budgets.get(i).map_or_else(String::new, |b| budget_fact(b)),
            None => FACTS.get(usize::from(self.0)).map_or("", |f| f.name).to_owned(),
        }
    }

    /// Its type.
    #[must_use]
    pub fn ty(self) -> Type {
        FACTS.get(usize::from(self.0)).map_or(Type::Double, |f| f.ty)
    }
}

/// The name of a budget's fact.
#[must_use]
pub fn budget_fact(budget: &str) -> String {
    format!("budget.{}.used", budget.replace('-', "_"))
}

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactSet(u128);

impl FactSet {
    /// Adds a fact.
    pub fn insert(&mut self, fact: Fact) {
        self.0 |= 1 << (fact.0 & 127);
    }

    /// Whether a fact is in it.
    #[must_use]
    pub fn contains(self, fact: Fact) -> bool {
        self.0 >> (fact.0 & 127) & 1 == 1
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of its facts are in another set.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The facts, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Fact> {
        (0..128).map(Fact).filter(move |f| self.contains(*f))
    }
}

impl FromIterator<Fact> for FactSet {
    fn from_iter<I: IntoIterator<Item = Fact>>(iter: I) -> Self {
        let mut set = Self::default();
        iter.into_iter().for_each(|fact| set.insert(fact));
        set
    }
}

/// Facts of the node, the time and the budgets: the same for many events. What is not set is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    numbers: Vec<Option<f64>>,
}

impl Facts {
    /// Sets a number; whole numbers are exact up to 2^53. A value that is no number makes the fact unknown.
    pub fn set(&mut self, fact: Fact, value: f64) {
        let at = usize::from(fact.0 & 127);
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, None);
        }
        self.numbers[at] = value.is_finite().then_some(value);
    }

    /// A number that has been set.
    #[must_use]
    pub fn get(&self, fact: Fact) -> Option<f64> {
        self.numbers.get(usize::from(fact.0)).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        let budgets = ["transit-month".to_owned()];
        for (i, declared) in FACTS.iter().enumerate() {
            assert_eq!(Fact::find(declared.name, &budgets), Some(Fact(i as u8)));
            assert!(i < usize::from(BUDGETS_FROM));
        }
        let used = Fact::find("budget.transit_month.used", &budgets).unwrap();
        assert_eq!((used.ty(), used.budget_index()), (Type::Double, Some(0)));
        assert_eq!(used.name(&budgets), "budget.transit_month.used");
        assert_eq!(Fact::find("budget.other.used", &budgets), None);
    }

    #[test]
    fn unknown_until_set() {
        let mut facts = Facts::default();
        assert_eq!(facts.get(Fact::HOUR), None);
        facts.set(Fact::HOUR, 18.0);
        facts.set(Fact::CPU, f64::NAN);
        assert_eq!((facts.get(Fact::HOUR), facts.get(Fact::CPU)), (Some(18.0), None));
        let set: FactSet = [Fact::HOUR, Fact::budget(3)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Fact::HOUR, Fact::budget(3)]);
    }
}
