//! What one instance leaves to the next: connections, listeners, datagram sockets, timers.
//!
//! All of it is put aside while no instance is there to have it, and the next one takes it over by asking for it
//! (`restore` in `proxylets/wit/types.wit`). What is put aside is neither read nor accepted from: the peers wait.

use std::collections::HashSet;

use crate::host::Env;
use crate::host::bindings::eep::proxylet::types::{CloseReason, Ended, Event};
use crate::host::clock::Timers;

/// What a service had at the moment at which its state was saved.
#[derive(Debug)]
pub(crate) struct Mark {
    /// The last batch that the state knows of.
    batch: u64,
    conns: Vec<u64>,
    listeners: Vec<u32>,
    sockets: Vec<u32>,
    timers: Timers,
}

impl Mark {
    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.conns.len()
    }
}

impl Env {
    /// What the service has now.
    pub(crate) fn mark(&self) -> Mark {
        let (net, inbox) = (self.net.borrow(), self.inbox.borrow());
        Mark {
            batch: inbox.taken(),
            conns: net.known(&inbox),
            listeners: net.listeners.ids().collect(),
            sockets: self.datagrams.borrow().ids().collect(),
            timers: self.timers.borrow().clone(),
        }
    }

    /// Puts aside all that an instance has.
    pub(crate) fn shelve(&self) {
        let mut net = self.net.borrow_mut();
        let known = net.known(&self.inbox.borrow());
        net.shelve(&known);
        net.listeners.shelve_all_but(&[]);
        self.datagrams.borrow_mut().shelve_all_but(&[]);
    }

    /// Gives back what the service had at `mark`, and puts aside the sockets that were opened since.
    pub(crate) fn give_back(&self, mark: &Mark) {
        let mut net = self.net.borrow_mut();
        net.unshelve();
        net.listeners.shelve_all_but(&mark.listeners);
        self.datagrams.borrow_mut().shelve_all_but(&mark.sockets);
        self.listening_changed.set(true);
    }

    /// Closes what is still put aside; how many connections these were.
    pub(crate) fn close_shelved(&self) -> usize {
        let mut net = self.net.borrow_mut();
        net.listeners.remove_shelved();
        self.datagrams.borrow_mut().remove_shelved();
        let ended = net.remove_shelved();
        drop(net);
        self.forget(&ended);
        ended.len()
    }

    /// Drops what the pending batch says of connections that have ended without a word.
    fn forget(&self, ended: &[u64]) {
        if !ended.is_empty() {
            let ended: HashSet<u64> = ended.iter().copied().collect();
            self.inbox.borrow_mut().forget(|conn| ended.contains(&conn));
        }
    }

    /// Ends the connections of which the state that was saved at `mark` is not the truth: those on which something has
    /// passed since, and those that were made since. With no mark, that is all of them.
    ///
    /// The others stay, and the timers are those of that moment. How many have ended.
    pub(crate) fn rewind(&self, mark: Option<&Mark>) -> usize {
        let taken = self.inbox.borrow().taken();
        let known: Vec<u64> = self.net.borrow().live(&self.inbox.borrow()).map(|conn| conn.id).collect();
        let had: HashSet<u64> = mark.map(|mark| mark.conns.iter().copied().collect()).unwrap_or_default();
        let mut net = self.net.borrow_mut();
        let mut stays = |id: u64| {
            let since = mark.map_or(0, |mark| mark.batch);
            had.contains(&id) && net.get_mut(id).is_some_and(|conn| !conn.touched_since(since, taken))
        };
        let ended: Vec<u64> = known.into_iter().filter(|id| !stays(*id)).collect();
        for id in &ended {
            net.remove(*id);
        }
        drop(net);
        self.forget(&ended);
        *self.timers.borrow_mut() = mark.map(|mark| mark.timers.clone()).unwrap_or_default();
        ended.len()
    }

    /// Takes the service back to what an instance knows that was paused at `mark`, and tells it of the connections that
    /// have ended for it since; how many these are.
    pub(crate) fn rewind_paused(&self, mark: &Mark) -> usize {
        self.rewind(Some(mark));
        let live: HashSet<u64> = self.net.borrow().known(&self.inbox.borrow()).into_iter().collect();
        let mut inbox = self.inbox.borrow_mut();
        let told = inbox.ended();
        let ended: Vec<u64> =
            mark.conns.iter().copied().filter(|id| !live.contains(id) && !told.contains(id)).collect();
        for id in &ended {
            inbox.push(Event::Closed(Ended { conn: *id, reason: CloseReason::Reset }));
        }
        ended.len()
    }

    /// Takes the timers back to what they were at `mark`.
    pub(crate) fn rewind_timers(&self, mark: &Mark) {
        *self.timers.borrow_mut() = mark.timers.clone();
    }
}
