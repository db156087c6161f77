//! What flat networks carried, and what pong caching saves.

use super::{Outcome, Published, Row, Scale, missing, world};
use crate::measure::ledger::Class;
use crate::workload::Preset;
use crate::world::Setup;

const PEERS: usize = 400;
/// From when on traffic is counted, and until when, in seconds.
const FROM_S: u64 = 120;
const UNTIL_S: u64 = 600;

/// Share of queries and hits' bytes, share of pings' and pongs', and kbit/s of a relation.
fn traffic(preset: &Preset, peers: usize, seed: u64) -> Vec<f64> {
    let Ok(mut world) = world(Setup::new(preset.clone(), peers, seed)) else { return missing(8) };
    world.run_until(FROM_S);
    let before = world.ledger.clone();
    world.run_until(UNTIL_S);
    let ledger = world.ledger.since(&before);
    let bytes = |classes: &[Class]| classes.iter().map(|c| ledger.of(*c).bytes as f64).sum::<f64>();
    let (queries, pings) = (bytes(&[Class::Query]), bytes(&[Class::Ping, Class::Pong]));
    let seconds = (UNTIL_S - FROM_S) as f64;
    let relations = world.light().map(|(_, l)| l.degree()).sum::<usize>() as f64 / 2.0;
    let messages = ledger.of(Class::Ping).messages + ledger.of(Class::Pong).messages;
    vec![
        queries / ledger.sent_bytes as f64 * 100.0,
        pings / ledger.sent_bytes as f64 * 100.0,
        ledger.sent_bytes as f64 * 8.0 / 1_000.0 / seconds / relations,
        pings * 8.0 / seconds / peers as f64,
        messages as f64 / seconds / peers as f64,
        100.0 - (queries + pings) / ledger.sent_bytes as f64 * 100.0,
        world.light().map(|(_, l)| l.degree() as f64).sum::<f64>() / world.light().count() as f64,
        bytes(&[Class::Hit]) / ledger.sent_bytes as f64 * 100.0,
    ]
}

pub(super) fn mix(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(PEERS);
    let of_2000 = scale.estimates(|seed| traffic(&Preset::flood_2000(), peers, seed));
    let of_2001 = scale.estimates(|seed| traffic(&Preset::flood_2001(), peers, seed));
    let row =
        |what: &str, published, source, ours, unit| Row { what: what.into(), published, source, ours, unit };
    const VOLUME: &str = "volume of 170,000 connections of 50,000 nodes (workloads)";
    const NOV: &str = "traffic of November 2000 (workloads)";
    const JUN: &str = "traffic of June 2001 (workloads)";
    Ok(Outcome {
        setup: format!(
            "{peers} peers of the presets flood-2000 and flood-2001: flat, TTL 7, two-state lives. flood-2000 is fitted: \
             how often peers search and ping, how many relations they look for and how many files there are were chosen so that \
             the mix of November 2000 comes out. flood-2001 is the same network with pongs from caches: what it carries is a \
             prediction. Traffic from minute {} to {}. The network measured had 50,000 nodes: \
             only the kind of the mix can be compared.",
            FROM_S / 60,
            UNTIL_S / 60
        ),
        rows: vec![
            row("flood-2000: bytes of queries", Published::Fitted(36.0), NOV, of_2000[0], "%"),
            row("flood-2000: bytes of pings and pongs", Published::Fitted(55.0), NOV, of_2000[1], "%"),
            row("flood-2000: all other bytes", Published::Fitted(9.0), NOV, of_2000[5], "%"),
            row("flood-2000: relations of a peer", Published::Fitted(3.4), VOLUME, of_2000[6], "relations"),
            row("flood-2000: rate of a relation", Published::Fitted(6.0), VOLUME, of_2000[2], "kbit/s"),
            row("flood-2001: bytes of queries", Published::Is(92.0), JUN, of_2001[0], "%"),
            row("flood-2001: bytes of pings and pongs", Published::Below(8.0), JUN, of_2001[1], "%"),
            row("flood-2001: bytes of hits", Published::Nothing, "-", of_2001[7], "%"),
        ],
        notes: vec![format!(
            "What is not queries in flood-2001 is hits, {:.0} % of the bytes. Pong caching changes neither queries nor hits, so it \
             cannot bring more than what the mix of November 2000 has without its pings: 36 of 36 + 9, 80 %. The 92 % of June 2001 \
             take fewer hits a query than in November 2000: a change of what was asked for, not of the protocol, and the preset \
             has the same files and searches.",
            of_2001[7].mean
        )],
        plots: Vec::new(),
    })
}

pub(super) fn caching(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(PEERS);
    let without = scale.estimates(|seed| traffic(&Preset::flood_2000(), peers, seed));
    let with =
        scale.estimates(|seed| traffic(&Preset { pong_caching: true, ..Preset::flood_2000() }, peers, seed));
    let saved = scale.estimates(|seed| {
        let cost = |pong_caching| traffic(&Preset { pong_caching, ..Preset::flood_2000() }, peers, seed)[3];
        vec![(1.0 - cost(true) / cost(false)) * 100.0]
    });
    let row = |what: &str, ours, unit| Row {
        what: what.into(),
        published: Published::Nothing,
        source: "-",
        ours,
        unit,
    };
    Ok(Outcome {
        setup: format!(
            "{peers} peers of flood-2000, each asking for pongs every 180 s: passed on to everybody, or answered from the \
             product's pong cache (10 pongs a ping)."
        ),
        rows: vec![
            row("pings and pongs a peer sends, passed on", without[4], "messages/s"),
            row("pings and pongs a peer sends, from caches", with[4], "messages/s"),
            row("their rate, passed on", without[3], "bit/s a peer"),
            row("their rate, from caches", with[3], "bit/s a peer"),
            row("bytes saved, same seeds", saved[0], "%"),
        ],
        notes: Vec::new(),
        plots: Vec::new(),
    })
}
