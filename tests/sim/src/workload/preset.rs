//! Whole networks under a name.

use serde::{Deserialize, Serialize};

use super::content::Content;
use super::life::Life;

/// How searches and relations are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Everybody is alike and passes everything on (2000 and 2001).
    Flat,
    /// Ultrapeers and leaves.
    TwoTier,
}

/// How an ultrapeer puts a leaf's search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// To all neighbours at once.
    Flood,
    /// To one after the other until there are enough answers.
    Dynamic,
}

/// When peers search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Searches {
    /// Never.
    Never,
    /// Everyone, with exponential pauses of this mean in seconds.
    Every(f64),
    /// As [`super::klemm`] has it, in stable sessions.
    Klemm,
}

/// Whom a peer dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Anybody.
    Random,
    /// Those of its own system first, by somebody who knows all addresses.
    Oracle,
    /// The virtual peer of its own system first, as its operator told it.
    Domain,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// Flat or in two tiers.
    pub style: Style,
    /// Ultrapeers of a thousand peers, in two tiers.
    pub ultrapeers_permille: u32,
    /// Relations that an ultrapeer (or a flat network's peer) looks for.
    pub neighbours: u16,
    /// Of a flat network's peers, so many of a hundred look for three times as many.
    pub hubs_percent: u8,
    /// Where there is one: how many relations a flat network's peer looks for falls with this exponent, from `neighbours`
    /// on, and nobody is a hub besides.
    #[serde(default)]
    pub degree_exponent: Option<f64>,
    /// Relations beyond those that it accepts.
    pub neighbours_spare: u16,
    /// Leaves that an ultrapeer takes.
    pub leaves: u16,
    /// Ultrapeers that a leaf looks for.
    pub parents: u16,
    /// Hops of a search, and of a ping where pongs are not cached.
    pub ttl: u8,
    /// How ultrapeers search.
    pub reach: Reach,
    /// Whether pings are answered from a cache; else they are passed on to all.
    pub pong_caching: bool,
    /// From one ping to the next, in seconds.
    pub ping_s: u32,
    /// Peers of a hundred that share nothing.
    pub free_riders_percent: u8,
    /// Files that the others share, on average.
    pub files: u32,
    /// Which files there are.
    pub content: Content,
    /// How long peers stay.
    pub life: Life,
    /// When they search.
    pub searches: Searches,
    /// Whom they dial.
    pub choice: Choice,
    /// Upstream rates that peers have, in kbit/s, each as likely.
    pub uplinks_kbit_s: Vec<u32>,
}

impl Preset {
    /// Late 2000: a flat network, most bytes for pings and pongs.
    ///
    /// Fitted to what was measured in November 2000, in a network of 400 peers: 36 % of the bytes are queries, 55 % pings
    /// and pongs, 9 % all else; 3.4 relations a peer, 6 kbit/s a relation. The fit is of relations, of the times between
    /// searches and between pings, and of the number of files.
    #[must_use]
    pub fn flood_2000() -> Self {
        Self {
            name: "flood-2000".into(),
            style: Style::Flat,
            ultrapeers_permille: 0,
            neighbours: 2,
            hubs_percent: 15,
            degree_exponent: None,
            neighbours_spare: 1,
            leaves: 0,
            parents: 0,
            ttl: 7,
            reach: Reach::Flood,
            pong_caching: false,
            ping_s: 180,
            free_riders_percent: 66,
            files: 100,
            content: Content::Ranked { files: 1_200, exponent: 0.6, shift: 20.0 },
            life: Life::TwoState,
            searches: Searches::Every(35.0),
            choice: Choice::Random,
            uplinks_kbit_s: vec![56, 128, 256, 1_500, 10_000],
        }
    }

    /// Mid 2001: still flat, pongs from caches, searches are nearly everything.
    #[must_use]
    pub fn flood_2001() -> Self {
        Self { name: "flood-2001".into(), pong_caching: true, ..Self::flood_2000() }
    }

    /// Two tiers, 30 relations and 50 leaves an ultrapeer, four hops, dynamic queries.
    #[must_use]
    pub fn modern() -> Self {
        Self {
            name: "modern".into(),
            style: Style::TwoTier,
            ultrapeers_permille: 75,
            neighbours: 30,
            hubs_percent: 0,
            neighbours_spare: 2,
            leaves: 50,
            parents: 3,
            ttl: 4,
            reach: Reach::Dynamic,
            pong_caching: true,
            ping_s: 180,
            free_riders_percent: 25,
            files: 30,
            content: Content::Ranked { files: 200_000, exponent: 0.6, shift: 20.0 },
            searches: Searches::Klemm,
            uplinks_kbit_s: vec![512, 1_000, 5_000, 20_000],
            ..Self::flood_2000()
        }
    }

    /// The fourth founding paper's thirteen peers and exact keyword table, each searching every two seconds, over
    /// Gnutella instead of OpenNap.
    #[must_use]
    pub fn seed_4() -> Self {
        Self {
            name: "seed-4".into(),
            free_riders_percent: 0,
            files: 10,
            content: Content::Table,
            life: Life::Forever,
            searches: Searches::Every(2.0),
            ultrapeers_permille: 150,
            uplinks_kbit_s: vec![10_000],
            ..Self::modern()
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::flood_2000(), Self::flood_2001(), Self::modern(), Self::seed_4()]
            .into_iter()
            .find(|p| p.name == name)
    }
}
