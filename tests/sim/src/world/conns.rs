//! Connections between peers.

use avp::{ConnId, Instant};

use crate::internet::place::NodeId;

/// One side's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    conn: u32,
    /// Tells connections apart that have had the same place.
    serial: u32,
    /// 0 of the dialler, 1 of the dialled.
    pub side: u8,
}

impl End {
    /// The other side's end.
    #[must_use]
    pub const fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }

    /// As the virtual peer knows it: never the same again.
    #[must_use]
    pub fn id(self) -> ConnId {
        ConnId(u64::from(self.serial) << 33 | u64::from(self.conn) << 1 | u64::from(self.side))
    }

    /// The end that [`Self::id`] named.
    #[must_use]
    pub fn of(id: ConnId) -> Self {
        Self { conn: (id.0 >> 1) as u32, serial: (id.0 >> 33) as u32, side: (id.0 & 1) as u8 }
    }

    /// A number for its connection.
    #[must_use]
    pub fn conn_number(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.conn)
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

/// A connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Who, by side.
    pub nodes: [NodeId; 2],
    /// Whether a side is done with it.
    pub closed: [bool; 2],
    /// What each side's light peer wants to find again.
    pub keep: [Keep; 2],
    /// One-way delay in microseconds.
    pub delay_us: u32,
    /// Links between systems on the way.
    pub hops: u8,
    /// Whether both sides know of it.
    pub established: bool,
    /// When what a side sent last arrives: nothing overtakes it, and the other side has heard from it then.
    pub last_arrival: [Instant; 2],
    serial: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Conns {
    all: Vec<Conn>,
    free: Vec<u32>,
}

impl Conns {
    /// Opens one; the end is the dialler's.
    pub fn open(&mut self, nodes: [NodeId; 2], delay_us: u32, hops: u8) -> End {
        let fresh = Conn {
            nodes,
            closed: [false; 2],
            keep: [Keep::default(); 2],
            delay_us,
            hops,
            established: false,
            last_arrival: [Instant(0); 2],
            serial: 1,
        };
        match self.free.pop() {
            Some(place) => {
                let serial = self.all[place as usize].serial;
                self.all[place as usize] = Conn { serial, ..fresh };
                End { conn: place, serial, side: 0 }
            }
            None => {
                self.all.push(fresh);
                End { conn: self.all.len() as u32 - 1, serial: 1, side: 0 }
            }
        }
    }

    /// The connection of an end, while one of its sides is open.
    #[must_use]
    pub fn get(&self, end: End) -> Option<&Conn> {
        self.all.get(end.conn as usize).filter(|c| c.serial == end.serial)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, end: End) -> Option<&mut Conn> {
        self.all.get_mut(end.conn as usize).filter(|c| c.serial == end.serial)
    }

    /// Whose end it is, if that end is open.
    #[must_use]
    pub fn open_at(&self, end: End) -> Option<NodeId> {
        let conn = self.get(end)?;
        let side = usize::from(end.side);
        (!conn.closed[side]).then_some(conn.nodes[side])
    }

    /// Closes an end. The connection is forgotten when both are.
    pub fn close(&mut self, end: End) {
        let Some(conn) = self.get_mut(end) else { return };
        conn.closed[usize::from(end.side)] = true;
        if conn.closed == [true; 2] {
            conn.serial += 1;
            self.free.push(end.conn);
        }
    }

    /// Connections with an open end.
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
        let first = conns.open([1, 2], 10, 0);
        assert_eq!(End::of(first.id()), first);
        assert_eq!((conns.open_at(first), conns.open_at(first.other())), (Some(1), Some(2)));
        conns.close(first);
        assert_eq!((conns.open_at(first), conns.open_at(first.other())), (None, Some(2)));
        conns.close(first.other());
        assert!(conns.is_empty());
        let second = conns.open([3, 4], 10, 0);
        assert_ne!(second.id(), first.id());
        assert!(conns.get(first).is_none());
        conns.close(first);
        assert_eq!(conns.open_at(second), Some(3));
    }
}
