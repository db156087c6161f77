//! Connections between peers. Each side keeps an end of its own, since the two peers may be in different shards; what the
//! other side has done is known when it has been told.

use std::hint::black_box;

use avp::{ConnId, Instant};

use crate::internet::place::NodeId;

/// A peer's end of a connection, among those of its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    place: u32,
    /// Tells ends apart that have had the same place.
    serial: u32,
}

impl End {
    /// As the virtual peer knows it: never the same again.
    #[must_use]
    pub fn id(self) -> ConnId {
        ConnId(self.number())
    }

    /// The end that [`Self::id`] named.
    #[must_use]
    pub fn of(id: ConnId) -> Self {
        Self { place: id.0 as u32, serial: (id.0 >> 32) as u32 }
    }

    /// A number for it, among the ends of its shard.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.place)
    }
}

/// What a light peer keeps at its end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Which of its links it is.
    pub index: u32,
    /// Its number among routers, if it is one.
    pub router: u32,
    /// How many links there were when its life began.
    pub born: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { index: u32::MAX, router: u32::MAX, born: 0 }
    }
}

/// One side of a connection.
#[derive(Clone, Debug)]
pub struct Half {
    /// Whose it is.
    pub node: NodeId,
    /// Who is at the other side.
    pub other: NodeId,
    /// The end of the other side, once it is connected.
    pub far: Option<End>,
    /// What this side's light peer wants to find again.
    pub keep: Keep,
    /// One-way delay in microseconds.
    pub delay_us: u32,
    /// Links between systems on the way.
    pub hops: u8,
    /// Whether this side is done with it, and the other may not know it yet.
    pub closed: bool,
    /// When what this side sent last arrives: nothing overtakes it.
    pub arrival: Instant,
    /// When the last of what is known to come from the other side arrives; 0 before the first.
    pub heard: Instant,
    serial: u32,
}

/// The ends of a shard's peers.
#[derive(Debug, Default)]
pub struct Conns {
    all: Vec<Half>,
    free: Vec<u32>,
}

impl Conns {
    /// Opens an end for a peer towards another.
    pub fn open(&mut self, [node, other]: [NodeId; 2], far: Option<End>, delay_us: u32, hops: u8) -> End {
        let fresh = Half {
            node,
            other,
            far,
            keep: Keep::default(),
            delay_us,
            hops,
            closed: false,
            arrival: Instant(0),
            heard: Instant(0),
            serial: 1,
        };
        match self.free.pop() {
            Some(place) => {
                let serial = self.all[place as usize].serial;
                self.all[place as usize] = Half { serial, ..fresh };
                End { place, serial }
            }
            None => {
                self.all.push(fresh);
                End { place: self.all.len() as u32 - 1, serial: 1 }
            }
        }
    }

    /// What is known at an end, until it is forgotten.
    #[must_use]
    pub fn get(&self, end: End) -> Option<&Half> {
        self.all.get(end.place as usize).filter(|half| half.serial == end.serial)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, end: End) -> Option<&mut Half> {
        self.all.get_mut(end.place as usize).filter(|half| half.serial == end.serial)
    }

    /// What is known at an end that its side is not done with.
    pub fn get_open(&mut self, end: End) -> Option<&mut Half> {
        self.get_mut(end).filter(|half| !half.closed)
    }

    /// Reads what is known at ends, so that who needs it next waits for the memory once.
    pub(super) fn read_ahead(&self, ends: impl Iterator<Item = End>) {
        let read = |end: End| self.all.get(end.place as usize).map(|half| half.keep.router);
        black_box(ends.filter_map(read).fold(0, |sum, router| sum ^ router));
    }

    /// Whose end it is, if that end is open.
    #[must_use]
    pub fn open_at(&self, end: End) -> Option<NodeId> {
        self.get(end).filter(|half| !half.closed).map(|half| half.node)
    }

    /// Forgets an end: both sides are done with it.
    pub fn forget(&mut self, end: End) {
        let Some(half) = self.get_mut(end) else { return };
        half.serial += 1;
        half.closed = true;
        half.far = None;
        self.free.push(end.place);
    }

    /// Ends of connections that stand.
    #[must_use]
    pub fn standing(&self) -> usize {
        self.all.iter().filter(|half| !half.closed && half.far.is_some()).count()
    }

    /// Ends that are not forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_never_somebody_elses_later() {
        let mut conns = Conns::default();
        let first = conns.open([1, 2], None, 10, 0);
        assert_eq!(End::of(first.id()), first);
        assert_eq!((conns.open_at(first), conns.standing()), (Some(1), 0));
        conns.get_mut(first).unwrap().far = Some(first);
        assert_eq!(conns.standing(), 1);
        conns.get_mut(first).unwrap().closed = true;
        assert_eq!((conns.open_at(first), conns.len(), conns.standing()), (None, 1, 0));
        assert!(conns.get_open(first).is_none() && conns.get(first).is_some());
        conns.forget(first);
        assert!(conns.is_empty());
        let second = conns.open([3, 4], None, 10, 0);
        assert_ne!(second.id(), first.id());
        assert!(conns.get(first).is_none());
        conns.forget(first);
        assert_eq!(conns.open_at(second), Some(3));
    }
}
