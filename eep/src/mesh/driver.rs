//! The task that owns the [`Core`]: it brings time, what was heard and what is asked to it, and carries out what it wants.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quinn::Endpoint;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant as Clock, MissedTickBehavior, interval, sleep_until};
use topology::dht::Key;
use topology::{Contact, Instant, NodeId};

use crate::mesh::core::Core;
use crate::mesh::link::{self, Close, Failed, Greeted, Greeting, Heard};
use crate::mesh::memory::{self, Memory};
use crate::mesh::streams::Streams;
use crate::mesh::tend::{EVERY, load_milli};
use crate::mesh::throughput::{LATE_EVERY, Trials, try_out};
use crate::mesh::{MeshSettings, key_of_name};

/// Handshakes under way that others began; from half of it on, addresses are validated first (RFC 9000, section 8.1).
const HANDSHAKES_MAX: usize = 64;
/// Frames that wait for the core.
pub(super) const HEARD_MAX: usize = 1024;
/// Connections that wait for the core.
const UP_MAX: usize = 64;
/// Questions of the node itself that wait for the core.
pub(super) const ASKS_MAX: usize = 256;
/// How often a node that was known before the last start is dialled.
const REMEMBERED_TIMES: u32 = 8;
/// The longest pause before a seed is dialled again.
const SEED_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Something to be done with the core.
pub(super) type Ask = Box<dyn FnOnce(&mut Core, Instant) + Send>;

/// A connection that stands, or a dial that has failed, with whom it was meant for.
type Up = (Option<Contact>, Result<Greeted, Failed>);

/// See the module's text.
pub(super) struct Driver {
    pub(super) core: Core,
    pub(super) endpoint: Endpoint,
    pub(super) streams: Arc<Streams>,
    pub(super) settings: MeshSettings,
    pub(super) origin: Clock,
}

/// The time as the sans-I/O planes have it; zero is before the first of it.
pub(super) fn since(origin: Clock) -> Instant {
    Instant(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
}

impl Driver {
    pub(super) async fn run(
        mut self,
        mut heard: mpsc::Receiver<(NodeId, u64, Heard)>,
        mut asks: mpsc::Receiver<Ask>,
        mut ending: watch::Receiver<bool>,
    ) {
        let (tell, mut ups) = mpsc::channel::<Up>(UP_MAX);
        let greeting = Greeting { boot: self.core.boot(), reach_at: self.settings.advertise };
        let accepting = tokio::spawn(accept(
            self.endpoint.clone(),
            greeting,
            Arc::clone(&self.core.domains),
            tell.clone(),
        ));
        let (seeds_tell, mut seeds) = mpsc::channel::<Contact>(UP_MAX);
        let mut memory = Memory::of(self.settings.remembered.clone());
        let remembered = memory::read(&self.settings.remembered);
        let remembered = remembered.into_iter().map(|address| (address.to_string(), REMEMBERED_TIMES));
        let seeds_named = self.settings.seeds.iter().cloned().map(|seed| (seed, u32::MAX));
        for (seed, times) in seeds_named.chain(remembered).collect::<Vec<_>>() {
            tokio::spawn(join_through(
                (seed, times),
                self.endpoint.clone(),
                greeting,
                Arc::clone(&self.core.domains),
                tell.clone(),
                seeds_tell.clone(),
                self.core.alive.subscribe(),
            ));
        }
        drop(seeds_tell);
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LATE_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seeds_left = true;
        let mut trials = Trials::default();
        loop {
            let due = self.core.due().map(|due| self.origin + Duration::from_nanos(due.0.saturating_sub(1)));
            let due = due.unwrap_or_else(|| Clock::now() + EVERY);
            tokio::select! {
                Some((from, serial, what)) = heard.recv() => {
                    self.core.heard(since(self.origin), from, serial, what);
                }
                Some((claimed, up)) = ups.recv() => self.up(claimed, up),
                seed = seeds.recv(), if seeds_left => match seed {
                    Some(seed) => self.core.dht.join(since(self.origin), &[seed]),
                    None => seeds_left = false,
                },
                ask = asks.recv() => match ask {
                    Some(ask) => ask(&mut self.core, since(self.origin)),
                    None => break,
                },
                () = sleep_until(due) => self.core.timeout(since(self.origin)),
                _ = tick.tick() => {
                    self.tend();
                    self.streams.admission.look();
                    self.measure(&mut trials);
                    memory.keep(&self.core);
                }
                _ = look.tick() => self.core.observe_delivery(since(self.origin)),
                _ = ending.wait_for(|ending| *ending) => break,
            }
            self.core.drain(since(self.origin));
            for contact in std::mem::take(&mut self.core.to_dial) {
                let (endpoint, domains, tell) =
                    (self.endpoint.clone(), Arc::clone(&self.core.domains), tell.clone());
                tokio::spawn(async move {
                    let up = link::dial(&endpoint, contact.addr, greeting, &domains).await;
                    // Where the core has gone, so has the mesh.
                    let _ = tell.send((Some(contact), up)).await;
                });
            }
            for (id, connection) in std::mem::take(&mut self.core.fresh) {
                if let Some(link) = self.core.links.get(&id) {
                    tokio::spawn(Arc::clone(&self.streams).serve(link.peer.clone(), connection));
                }
            }
        }
        accepting.abort();
        for link in self.core.links.values() {
            link::close(&link.connection, Close::Ending);
        }
        self.endpoint.close(quinn::VarInt::from_u32(Close::Ending as u32), &[]);
    }

    fn up(&mut self, claimed: Option<Contact>, up: Result<Greeted, Failed>) {
        let now = since(self.origin);
        match (claimed, up) {
            (claimed, Ok(greeted)) => self.core.up(now, claimed, greeted),
            (Some(claimed), Err(why)) => {
                tracing::debug!(peer = %claimed.id, address = %claimed.addr, %why, "not reached");
                self.core.failed(now, claimed, &why);
            }
            (None, Err(why)) => {
                tracing::debug!(%why, "a handshake failed");
                let counts = &mut self.core.counts;
                let counter =
                    if why.is_distrust() { &mut counts.untrusted } else { &mut counts.handshakes_failed };
                *counter += 1;
            }
        }
    }

    /// Looks at how much links carry, and tries one out where it is to be.
    fn measure(&mut self, trials: &mut Trials) {
        let chosen = self.core.observe_links(since(self.origin), trials);
        if let Some((id, serial, connection)) = chosen {
            let streams = Arc::clone(&self.streams);
            tokio::spawn(async move {
                let kbps = try_out(&connection).await;
                streams.tried((id, serial), kbps).await;
            });
        }
    }

    fn tend(&mut self) {
        let now = since(self.origin);
        let fixed = self.settings.advertise.is_some();
        self.core.settle_address(now, fixed);
        self.core.tend_links(now);
        if let Some(milli) = load_milli() {
            self.core.soar.load(now, milli);
        }
        let offers = self.streams.requests.offers();
        let services = offers
            .services
            .iter()
            .chain(&self.streams.services())
            .map(|s| Key::service(s))
            .collect::<Vec<_>>();
        let mut keys: BTreeSet<Key> = services.into_iter().collect();
        keys.extend(offers.digests.iter().map(Key::digest));
        keys.insert(key_of_name(&self.settings.name));
        self.core.publish(now, &keys);
    }
}

/// Takes connections up.
async fn accept(
    endpoint: Endpoint,
    greeting: Greeting,
    domains: crate::mesh::trust::SharedDomains,
    tell: mpsc::Sender<Up>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        if handshakes.available_permits() < HANDSHAKES_MAX / 2 && !incoming.remote_address_validated() {
            // Where it cannot be asked to prove its address it is passed over, and will try again.
            let _ = incoming.retry();
            continue;
        }
        let (domains, tell) = (Arc::clone(&domains), tell.clone());
        tokio::spawn(async move {
            let up = link::accept(incoming, greeting, &domains).await;
            drop(permit);
            // Where the core has gone, so has the mesh.
            let _ = tell.send((None, up)).await;
        });
    }
}

/// Dials a seed until it has answered, at most so many times, and tells who it is.
async fn join_through(
    (seed, times): (String, u32),
    endpoint: Endpoint,
    greeting: Greeting,
    domains: crate::mesh::trust::SharedDomains,
    tell: mpsc::Sender<Up>,
    found: mpsc::Sender<Contact>,
    alive: watch::Receiver<BTreeSet<NodeId>>,
) {
    let mut pause = EVERY;
    for _ in 0..times {
        let ours = endpoint.local_addr().ok();
        let addresses =
            tokio::net::lookup_host(&seed).await.map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        for address in addresses.into_iter().filter(|a| Some(*a) != ours) {
            match link::dial(&endpoint, address, greeting, &domains).await {
                Ok(greeted) => {
                    let contact = greeted.contact;
                    if tell.send((None, Ok(greeted))).await.is_ok() {
                        let _ = found.send(contact).await;
                    }
                    // A node that is alone later on joins again through its seeds.
                    loop {
                        tokio::select! {
                            () = tokio::time::sleep(SEED_PAUSE_MAX) => {}
                            () = tell.closed() => return,
                        }
                        if alive.borrow().is_empty() {
                            break;
                        }
                    }
                    pause = EVERY;
                }
                Err(why) => {
                    tracing::info!(seed, %address, %why, "a seed was not reached");
                    if why.is_distrust() && tell.send((None, Err(why))).await.is_err() {
                        return;
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = tell.closed() => return,
        }
        pause = (pause * 2).min(SEED_PAUSE_MAX);
    }
}
