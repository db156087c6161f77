//! What the policy says about connections, and who is at their other ends.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use policies::event::Direction;

use crate::host::Env;
use crate::host::bindings::eep::proxylet::types::CloseReason;
use crate::host::enforce::{At, Met};
use crate::host::inbox::Inbox;
use crate::host::net::Net;
use crate::host::net::connection::Phase;

impl Net {
    /// Connections from or to the address of a peer.
    fn count_from(&self, address: IpAddr) -> u32 {
        self.from_address.get(&address.to_canonical()).copied().unwrap_or(0)
    }

    /// Whether the policy lets a connection be made.
    pub(crate) fn may_be(&self, env: &Env, far: SocketAddr, direction: Direction) -> bool {
        let at = At { now_ns: env.clock.now_ns(), connections: self.conns.len(), log: &env.log };
        // This one included.
        env.policy.borrow_mut().admits(at, direction, far, None, self.count_from(far.ip()) + 1)
    }

    /// A peer's address, the connections from there, and whether it has connected to us. An unknown connection has no
    /// address.
    pub(crate) fn whereabouts(&mut self, id: u64) -> (Option<IpAddr>, u32, bool) {
        match self.get_mut(id).map(|conn| conn.far) {
            Some(far) => {
                let address = far.address.ip().to_canonical();
                (Some(address), self.count_from(address), far.inbound)
            }
            None => (None, 0, true),
        }
    }

    /// Keeps what the proxylet says of a peer, and which budgets its bytes count against.
    pub(crate) fn meet(&mut self, id: u64, met: Met, budgets: impl FnOnce(IpAddr, &Met) -> u32) {
        if let Some(conn) = self.get_mut(id) {
            conn.budgets = budgets(conn.far.address.ip(), &met);
            conn.met = Some(Box::new(met));
        }
    }

    /// What the proxylet has said of a peer.
    pub(crate) fn met(&mut self, id: u64) -> Option<&Met> {
        self.get_mut(id)?.met.as_deref()
    }

    /// Counts bytes of a connection against budgets.
    #[inline]
    pub(crate) fn meter(&mut self, budgets: u32, len: usize) {
        super::meter(&mut self.metered, budgets, len);
    }

    /// Which budgets a new connection's bytes count against.
    pub(crate) fn assign_budgets(&mut self, env: &Env, id: u64) {
        if let Some(conn) = self.get_mut(id) {
            conn.budgets = env.policy.borrow().budgets_of(conn.far.address.ip(), None);
        }
    }

    /// Brings what was counted to the budgets, and ends the connections of those whose budget is used up.
    pub(crate) fn spend(&mut self, env: &Env, inbox: &mut Inbox) {
        if self.metered.is_empty() {
            return;
        }
        let used_up = env.policy.borrow_mut().spend(env.clock.now_ns(), &mut self.metered);
        if used_up {
            self.end_denied(env, inbox);
        }
    }

    /// Another generation is in force: what it denies ends, and what lives on counts against its budgets.
    pub(crate) fn change_policy(&mut self, env: &Env, inbox: &mut Inbox) {
        self.metered.clear();
        self.end_denied(env, inbox);
        let enforcer = env.policy.borrow();
        for (_, conn) in &mut self.conns {
            conn.budgets = enforcer.budgets_of(conn.far.address.ip(), conn.met.as_deref());
        }
    }

    /// Ends the connections that the policy no longer lets be.
    fn end_denied(&mut self, env: &Env, inbox: &mut Inbox) {
        if env.policy.borrow().in_force().is_none() {
            return;
        }
        let at = At { now_ns: env.clock.now_ns(), connections: self.conns.len(), log: &env.log };
        let mut enforcer = env.policy.borrow_mut();
        let mut denied = Vec::new();
        let mut ended: HashMap<IpAddr, u32> = HashMap::new();
        for (_, conn) in &self.conns {
            if !matches!(conn.phase, Phase::Open | Phase::Connecting(_)) {
                continue;
            }
            let direction = if conn.far.inbound { Direction::Inbound } else { Direction::Outbound };
            // Where there are too many, no more are ended than that.
            let ended = ended.entry(conn.far.address.ip().to_canonical()).or_default();
            let from_there = self.count_from(conn.far.address.ip()) - *ended;
            if !enforcer.admits(at, direction, conn.far.address, conn.met.as_deref(), from_there) {
                denied.push(conn.id);
                *ended += 1;
            }
        }
        drop(enforcer);
        for id in denied {
            self.fail(id, CloseReason::NotGranted, inbox);
            env.figures.connections_denied.add(1);
        }
    }
}
