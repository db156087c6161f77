//! What the policy says about connections, and who is at their other ends.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use policies::event::Direction;

use crate::host::Env;
use crate::host::bindings::eep::proxylet::types::CloseReason;
use crate::host::enforce::{At, Enforcer, Known, Met};
use crate::host::inbox::Inbox;
use crate::host::measured::Measured;
use crate::host::net::connection::{Conn, Far, Phase};
use crate::host::net::shape::{Shaper, UNCLASSED, Way};
use crate::host::net::{Net, find, place_of};

/// Groups of peers that are a service's neighbours in its overlay.
const NEIGHBOURS: [&str; 3] = ["ultrapeer", "virtual-peer", "node"];

impl Net {
    /// Connections from or to the address of a peer.
    fn count_from(&self, address: IpAddr) -> u32 {
        self.from_address.get(&address.to_canonical()).copied().unwrap_or(0)
    }

    /// Whether the policy lets a connection be made.
    pub(crate) fn may_be(&self, env: &Env, far: SocketAddr, direction: Direction) -> bool {
        // This one included.
        let known = Known::at(direction, far.ip(), self.count_from(far.ip()) + 1);
        env.policy.borrow_mut().admits(At::of(env), &known)
    }

    /// What is known of a peer. That of an unknown connection has no address.
    pub(crate) fn peer(&self, id: u64) -> Known<'_> {
        match self.conns.get(place_of(id)).filter(|conn| conn.id == id) {
            Some(conn) => conn.known(self.count_from(conn.far.address.ip())),
            None => {
                let direction = Direction::Inbound;
                Known { direction, address: None, node: None, met: None, measured: None, from_there: 0 }
            }
        }
    }

    /// Keeps what the proxylet says of a link.
    pub(crate) fn measure(&mut self, id: u64, measured: Measured) {
        if let Some(conn) = find(&mut self.conns, id) {
            conn.measured = Some(Box::new(measured));
        }
    }

    /// Keeps what the proxylet says of a peer.
    pub(crate) fn meet(&mut self, at: At<'_>, id: u64, met: Met, enforcer: &mut Enforcer) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        let from_there = count_from(&self.from_address, conn.far);
        let was = conn.is_neighbour();
        conn.met = Some(Box::new(met));
        self.figures
            .neighbours
            .set(self.figures.neighbours.get() + u64::from(conn.is_neighbour()) - u64::from(was));
        if assign(conn, at, from_there, enforcer) {
            conn.mark(&self.shaper);
        }
    }

    /// Counts bytes of a connection against budgets.
    #[inline]
    pub(crate) fn meter(&mut self, budgets: u32, len: usize) {
        super::meter(&mut self.metered, budgets, len);
    }

    /// Finds budgets and class of a new connection.
    pub(crate) fn assign(&mut self, env: &Env, id: u64) {
        let at = At::of(env);
        let Some(conn) = find(&mut self.conns, id) else { return };
        let from_there = count_from(&self.from_address, conn.far);
        if assign(conn, at, from_there, &mut env.policy.borrow_mut()) {
            conn.mark(&self.shaper);
        }
    }

    /// Marks the packets of a connection that is up by now as its class's.
    pub(crate) fn mark(&mut self, id: u64) {
        if let Some(conn) = find(&mut self.conns, id).filter(|conn| conn.class != UNCLASSED) {
            conn.mark(&self.shaper);
        }
    }

    /// Whether a datagram may pass: its class is not at its ceiling.
    pub(crate) fn pass_datagram(&mut self, class: u8, direction: Direction, len: usize) -> bool {
        let way = if direction == Direction::Inbound { Way::In } else { Way::Out };
        self.shaper.pass_datagram(class, way, len)
    }

    /// Brings what was counted to the budgets, and does what they say where one is used up, or no longer.
    pub(crate) fn spend(&mut self, env: &Env, inbox: &mut Inbox) {
        if !env.policy.borrow().has_traffic() {
            return;
        }
        let spent = env.policy.borrow_mut().spend(env.clock.now_ns(), &mut self.metered);
        let Some(changed) = spent else { return };
        if self.shaper.has_classes() {
            let full = env.policy.borrow_mut().is_uplink_full(At::of(env));
            self.shaper.crowd(full);
        }
        if changed {
            self.end_denied(env, inbox);
        }
        if changed || env.policy.borrow().classes_vary() {
            self.assign_all(env, false);
        }
    }

    /// Another generation is in force: what it denies ends, and what lives on counts against its budgets and is in its
    /// classes.
    pub(crate) fn change_policy(&mut self, env: &Env, inbox: &mut Inbox) {
        self.metered.clear();
        self.end_denied(env, inbox);
        for id in self.shaper.take_waiting() {
            self.wake(id);
        }
        self.begin_policy(env);
        self.assign_all(env, true);
    }

    /// Fills the buckets of the classes of the policy in force.
    pub(crate) fn begin_policy(&mut self, env: &Env) {
        self.shaper = match env.policy.borrow().in_force() {
            Some(now) => Shaper::new(now.policy().classes(), env.clock),
            None => Shaper::default(),
        };
    }

    /// `anew` says that the classes are others, whatever their places.
    fn assign_all(&mut self, env: &Env, anew: bool) {
        let at = At::of(env);
        let mut enforcer = env.policy.borrow_mut();
        for (_, conn) in &mut self.conns {
            let from_there = count_from(&self.from_address, conn.far);
            let was_in_one = conn.class != UNCLASSED;
            if assign(conn, at, from_there, &mut enforcer) || (anew && was_in_one) {
                conn.mark(&self.shaper);
                // Its class may have held it back.
                conn.wake();
            }
        }
    }

    /// Ends the connections that the policy no longer lets be.
    fn end_denied(&mut self, env: &Env, inbox: &mut Inbox) {
        if env.policy.borrow().in_force().is_none() {
            return;
        }
        let at = At::of(env);
        let mut enforcer = env.policy.borrow_mut();
        let mut denied = Vec::new();
        let mut ended: HashMap<IpAddr, u32> = HashMap::new();
        for (_, conn) in &self.conns {
            if !matches!(conn.phase, Phase::Open | Phase::Connecting(_)) {
                continue;
            }
            // Where there are too many, no more are ended than that.
            let ended = ended.entry(conn.far.address.ip().to_canonical()).or_default();
            let from_there = self.count_from(conn.far.address.ip()) - *ended;
            if !enforcer.admits(at, &conn.known(from_there)) {
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

impl Conn {
    fn mark(&self, shaper: &Shaper) {
        if let Some(stream) = &self.stream {
            shaper.mark(self.class, stream, self.far.address);
        }
    }

    /// What is known of the peer, with so many connections from there.
    fn known(&self, from_there: u32) -> Known<'_> {
        Known {
            direction: if self.far.inbound { Direction::Inbound } else { Direction::Outbound },
            address: Some(self.far.address.ip().to_canonical()),
            node: self.peer.as_ref().map(|peer| peer.node.as_str()),
            met: self.met.as_deref(),
            measured: self.measured.as_deref(),
            from_there,
        }
    }

    /// Whether the proxylet calls the peer a neighbour.
    pub(super) fn is_neighbour(&self) -> bool {
        self.met.as_ref().is_some_and(|met| NEIGHBOURS.contains(&met.group.as_str()))
    }
}

fn count_from(from_address: &HashMap<IpAddr, u32>, far: Far) -> u32 {
    from_address.get(&far.address.ip().to_canonical()).copied().unwrap_or(0)
}

/// Finds the budgets that a connection counts against, and its class; whether that is another one.
fn assign(conn: &mut Conn, at: At<'_>, from_there: u32, enforcer: &mut Enforcer) -> bool {
    let known = conn.known(from_there);
    let budgets = enforcer.budgets_of(at, &known);
    let class = enforcer.class_of(at, &known, Some(conn.class));
    conn.budgets = budgets;
    std::mem::replace(&mut conn.class, class) != class
}
