//! Connections that are no relation yet, at rest. Sums are made anew, and between two calls nobody is about to be inflated.

use super::{Opening, Openings};
use crate::host::ConnId;
use crate::state::{Damaged, Reader, Saved, Writer};

/// Accepted ones are bounded by themselves, dials by what bounds dials.
const OPENINGS_MAX: usize = 2 * super::OPENINGS_MAX;

impl Openings {
    pub(crate) fn save(&self, to: &mut Writer) {
        let conns = self.conns();
        to.len_of(conns.len());
        for conn in conns {
            if let Some(opening) = self.by_conn.get(&conn) {
                conn.save(to);
                opening.save(to);
            }
        }
        let came: Vec<&ConnId> = self.came.iter().filter(|conn| self.has(**conn)).collect();
        to.list(came.into_iter());
        self.crawls.save(to);
    }

    /// Takes over all of them.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        for _ in 0..from.len_of(1, OPENINGS_MAX)? {
            let (conn, opening) = (from.load()?, from.load()?);
            from.ensure(!self.has(conn))?;
            match &opening {
                Opening::Shaking(handshake) => self.reserve(None, handshake.reserved()),
                Opening::ConnectBack { .. } => self.connect_backs += 1,
                Opening::Dialled { .. } => {}
            }
            self.insert(conn, opening);
        }
        self.came = from.list(OPENINGS_MAX)?;
        self.crawls.load(from)
    }
}

impl Saved for Opening {
    fn save(&self, to: &mut Writer) {
        match self {
            Self::Dialled { deadline } => {
                to.raw(&[0]);
                deadline.save(to);
            }
            Self::ConnectBack { deadline } => {
                to.raw(&[1]);
                deadline.save(to);
            }
            Self::Shaking(handshake) => {
                to.raw(&[2]);
                handshake.save(to);
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(match from.array()? {
            [0] => Self::Dialled { deadline: from.load()? },
            [1] => Self::ConnectBack { deadline: from.load()? },
            [2] => Self::Shaking(from.load()?),
            _ => return Err(from.damaged()),
        })
    }
}
