//! What becomes of what a proxylet asks of the network in a call.
//!
//! As a rule it is done at once. While a new version of the code is on probation it is held back until the call has
//! returned, so that a call which traps has had no effect and its batch can be given to the former version. While the
//! former version catches up with what the new one has handled, it has been done already.

use std::cell::RefMut;
use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::host::Env;
use crate::host::bindings::eep::proxylet::net::Segment;
use crate::host::bindings::eep::proxylet::types::{CloseReason, Ended, Event};
use crate::host::clock::Timers;
use crate::host::datagram;
use crate::host::net::Net;
use crate::host::net::link::send_now;
use crate::host::outside::Request;
use crate::host::requests::key;

/// Something asked of the network whose answer does not wait for it.
#[derive(Debug)]
pub(crate) enum Ask {
    Send { bytes: Vec<u8>, targets: Vec<u64>, segments: Vec<Segment> },
    Datagram { socket: u32, to: SocketAddr, bytes: Vec<u8> },
    Close(u64),
    Abort(u64),
    Inflate(u64, Vec<u8>),
    Deflate(u64),
    Receive(u64, bool),
    Unlisten(u32),
    Unbind(u32),
    Request(u64, Request),
}

/// Where a connection was to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Address(SocketAddr),
    /// A service of the mesh.
    Service(String),
}

/// What becomes of it.
#[derive(Debug, Default)]
pub(crate) enum Effects {
    /// It is done at once.
    #[default]
    Live,
    /// It waits for the end of the call.
    Held(Box<Held>),
    /// It was done when another instance handled the same batch.
    Past(Done),
}

/// What a call has asked, and what it takes to undo what could not wait.
#[derive(Debug)]
pub(crate) struct Held {
    asked: Vec<Ask>,
    bytes: usize,
    /// Bytes for each connection among them.
    sending: HashMap<u64, usize>,
    /// Connections that the proxylet was told to be congested.
    congested: Vec<u64>,
    connects: Vec<(Called, u64)>,
    listeners: Vec<u32>,
    sockets: Vec<u32>,
    requests: Vec<(Vec<u8>, u64)>,
    /// The timers before the call.
    timers: Timers,
}

/// What was done that another instance, which handles the same batch, cannot do again.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Connections that were asked for, in that order.
    pub(crate) connects: Vec<(Called, u64)>,
    /// Requests that were made, in that order.
    pub(crate) requests: Vec<(Vec<u8>, u64)>,
    /// Connections that were closed.
    pub(crate) closed: BTreeSet<u64>,
}

impl Done {
    /// Adds what was done later.
    pub(crate) fn extend(&mut self, later: Self) {
        self.connects.extend(later.connects);
        self.requests.extend(later.requests);
        self.closed.extend(later.closed);
    }

    /// The first such request.
    fn take_request(&mut self, key: &[u8]) -> Option<u64> {
        let first = self.requests.iter().position(|(made, _)| made == key)?;
        Some(self.requests.remove(first).1)
    }

    /// The connection to there that was asked for first.
    fn take_connect(&mut self, to: &Called) -> Option<u64> {
        let first = self.connects.iter().position(|(made, _)| made == to)?;
        Some(self.connects.remove(first).1)
    }
}

impl Held {
    /// Bytes that one call may ask to be sent while they are held back.
    const BYTES_MAX: usize = 64 << 20;

    fn push(&mut self, ask: Ask, bytes: usize) -> wasmtime::Result<()> {
        self.bytes += bytes;
        if self.bytes > Self::BYTES_MAX {
            wasmtime::bail!(
                "one call sent more than {} MiB while the version was on probation",
                Self::BYTES_MAX >> 20
            );
        }
        self.asked.push(ask);
        Ok(())
    }
}

impl Env {
    fn held(&self) -> Option<RefMut<'_, Held>> {
        RefMut::filter_map(self.effects.borrow_mut(), |effects| match effects {
            Effects::Held(held) => Some(held.as_mut()),
            _ => None,
        })
        .ok()
    }

    /// Does what was asked, or keeps it for later.
    pub(crate) fn ask(&self, ask: Ask) -> wasmtime::Result<()> {
        match &mut *self.effects.borrow_mut() {
            Effects::Live => {}
            Effects::Held(held) => {
                let bytes = match &ask {
                    Ask::Datagram { bytes, .. } | Ask::Inflate(_, bytes) => bytes.len(),
                    _ => 0,
                };
                return held.push(ask, bytes);
            }
            Effects::Past(done) => match ask {
                Ask::Close(id) | Ask::Abort(id) => {
                    done.closed.remove(&id);
                    return Ok(());
                }
                // The former version's wish holds from here on.
                Ask::Receive(..) | Ask::Unlisten(_) | Ask::Unbind(_) => {}
                _ => return Ok(()),
            },
        }
        self.perform(ask)
    }

    fn perform(&self, ask: Ask) -> wasmtime::Result<()> {
        let mut net = self.net.borrow_mut();
        match ask {
            Ask::Send { bytes, targets, segments } => {
                drop(net);
                return send_now(self, &bytes, &targets, segments.into_iter()).map(drop);
            }
            Ask::Datagram { socket, to, bytes } => {
                drop(net);
                datagram::send(self, socket, to, &bytes);
                return Ok(());
            }
            Ask::Close(id) => net.close(id, self.clock.now_ns()),
            Ask::Abort(id) => net.remove(id),
            Ask::Inflate(id, rest) => net.inflate(id, &rest, &mut self.inbox.borrow_mut()),
            Ask::Deflate(id) => net.deflate(id),
            Ask::Receive(id, on) => net.receive(id, on),
            Ask::Unlisten(id) => {
                net.listeners.remove(id);
                self.listening_changed.set(true);
            }
            Ask::Unbind(id) => {
                self.datagrams.borrow_mut().remove(id);
                self.listening_changed.set(true);
            }
            Ask::Request(id, request) => {
                drop(net);
                self.begin_request(id, request);
            }
        }
        Ok(())
    }

    /// Keeps a send for later, where sends are kept: the connections that are congested with it.
    pub(crate) fn hold_send(
        &self,
        bytes: &[u8],
        targets: &[u64],
        segments: impl Iterator<Item = Segment> + Clone,
    ) -> Option<wasmtime::Result<Vec<u64>>> {
        match &*self.effects.borrow() {
            Effects::Live => return None,
            // Whoever is congested is reported again with the next send that counts.
            Effects::Past(_) => return Some(Ok(Vec::new())),
            Effects::Held(_) => {}
        }
        let mut held = self.held()?;
        let mut net = self.net.borrow_mut();
        let mut congested = Vec::new();
        let mut to = targets.iter().map(|id| u64::from_le(*id));
        for segment in segments.clone() {
            for id in to.by_ref().take(segment.targets as usize) {
                let Some(conn) = net.get_mut(id) else { continue };
                let sending = held.sending.entry(id).or_default();
                *sending += segment.len as usize;
                if conn.waiting() + *sending > Net::CONGESTED_BYTES && !conn.reported {
                    conn.reported = true;
                    congested.push(id);
                }
            }
        }
        net.report_congested(&congested);
        held.congested.extend(&congested);
        let segments: Vec<Segment> = segments.collect();
        let len = bytes.len() + size_of_val(targets) + size_of_val(&segments[..]);
        let ask = Ask::Send { bytes: bytes.to_vec(), targets: targets.to_vec(), segments };
        Some(held.push(ask, len).map(|()| congested))
    }

    /// The connection that another instance has asked for with the same batch; none where none has, and an answer only
    /// while one catches up.
    pub(crate) fn past_connect(&self, to: &Called) -> Option<Option<u64>> {
        match &mut *self.effects.borrow_mut() {
            Effects::Past(done) => Some(done.take_connect(to)),
            _ => None,
        }
    }

    /// The request that another instance has made with the same batch, as [`Self::past_connect`] has its connections.
    pub(crate) fn past_request(&self, key: &[u8]) -> Option<Option<u64>> {
        match &mut *self.effects.borrow_mut() {
            Effects::Past(done) => Some(done.take_request(key)),
            _ => None,
        }
    }

    /// Keeps a request for later, where requests are kept.
    pub(crate) fn hold_request(&self, id: u64, request: &Request) -> Option<()> {
        let mut held = self.held()?;
        held.requests.push((key(request), id));
        // What it carries was counted when it crossed the boundary.
        held.asked.push(Ask::Request(id, request.clone()));
        Some(())
    }

    /// Notes what could not wait for the end of the call.
    pub(crate) fn connected(&self, to: Called, id: u64) {
        if let Some(mut held) = self.held() {
            held.connects.push((to, id));
        }
    }

    /// Notes a listener that was opened.
    pub(crate) fn listened(&self, id: u32) {
        if let Some(mut held) = self.held() {
            held.listeners.push(id);
        }
    }

    /// Notes a datagram socket that was opened.
    pub(crate) fn bound(&self, id: u32) {
        if let Some(mut held) = self.held() {
            held.sockets.push(id);
        }
    }

    /// From here on, what is asked waits for [`Self::commit`] or [`Self::discard`].
    pub(crate) fn hold(&self) {
        let held = Held {
            asked: Vec::new(),
            bytes: 0,
            sending: HashMap::new(),
            congested: Vec::new(),
            connects: Vec::new(),
            listeners: Vec::new(),
            sockets: Vec::new(),
            requests: Vec::new(),
            timers: self.timers.borrow().clone(),
        };
        *self.effects.borrow_mut() = Effects::Held(Box::new(held));
    }

    /// Does what was asked since [`Self::hold`]. Sockets that were to be closed are put aside: the former version may
    /// need them again.
    pub(crate) fn commit(&self) -> Done {
        let Effects::Held(held) = mem::take(&mut *self.effects.borrow_mut()) else { return Done::default() };
        let mut done = Done { connects: held.connects, requests: held.requests, closed: BTreeSet::new() };
        for ask in held.asked {
            match ask {
                Ask::Close(id) | Ask::Abort(id) => {
                    done.closed.insert(id);
                    done.connects.retain(|(_, made)| *made != id);
                }
                Ask::Unlisten(id) => {
                    self.net.borrow_mut().listeners.shelve(id);
                    self.listening_changed.set(true);
                    continue;
                }
                Ask::Unbind(id) => {
                    self.datagrams.borrow_mut().shelve(id);
                    self.listening_changed.set(true);
                    continue;
                }
                _ => {}
            }
            // It was checked when it was asked.
            let _ = self.perform(ask);
        }
        self.net.borrow_mut().expect_writable(&held.congested);
        done
    }

    /// Forgets what was asked since [`Self::hold`], and undoes what could not wait.
    pub(crate) fn discard(&self) {
        let Effects::Held(held) = mem::take(&mut *self.effects.borrow_mut()) else { return };
        let mut net = self.net.borrow_mut();
        for (_, id) in held.connects {
            net.remove(id);
        }
        for id in held.listeners {
            net.listeners.remove(id);
        }
        for id in held.sockets {
            self.datagrams.borrow_mut().remove(id);
        }
        for (_, id) in held.requests {
            self.requests.borrow_mut().take_back(id);
        }
        *self.timers.borrow_mut() = held.timers;
        self.listening_changed.set(true);
    }

    /// From here on, what is asked was done before.
    pub(crate) fn relive(self: &Rc<Self>, done: Done) {
        match &mut *self.effects.borrow_mut() {
            Effects::Past(before) => before.extend(done),
            effects => *effects = Effects::Past(done),
        }
    }

    /// Ends [`Self::relive`]. Connections that only the other instance has opened are ended, and those that only it has
    /// closed are told to have ended.
    pub(crate) fn live_on(&self) {
        let Effects::Past(done) = mem::take(&mut *self.effects.borrow_mut()) else { return };
        let mut inbox = self.inbox.borrow_mut();
        let mut net = self.net.borrow_mut();
        for (_, id) in done.connects {
            net.fail(id, CloseReason::Reset, &mut inbox);
        }
        for id in done.closed {
            inbox.push(Event::Closed(Ended { conn: id, reason: CloseReason::Reset }));
        }
    }
}
