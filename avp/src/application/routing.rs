//! Who of the neighbours gets a query: the part of routing that can be exchanged.
//!
//! What may be sent at all is not for it to say: duplicates, hops that are used up and links under flow control are
//! sorted out before it is asked, and leaves get what their tables match. A peer without a [`Routing`] passes a
//! neighbour's query to all others, and puts a leaf's query to one neighbour after the other, from a random one on.

use std::fmt::Debug;

use crate::application::dynamic_query::Candidate;
use crate::application::routes::LinkId;
use crate::gnutella::Guid;
use crate::gnutella::query::Query;

/// A query that is looking for its way.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// Its id.
    pub guid: Guid,
    /// What is looked for.
    pub query: Query<'a>,
    /// The link from which it came.
    pub from: LinkId,
    /// Whether a leaf asks: its neighbours are then asked one after the other until there are enough hits, at each step
    /// anew. A neighbour's query goes to all that are left at once.
    pub from_leaf: bool,
}

/// Chooses the way of queries: [`crate::VirtualPeer::route_with`].
///
/// A virtual peer is a function of its events, its seed and its clock. A routing that keeps to what it is told stays one.
pub trait Routing: Debug + Send {
    /// Takes out of `neighbours` who is not to get the query, and puts the others into the order in which they are to be
    /// asked. They come
    /// from a random one on where a leaf asks.
    fn choose(&mut self, query: &Routed<'_>, neighbours: &mut Vec<Candidate>);

    /// Hits came from a neighbour; `files` is how many.
    fn answered(&mut self, neighbour: LinkId, files: u16) {
        let _ = (neighbour, files);
    }

    /// A link has ended: what is kept about it can be forgotten.
    fn left(&mut self, link: LinkId) {
        let _ = link;
    }
}
