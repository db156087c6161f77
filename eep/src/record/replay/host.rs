//! The answers to all imports, from the script.

use policies::event::{Direction, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, HasSelf, Lift, Linker, LinkerInstance, Lower};

use crate::host::WasiState;
use crate::host::bindings::eep::proxylet::deploy::{self, DeployError, Launched, Order};
use crate::host::bindings::eep::proxylet::mesh::{self, Identity, MeshError, Target};
use crate::host::bindings::eep::proxylet::net::{NetError, Segment};
use crate::host::bindings::eep::proxylet::topology::{self, Found, Metric, View, Way};
use crate::host::bindings::eep::proxylet::types::SocketAddress;
use crate::host::bindings::eep::proxylet::{clock, datagram, kv, log, metrics, policy, random};
use crate::host::wasi::{self, Stdio, Wasi};
use crate::proxylet::inspect::{PACKAGE, VERSION};
use crate::proxylet::memory::MemoryLimit;
use crate::record::entry::Bytes;
use crate::record::replay::script::{Script, noise};

/// What an instance's store holds.
#[derive(Debug)]
pub(super) struct ReplayHost {
    pub(super) script: Script,
    pub(super) memory: MemoryLimit,
    pub(super) wasi: WasiState,
}

impl Wasi for ReplayHost {
    fn batch_ns(&self) -> u64 {
        self.wasi.batch_ns
    }

    fn wall_ns(&mut self) -> u64 {
        clock::Host::wall(self)
    }

    fn random(&mut self, len: u32) -> Vec<u8> {
        random::Host::bytes(self, len)
    }

    fn line(&mut self, warn: bool, line: String) {
        let level = if warn { log::Level::Warn } else { log::Level::Info };
        log::Host::write(self, level, line);
    }

    // The log of a node has it, and no proxylet sees that.
    fn refused(&mut self, _: &str) {}

    fn stdio(&mut self) -> &mut Stdio {
        &mut self.wasi.stdio
    }
}

pub(super) fn link(linker: &mut Linker<ReplayHost>) -> wasmtime::Result<()> {
    fn same(host: &mut ReplayHost) -> &mut ReplayHost {
        host
    }
    log::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    clock::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    random::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    kv::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    metrics::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    policy::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    deploy::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    topology::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    mesh::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    datagram::add_to_linker::<_, HasSelf<ReplayHost>>(linker, same)?;
    link_net(linker)?;
    wasi::link(linker)
}

type Opened = Result<(u32, SocketAddress), NetError>;
type Store<'a> = StoreContextMut<'a, ReplayHost>;

/// An id that is made up: such as no node gives.
fn made_up(script: &mut Script) -> u32 {
    (1 << 30) | script.number() as u32
}

/// The functions of `net`, whose answers are recorded with the errors that end an instance.
fn link_net(linker: &mut Linker<ReplayHost>) -> wasmtime::Result<()> {
    let mut net = linker.instance(&format!("{PACKAGE}/net@{VERSION}"))?;
    let net = &mut net;
    wrap(net, "listen", |script, (address,): &(SocketAddress,)| -> (Opened,) {
        (Ok((made_up(script), *address)),)
    })?;
    wrap(net, "unlisten", |_, _: &(u32,)| ())?;
    wrap(net, "connections", |_, (): &()| -> (Vec<u64>,) { (Vec::new(),) })?;
    wrap(net, "connect", |script, _: &(SocketAddress,)| -> (Result<u64, NetError>,) {
        (Ok(made_up(script).into()),)
    })?;
    wrap(net, "close", |_, _: &(u64,)| ())?;
    wrap(net, "abort", |_, _: &(u64,)| ())?;
    wrap(net, "deflate", |_, _: &(u64,)| ())?;
    wrap(net, "receive", |_, _: &(u64, bool)| ())?;
    net.func_wrap("inflate", |mut store: Store<'_>, (conn, rest): (u64, Vec<u8>)| {
        let args = (conn, Bytes::from(rest.as_slice()));
        store.data_mut().script.answer("net.inflate", &args, |_| Ok(())).map_err(trap)
    })?;
    net.func_wrap("send", |mut store: Store<'_>, lists: (Vec<u8>, Vec<u64>, Vec<Segment>)| {
        let (bytes, targets, segments) = lists;
        let args = (Bytes::from(bytes.as_slice()), targets, segments);
        let congested = |_: &mut Script| Ok((Vec::<u64>::new(),));
        store.data_mut().script.answer("net.send", &args, congested).map_err(trap)
    })?;
    // It is recorded as `send`.
    net.func_wrap("send-runs", |mut store: Store<'_>, lists: (Vec<u8>, Vec<u64>, Vec<u32>, Vec<u32>)| {
        let (bytes, targets, fanouts, lens) = lists;
        let segments = fanouts.into_iter().zip(lens).map(|(targets, len)| Segment { targets, len });
        let args = (Bytes::from(bytes.as_slice()), targets, segments.collect::<Vec<_>>());
        let congested = |_: &mut Script| Ok((Vec::<u64>::new(),));
        store.data_mut().script.answer("net.send", &args, congested).map_err(trap)
    })
}

fn trap(message: String) -> wasmtime::Error {
    wasmtime::Error::msg(message)
}

fn wrap<Params, Answer>(
    net: &mut LinkerInstance<'_, ReplayHost>,
    name: &'static str,
    make_up: impl Fn(&mut Script, &Params) -> Answer + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    Params: ComponentNamedList + Lift + Serialize + 'static,
    Answer: ComponentNamedList + Lower + DeserializeOwned + 'static,
{
    let full = format!("net.{name}");
    net.func_wrap(name, move |mut store: Store<'_>, params: Params| {
        let script = &mut store.data_mut().script;
        script.answer(&full, &params, |script| Ok(make_up(script, &params))).map_err(trap)
    })
}

impl log::Host for ReplayHost {
    fn write(&mut self, level: log::Level, line: String) {
        self.script.answer("log.write", &(level, line), |_| ());
    }
}

impl clock::Host for ReplayHost {
    fn wall(&mut self) -> u64 {
        let wall = self.script.answer("clock.wall", &(), |script| script.wall());
        self.script.set_wall(wall);
        wall
    }

    fn set_timer(&mut self, token: u64, at: u64) {
        self.script.answer("clock.set-timer", &(token, at), |_| ());
    }

    fn cancel_timer(&mut self, token: u64) {
        self.script.answer("clock.cancel-timer", &(token,), |_| ());
    }
}

impl random::Host for ReplayHost {
    fn bytes(&mut self, len: u32) -> Vec<u8> {
        let made_up = |script: &mut Script| noise(len.min(4_096) as usize, script.number());
        self.script.answer("random.bytes", &(len,), made_up)
    }
}

impl kv::Host for ReplayHost {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.script.answer("kv.get", &(key,), |_| None)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), kv::KvError> {
        self.script.answer("kv.set", &(key, Bytes::from(value)), |_| Ok(()))
    }

    fn delete(&mut self, key: String) -> Result<bool, kv::KvError> {
        self.script.answer("kv.delete", &(key,), |_| Ok(false))
    }

    fn keys(&mut self, prefix: String) -> Vec<String> {
        self.script.answer("kv.keys", &(prefix,), |_| Vec::new())
    }
}

impl metrics::Host for ReplayHost {
    fn define(&mut self, metric: metrics::Metric) -> Option<u32> {
        self.script.answer("metrics.define", &(metric,), |script| Some(made_up(script)))
    }

    fn define_histogram(&mut self, histogram: metrics::Histogram) -> Option<u32> {
        self.script.answer("metrics.define-histogram", &(histogram,), |script| Some(made_up(script)))
    }

    fn update(&mut self, values: Vec<(u32, f64)>) {
        self.script.answer("metrics.update", &(values,), |_| ());
    }

    fn update_histograms(&mut self, values: Vec<metrics::Distribution>) {
        self.script.answer("metrics.update-histograms", &(values,), |_| ());
    }
}

/// What a service without a policy is told about so many questions.
fn undecided(questions: usize) -> policy::Decisions {
    policy::Decisions { generation: 0, verdicts: vec![0; questions], outcomes: vec![u32::MAX; questions] }
}

impl policy::Host for ReplayHost {
    fn generation(&mut self) -> u64 {
        self.script.answer("policy.generation", &(), |_| 0)
    }

    fn planned(&mut self) -> policy::Plan {
        self.script.answer("policy.planned", &(), |_| policy::Plan {
            routes: false,
            degree: None,
            path_length: None,
        })
    }

    fn surveyed(&mut self) -> policy::Survey {
        self.script.answer("policy.surveyed", &(), |_| policy::Survey { regions: false, links: false })
    }

    fn regions(&mut self, conns: Vec<u64>) -> Vec<policy::Region> {
        let rows = conns.len();
        self.script.answer("policy.regions", &(conns,), |_| vec![policy::Region::Unknown; rows])
    }

    fn measured(&mut self, links: Vec<policy::Link>) -> Vec<Option<f64>> {
        let rows = links.len();
        self.script.answer("policy.measured", &(links,), |_| vec![None; rows])
    }

    fn meet(&mut self, peers: Vec<policy::Peer>) -> policy::Decisions {
        let rows = peers.len() * Message::ALL.len() * Direction::ALL.len();
        self.script.answer("policy.meet", &(peers,), |_| undecided(rows))
    }

    fn decide(&mut self, questions: policy::Questions) -> policy::Decisions {
        let rows = questions.conns.len();
        self.script.answer("policy.decide", &(questions,), |_| undecided(rows))
    }

    fn used(&mut self, generation: u64, outcomes: Vec<u32>, counts: Vec<u64>) {
        self.script.answer("policy.used", &(generation, outcomes, counts), |_| ());
    }

    fn describe(&mut self, number: u32) -> Option<policy::Outcome> {
        self.script.answer("policy.describe", &(number,), |_| None)
    }
}

impl deploy::Host for ReplayHost {
    fn launch(&mut self, order: Order) -> Result<u64, DeployError> {
        self.script.answer("deploy.launch", &(order,), |script| Ok(made_up(script).into()))
    }

    fn stop(&mut self, name: String) -> Result<u64, DeployError> {
        self.script.answer("deploy.stop", &(name,), |script| Ok(made_up(script).into()))
    }

    fn list(&mut self) -> Vec<Launched> {
        self.script.answer("deploy.list", &(), |_| Vec::new())
    }
}

impl topology::Host for ReplayHost {
    fn map(&mut self) -> View {
        let nothing = View { version: 0, me: String::new(), nodes: Vec::new(), links: Vec::new() };
        self.script.answer("topology.map", &(), |_| nothing)
    }

    fn nearest(&mut self, to: String, by: Metric) -> Vec<Found> {
        self.script.answer("topology.nearest", &(to, by), |_| Vec::new())
    }

    fn region(&mut self, region: Option<String>, by: Metric) -> Vec<Found> {
        self.script.answer("topology.region", &(region, by), |_| Vec::new())
    }

    fn route(&mut self, to: String, by: Metric) -> Option<Way> {
        self.script.answer("topology.route", &(to, by), |_| None)
    }
}

impl mesh::Host for ReplayHost {
    fn open(&mut self, to: Target, service: String) -> Result<u64, MeshError> {
        self.script.answer("mesh.open", &(to, service), |script| Ok(made_up(script).into()))
    }

    fn peer(&mut self, conn: u64) -> Option<Identity> {
        self.script.answer("mesh.peer", &(conn,), |_| None)
    }

    fn send(&mut self, to: Target, service: String, bytes: Vec<u8>) -> Result<u64, MeshError> {
        let args = (to, service, Bytes::from(bytes));
        self.script.answer("mesh.send", &args, |script| Ok(made_up(script).into()))
    }
}

impl datagram::Host for ReplayHost {
    fn bind(&mut self, address: SocketAddress) -> Opened {
        self.script.answer("datagram.bind", &(address,), |script| Ok((made_up(script), address)))
    }

    fn unbind(&mut self, socket: u32) {
        self.script.answer("datagram.unbind", &(socket,), |_| ());
    }

    fn send(&mut self, socket: u32, to: SocketAddress, bytes: Vec<u8>) {
        self.script.answer("datagram.send", &(socket, to, Bytes::from(bytes)), |_| ());
    }
}
