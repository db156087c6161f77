//! directed-search: the stock Gnutella peer with other routing. It asks those of its neighbours that have answered most
//! so far (directed breadth-first search: B. Yang, H. Garcia-Molina, "Improving Search in Peer-to-Peer Networks", 2002,
//! section 3.2, ">RES").

use std::cmp::Reverse;
use std::collections::BTreeMap;

use avp::application::dynamic_query::Candidate;
use avp::application::routes::LinkId;
use avp::application::routing::{Routed, Routing};
use gnutella_shell::{Peer, Variant};

/// Neighbours that get a query.
const ASKED_MAX: usize = 4;

/// The files in the hits that came from each neighbour.
#[derive(Debug, Default)]
struct DirectedSearch(BTreeMap<LinkId, u64>);

impl Routing for DirectedSearch {
    fn choose(&mut self, _query: &Routed<'_>, neighbours: &mut Vec<Candidate>) {
        neighbours.sort_by_key(|neighbour| Reverse(self.0.get(&neighbour.link).copied()));
        neighbours.truncate(ASKED_MAX);
    }

    fn answered(&mut self, neighbour: LinkId, files: u16) {
        *self.0.entry(neighbour).or_default() += u64::from(files);
    }

    fn left(&mut self, link: LinkId) {
        self.0.remove(&link);
    }
}

impl Variant for DirectedSearch {
    fn routing() -> Option<Box<dyn Routing>> {
        Some(Box::<Self>::default())
    }
}

eep_sdk::proxylet!(Peer<DirectedSearch>, manifest = "../proxylet.json");
