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
use crate::state::{Damaged, Reader, Saved, Writer};

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

    /// What [`Self::restore`] of the next instance needs to carry on; nothing unless given. The same history has to give the
    /// same bytes, so not in the order of a hash table: then a recording that begins with them is replayed exactly.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Carries on with what [`Self::save`] gave, which another version of this routing, or another routing, may have
    /// written. The links live on under their ids.
    fn restore(&mut self, state: &[u8]) {
        let _ = state;
    }

    /// A link has ended: what is kept about it can be forgotten.
    fn left(&mut self, link: LinkId) {
        let _ = link;
    }
}

/// What a routing of the former instance has saved, until there is one in this instance.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    state: Vec<u8>,
    left: Vec<LinkId>,
}

impl Inherited {
    /// A link of the former instance that has ended.
    pub(crate) fn left(&mut self, link: LinkId) {
        if !self.state.is_empty() {
            self.left.push(link);
        }
    }

    /// Gives it to the routing of this instance.
    pub(crate) fn give(self, routing: &mut dyn Routing) {
        if !self.state.is_empty() {
            routing.restore(&self.state);
            self.left.into_iter().for_each(|link| routing.left(link));
        }
    }
}

impl Saved for Inherited {
    fn save(&self, to: &mut Writer) {
        to.len_of(self.state.len());
        to.raw(&self.state);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let len = from.len_of(1, usize::MAX)?;
        Ok(Self { state: from.raw(len)?.to_vec(), left: Vec::new() })
    }
}

impl From<&dyn Routing> for Inherited {
    fn from(routing: &dyn Routing) -> Self {
        Self { state: routing.save(), left: Vec::new() }
    }
}
