//! Plays a scenario: one step after the other, and the proxylet's answers in between.

use std::net::SocketAddr;

use serde_json::{Map, Value};

use crate::host::grant::Grants;
use crate::proxylet::harness::Harness;
use crate::proxylet::harness::capabilities::TestHost;
use crate::proxylet::harness::instance::TestInstance;
use crate::proxylet::harness::scenario::{Connect, Datagram, Figure, Scenario, Sent, Setting, Speech, Step};

/// How far the clock runs for something that must happen.
const PATIENCE_NS: u64 = 30_000_000_000;
/// What one batch takes: time never stands still altogether.
const BATCH_NS: u64 = 1_000;
/// Batches in a row without a pause, of which a proxylet that comes to rest needs a few.
const BATCHES_MAX: usize = 10_000;
/// How much of what was heard is shown.
const SHOWN_BYTES_MAX: usize = 400;
/// Addresses of peers that do not say theirs.
const PEER_NET: [u8; 3] = [198, 51, 100];

/// Why a scenario failed, and at which line.
pub(super) struct Failure {
    pub(super) line: Option<u64>,
    pub(super) why: String,
}

/// Plays a scenario; with what the proxylet logged.
pub(super) fn play(harness: &Harness, scenario: &Scenario) -> (Result<(), Failure>, Vec<String>) {
    let setting = &scenario.setting;
    let begun = Player::begin(harness, setting);
    let mut player = match begun {
        Ok(player) => player,
        Err((why, log)) => return (Err(Failure { line: None, why }), log),
    };
    let mut played = Ok(());
    for step in &setting.steps {
        if let Err(why) = player.step(&step.value) {
            let line = step.referenced.line();
            played = Err(Failure { line: (line > 0).then_some(line), why });
            break;
        }
    }
    let played = played.and_then(|()| player.stop().map_err(|why| Failure { line: None, why }));
    (played, player.log())
}

struct Player<'a> {
    harness: &'a Harness,
    setting: &'a Setting,
    config: Map<String, Value>,
    /// None only between two instances.
    instance: Option<TestInstance>,
    /// Lines of the log that a step has looked at.
    looked_at: usize,
    peers: u8,
}

impl<'a> Player<'a> {
    fn begin(harness: &'a Harness, setting: &'a Setting) -> Result<Self, (String, Vec<String>)> {
        let manifest = &harness.inspection.manifest;
        let config = manifest.config_with(&setting.config);
        let none = |why: String| (why, Vec::new());
        let grants: Grants = match &setting.grant {
            Some(grants) => grants.iter().copied().collect(),
            None => {
                let wanted = manifest.grants_wanted(&config).map_err(|error| none(error.to_string()))?;
                wanted.into_iter().collect()
            }
        };
        harness.inspection.check_grants(&grants).map_err(|error| none(error.to_string()))?;
        let mut host = TestHost::new(grants, setting.limits.memory.0);
        host.network.waiting_peers =
            setting.listen.iter().map(|(peer, address)| (*address, peer.clone())).collect();
        let mut player = Self { harness, setting, config, instance: None, looked_at: 0, peers: 0 };
        player.instance = Some(TestInstance::new(harness, host, &setting.limits).map_err(none)?);
        let text = player.config_text();
        let begun = player.instance().and_then(|instance| instance.start(&text));
        match begun.and_then(|()| player.settle()) {
            Ok(()) => Ok(player),
            Err(why) => {
                let log = player.log();
                Err((why, log))
            }
        }
    }

    fn config_text(&self) -> String {
        Value::Object(self.config.clone()).to_string()
    }

    fn instance(&mut self) -> Result<&mut TestInstance, String> {
        self.instance.as_mut().ok_or_else(|| "the instance before it has ended".to_owned())
    }

    fn host(&mut self) -> Result<&mut TestHost, String> {
        self.instance().map(TestInstance::host)
    }

    /// What the proxylet has logged.
    fn log(&mut self) -> Vec<String> {
        let lines = self.host().map(|host| host.lines.clone()).unwrap_or_default();
        lines.iter().map(|(level, line)| format!("{level:<5} {line}")).collect()
    }

    /// Hands over what has happened until nothing more does.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..BATCHES_MAX {
            let host = self.host()?;
            host.now_ns += BATCH_NS;
            let mut due = Vec::new();
            while let Some(token) = host.timers.take_due(host.now_ns) {
                due.push(token);
            }
            let batch = host.network.batch(due.into_iter());
            if batch.events.is_empty() {
                return Ok(());
            }
            self.instance()?.handle(&batch)?;
        }
        Err(format!("it does not come to rest: {BATCHES_MAX} batches without a pause"))
    }

    /// Lets the clock run from timer to timer until something is found; none where it is not in time.
    fn until<T>(&mut self, mut find: impl FnMut(&mut TestHost) -> Option<T>) -> Result<Option<T>, String> {
        self.settle()?;
        let end_ns = self.host()?.now_ns + PATIENCE_NS;
        loop {
            let host = self.host()?;
            if let Some(found) = find(host) {
                return Ok(Some(found));
            }
            match host.timers.next_ns().filter(|at_ns| *at_ns <= end_ns && host.now_ns <= end_ns) {
                Some(at_ns) => host.now_ns = host.now_ns.max(at_ns),
                None => return Ok(None),
            }
            self.settle()?;
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Connect(connect) => self.connect(connect),
            Step::Accept(peer) => {
                let found = self.until(|host| host.network.of_peer(peer).map(|_| ()))?;
                found.ok_or_else(|| format!("the proxylet has not connected to {peer}"))
            }
            Step::Send(Speech { peer, bytes }) => {
                if !self.host()?.network.peer_sends(peer, bytes) {
                    return Err(format!("{peer} has no connection to send on"));
                }
                self.settle()
            }
            Step::Hear(speech) => self.hear(speech, false),
            Step::HearNext(speech) => self.hear(speech, true),
            Step::HearNot(speech) => self.hear_not(speech),
            Step::Silent(peer) => self.silent(peer),
            Step::Close(peer) => {
                if !self.host()?.network.peer_leaves(peer) {
                    return Err(format!("{peer} has no connection to close"));
                }
                self.settle()
            }
            Step::Closed(peer) => {
                let found = self.until(|host| host.network.of_peer(peer).filter(|c| c.closed).map(|_| ()))?;
                found.ok_or_else(|| format!("the proxylet has not closed the connection of {peer}"))
            }
            Step::Stall(peer) => self.stall(peer, true),
            Step::Resume(peer) => self.stall(peer, false),
            Step::Datagram(Datagram { from, port, bytes }) => {
                if !self.host()?.network.datagram(*from, *port, &bytes.0) {
                    return Err("the proxylet has bound no such datagram socket".to_owned());
                }
                self.settle()
            }
            Step::HearDatagram(sent) => self.hear_datagram(sent),
            Step::Wait(time) => self.wait(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX >> 1)),
            Step::Log(text) => self.logged(text),
            Step::Metric(figure) => self.figure(figure),
            Step::Configure(settings) => {
                self.config.extend(settings.clone());
                let config = self.config_text();
                self.host()?.network.configure(config);
                self.settle()
            }
            Step::Swap => self.renew(true),
            Step::Restart => self.renew(false),
        }
    }

    fn connect(&mut self, connect: &Connect) -> Result<(), String> {
        let (peer, port, from) = match connect {
            Connect::Peer(peer) => (peer, None, None),
            Connect::Exactly { peer, port, from } => (peer, *port, *from),
        };
        self.peers = self.peers.wrapping_add(1);
        let [a, b, c] = PEER_NET;
        let from = from.unwrap_or_else(|| SocketAddr::from(([a, b, c, self.peers], 40_000)));
        let network = &mut self.host()?.network;
        let mut listeners = network.listeners.iter();
        let listener =
            listeners.find(|(_, at)| port.is_none_or(|port| port == at.address.port())).map(|(id, _)| *id);
        let listener = listener.ok_or("the proxylet listens on no such port")?;
        network.connect_peer(peer, listener, from);
        self.settle()
    }

    fn hear(&mut self, speech: &Speech, next: bool) -> Result<(), String> {
        let Speech { peer, bytes } = speech;
        if self.host()?.network.of_peer(peer).is_none() {
            return Err(format!("{peer} has no connection"));
        }
        let found = self.until(|host| {
            let heard = &mut host.network.of_peer(peer)?.heard;
            let end = if next {
                heard.starts_with(bytes).then_some(bytes.len())
            } else {
                heard.windows(bytes.len()).position(|part| part == bytes).map(|at| at + bytes.len())
            };
            heard.drain(..end?);
            Some(())
        })?;
        if found.is_some() {
            return Ok(());
        }
        let heard = self.host()?.network.of_peer(peer).map(|c| shown(&c.heard)).unwrap_or_default();
        Err(format!("{peer} was to hear {}, and hears {heard}", shown(bytes)))
    }

    fn hear_not(&mut self, speech: &Speech) -> Result<(), String> {
        let Speech { peer, bytes } = speech;
        self.settle()?;
        match self.host()?.network.of_peer(peer) {
            Some(connection) if connection.heard.windows(bytes.len()).any(|part| part == bytes) => {
                Err(format!("{peer} was not to hear {}, and has", shown(bytes)))
            }
            Some(_) => Ok(()),
            None => Err(format!("{peer} has no connection")),
        }
    }

    fn silent(&mut self, peer: &str) -> Result<(), String> {
        self.settle()?;
        match self.host()?.network.of_peer(peer) {
            Some(connection) if connection.heard.is_empty() => Ok(()),
            Some(connection) => {
                Err(format!("{peer} was to hear nothing more, and hears {}", shown(&connection.heard)))
            }
            None => Err(format!("{peer} has no connection")),
        }
    }

    fn stall(&mut self, peer: &str, stalled: bool) -> Result<(), String> {
        if !self.host()?.network.stall(peer, stalled) {
            return Err(format!("{peer} has no connection"));
        }
        self.settle()
    }

    fn hear_datagram(&mut self, sent: &Sent) -> Result<(), String> {
        let found = self.until(|host| {
            let sent_so =
                |(to, bytes): &(SocketAddr, Vec<u8>)| *to == sent.to && bytes.starts_with(&sent.bytes.0);
            let at = host.network.datagrams.iter().position(sent_so)?;
            host.network.datagrams.remove(at)
        })?;
        if found.is_some() {
            return Ok(());
        }
        let all = self.host()?.network.datagrams.iter().map(|(to, bytes)| format!("{to}: {}", shown(bytes)));
        let all: Vec<String> = all.collect();
        let all = if all.is_empty() { "none were".to_owned() } else { format!("were:\n{}", all.join("\n")) };
        Err(format!("no datagram to {} begins with {}; sent {all}", sent.to, shown(&sent.bytes.0)))
    }

    fn wait(&mut self, time_ns: u64) -> Result<(), String> {
        self.settle()?;
        let end_ns = self.host()?.now_ns.saturating_add(time_ns);
        while let Some(at_ns) = self.host()?.timers.next_ns().filter(|at_ns| *at_ns <= end_ns) {
            let host = self.host()?;
            host.now_ns = host.now_ns.max(at_ns);
            self.settle()?;
        }
        let host = self.host()?;
        host.now_ns = host.now_ns.max(end_ns);
        Ok(())
    }

    fn logged(&mut self, text: &str) -> Result<(), String> {
        let from = self.looked_at;
        let found = self.until(|host| {
            let new = host.lines.get(from..).unwrap_or_default();
            new.iter().position(|(_, line)| line.contains(text))
        })?;
        match found {
            Some(at) => {
                self.looked_at = from + at + 1;
                Ok(())
            }
            None => Err(format!("no line with {text:?} was logged (since the last one that was looked for)")),
        }
    }

    fn figure(&mut self, figure: &Figure) -> Result<(), String> {
        let value = |host: &TestHost| {
            let all = host.series.snapshot();
            let has = |(key, value): (&String, &String)| (key.clone(), value.clone());
            let meant =
                |labels: &[(String, String)]| figure.labels.iter().map(has).all(|l| labels.contains(&l));
            let mut meant = all.into_iter().filter(|s| s.name == figure.name && meant(&s.labels));
            meant.next().map(|series| series.value)
        };
        let found = self.until(|host| value(host).filter(|value| *value == figure.is).map(|_| ()))?;
        if found.is_some() {
            return Ok(());
        }
        Err(match value(self.host()?) {
            Some(is) => format!("{} was to be {}, and is {is}", figure.name, figure.is),
            None => format!("there is no figure {} with these labels", figure.name),
        })
    }

    /// Puts a new instance in the place of the present one, which saves its state.
    fn renew(&mut self, keep: bool) -> Result<(), String> {
        self.settle()?;
        let state = self.instance()?.save()?;
        let Some(mut before) = self.instance.take() else { return Ok(()) };
        if !keep {
            before.stop()?;
        }
        let limits = &self.setting.limits;
        let host = before.into_host().next(limits.memory.0, keep);
        let config = self.config_text();
        let after = self.instance.insert(TestInstance::new(self.harness, host, limits)?);
        if state.is_empty() {
            after.start(&config)?;
        } else {
            after.restore(&config, &state)?;
        }
        after.host().network.close_unknown();
        self.settle()
    }

    fn stop(&mut self) -> Result<(), String> {
        self.settle()?;
        self.instance()?.stop()
    }
}

/// Bytes as text; where there are many, the last of them.
fn shown(bytes: &[u8]) -> String {
    let last = &bytes[bytes.len().saturating_sub(SHOWN_BYTES_MAX)..];
    match bytes.len() {
        0 => "nothing".to_owned(),
        len if len > SHOWN_BYTES_MAX => format!("{len} bytes that end with \"{}\"", last.escape_ascii()),
        _ => format!("\"{}\"", last.escape_ascii()),
    }
}
