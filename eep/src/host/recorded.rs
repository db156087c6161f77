//! What a proxylet asks, told to its recorder together with the answer.
//!
//! All capabilities are linked through here, so that none can be forgotten: where one is new, its trait wants an
//! implementation for [`Recorded`], and its functions that are linked by hand go through [`Tapped`].

use std::borrow::Cow;
use std::rc::Rc;

use serde::{Serialize, Serializer};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, HasData, Lift, LinkerInstance, Lower, WasmList};

use crate::host::Host;
use crate::host::bindings::eep::proxylet::deploy::{self, DeployError, Launched, Order};
use crate::host::bindings::eep::proxylet::mesh::{self, Identity, MeshError, Target};
use crate::host::bindings::eep::proxylet::net::{NetError, Segment};
use crate::host::bindings::eep::proxylet::topology::{self, Found, Metric, View, Way};
use crate::host::bindings::eep::proxylet::types::SocketAddress;
use crate::host::bindings::eep::proxylet::{clock, datagram, kv, log, metrics, policy, random};
use crate::host::net::link::{Runs, segments};
use crate::record::entry::{Bytes, encode};

/// The host of one instance, with its recorder listening.
pub(crate) struct Recorded<'a>(pub(crate) &'a mut Host);

impl HasData for Recorded<'static> {
    type Data<'a> = Recorded<'a>;
}

impl Recorded<'_> {
    /// Notes an import with its answer, which it hands on.
    fn tell<A: Serialize>(&self, name: &str, args: &impl Serialize, answer: A) -> A {
        self.0.recorder.import(name, args, &answer);
        answer
    }
}

impl log::Host for Recorded<'_> {
    fn write(&mut self, level: log::Level, line: String) {
        self.tell("log.write", &(level, &line), ());
        log::Host::write(self.0, level, line);
    }
}

impl clock::Host for Recorded<'_> {
    fn wall(&mut self) -> u64 {
        let wall = clock::Host::wall(self.0);
        self.tell("clock.wall", &(), wall)
    }

    fn set_timer(&mut self, token: u64, at: u64) {
        clock::Host::set_timer(self.0, token, at);
        self.tell("clock.set-timer", &(token, at), ());
    }

    fn cancel_timer(&mut self, token: u64) {
        clock::Host::cancel_timer(self.0, token);
        self.tell("clock.cancel-timer", &(token,), ());
    }
}

impl random::Host for Recorded<'_> {
    fn bytes(&mut self, len: u32) -> Vec<u8> {
        let bytes = random::Host::bytes(self.0, len);
        self.tell("random.bytes", &(len,), bytes)
    }
}

impl kv::Host for Recorded<'_> {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        let value = kv::Host::get(self.0, key.clone());
        self.tell("kv.get", &(key,), value)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), kv::KvError> {
        let set = kv::Host::set(self.0, key.clone(), value.clone());
        self.tell("kv.set", &(key, Bytes::from(value.as_slice())), set)
    }

    fn delete(&mut self, key: String) -> Result<bool, kv::KvError> {
        let deleted = kv::Host::delete(self.0, key.clone());
        self.tell("kv.delete", &(key,), deleted)
    }

    fn keys(&mut self, prefix: String) -> Vec<String> {
        let keys = kv::Host::keys(self.0, prefix.clone());
        self.tell("kv.keys", &(prefix,), keys)
    }
}

impl metrics::Host for Recorded<'_> {
    fn define(&mut self, metric: metrics::Metric) -> Option<u32> {
        let id = metrics::Host::define(self.0, metric.clone());
        self.tell("metrics.define", &(metric,), id)
    }

    fn define_histogram(&mut self, histogram: metrics::Histogram) -> Option<u32> {
        let id = metrics::Host::define_histogram(self.0, histogram.clone());
        self.tell("metrics.define-histogram", &(histogram,), id)
    }

    fn update(&mut self, values: Vec<(u32, f64)>) {
        self.tell("metrics.update", &(&values,), ());
        metrics::Host::update(self.0, values);
    }

    fn update_histograms(&mut self, values: Vec<metrics::Distribution>) {
        self.tell("metrics.update-histograms", &(&values,), ());
        metrics::Host::update_histograms(self.0, values);
    }
}

impl policy::Host for Recorded<'_> {
    fn generation(&mut self) -> u64 {
        let generation = policy::Host::generation(self.0);
        self.tell("policy.generation", &(), generation)
    }

    fn planned(&mut self) -> policy::Plan {
        let plan = policy::Host::planned(self.0);
        self.tell("policy.planned", &(), plan)
    }

    fn surveyed(&mut self) -> policy::Survey {
        let survey = policy::Host::surveyed(self.0);
        self.tell("policy.surveyed", &(), survey)
    }

    fn regions(&mut self, conns: Vec<u64>) -> Vec<policy::Region> {
        let regions = policy::Host::regions(self.0, conns.clone());
        self.tell("policy.regions", &(conns,), regions)
    }

    fn measured(&mut self, links: Vec<policy::Link>) -> Vec<Option<f64>> {
        let costs = policy::Host::measured(self.0, links.clone());
        self.tell("policy.measured", &(links,), costs)
    }

    fn meet(&mut self, peers: Vec<policy::Peer>) -> policy::Decisions {
        let decisions = policy::Host::meet(self.0, peers.clone());
        self.tell("policy.meet", &(peers,), decisions)
    }

    fn decide(&mut self, questions: policy::Questions) -> policy::Decisions {
        let decisions = policy::Host::decide(self.0, questions.clone());
        self.tell("policy.decide", &(questions,), decisions)
    }

    fn used(&mut self, generation: u64, outcomes: Vec<u32>, counts: Vec<u64>) {
        self.tell("policy.used", &(generation, &outcomes, &counts), ());
        policy::Host::used(self.0, generation, outcomes, counts);
    }

    fn describe(&mut self, number: u32) -> Option<policy::Outcome> {
        let outcome = policy::Host::describe(self.0, number);
        self.tell("policy.describe", &(number,), outcome)
    }
}

impl deploy::Host for Recorded<'_> {
    fn launch(&mut self, order: Order) -> Result<u64, DeployError> {
        let request = deploy::Host::launch(self.0, order.clone());
        self.tell("deploy.launch", &(order,), request)
    }

    fn stop(&mut self, name: String) -> Result<u64, DeployError> {
        let request = deploy::Host::stop(self.0, name.clone());
        self.tell("deploy.stop", &(name,), request)
    }

    fn list(&mut self) -> Vec<Launched> {
        let launched = deploy::Host::list(self.0);
        self.tell("deploy.list", &(), launched)
    }
}

impl topology::Host for Recorded<'_> {
    fn map(&mut self) -> View {
        let view = topology::Host::map(self.0);
        self.tell("topology.map", &(), view)
    }

    fn nearest(&mut self, to: String, by: Metric) -> Vec<Found> {
        let found = topology::Host::nearest(self.0, to.clone(), by);
        self.tell("topology.nearest", &(to, by), found)
    }

    fn region(&mut self, region: Option<String>, by: Metric) -> Vec<Found> {
        let found = topology::Host::region(self.0, region.clone(), by);
        self.tell("topology.region", &(region, by), found)
    }

    fn route(&mut self, to: String, by: Metric) -> Option<Way> {
        let route = topology::Host::route(self.0, to.clone(), by);
        self.tell("topology.route", &(to, by), route)
    }
}

impl mesh::Host for Recorded<'_> {
    fn open(&mut self, to: Target, service: String) -> Result<u64, MeshError> {
        let opened = mesh::Host::open(self.0, to.clone(), service.clone());
        self.tell("mesh.open", &(to, service), opened)
    }

    fn peer(&mut self, conn: u64) -> Option<Identity> {
        let peer = mesh::Host::peer(self.0, conn);
        self.tell("mesh.peer", &(conn,), peer)
    }

    fn send(&mut self, to: Target, service: String, bytes: Vec<u8>) -> Result<u64, MeshError> {
        let sent = mesh::Host::send(self.0, to.clone(), service.clone(), bytes.clone());
        self.tell("mesh.send", &(to, service, Bytes::from(bytes.as_slice())), sent)
    }
}

impl datagram::Host for Recorded<'_> {
    fn bind(&mut self, address: SocketAddress) -> Result<(u32, SocketAddress), NetError> {
        let bound = datagram::Host::bind(self.0, address);
        self.tell("datagram.bind", &(address,), bound)
    }

    fn unbind(&mut self, socket: u32) {
        datagram::Host::unbind(self.0, socket);
        self.tell("datagram.unbind", &(socket,), ());
    }

    fn send(&mut self, socket: u32, to: SocketAddress, bytes: Vec<u8>) {
        self.tell("datagram.send", &(socket, to, Bytes::from(bytes.as_slice())), ());
        datagram::Host::send(self.0, socket, to, bytes);
    }
}

/// Functions that are linked by hand, with the recorder listening. Their answers are recorded as `Result`: an error is
/// a trap.
pub(crate) struct Tapped<'a> {
    instance: LinkerInstance<'a, Host>,
    interface: &'static str,
}

type Store<'a> = StoreContextMut<'a, Host>;

impl<'a> Tapped<'a> {
    pub(crate) fn new(instance: LinkerInstance<'a, Host>, interface: &'static str) -> Self {
        Self { instance, interface }
    }

    /// As [`LinkerInstance::func_wrap`].
    pub(crate) fn func_wrap<F, Params, Return>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        F: Fn(Store<'_>, Params) -> wasmtime::Result<Return> + Send + Sync + 'static,
        Params: ComponentNamedList + Lift + Args + 'static,
        Return: ComponentNamedList + Lower + Serialize + 'static,
    {
        self.func_wrap_as(name, name, function)
    }

    /// The same for a function that is recorded as another one, of which it is another form.
    pub(crate) fn func_wrap_as<F, Params, Return>(
        &mut self,
        name: &str,
        recorded: &str,
        function: F,
    ) -> wasmtime::Result<()>
    where
        F: Fn(Store<'_>, Params) -> wasmtime::Result<Return> + Send + Sync + 'static,
        Params: ComponentNamedList + Lift + Args + 'static,
        Return: ComponentNamedList + Lower + Serialize + 'static,
    {
        let full = format!("{}.{recorded}", self.interface);
        self.instance.func_wrap(name, move |store: Store<'_>, params: Params| {
            let recorder = Rc::clone(&store.data().recorder);
            recorder.import_begins(&full, |out| params.put(&store, out));
            let done = function(store, params);
            match &done {
                Ok(answer) => recorder.import_ends(&Ok::<_, Cow<'_, str>>(answer)),
                Err(error) => recorder.import_ends(&Err::<(), _>(error.to_string())),
            }
            done
        })
    }
}

/// Arguments as they are recorded.
pub(crate) trait Args {
    /// Appends them.
    fn put(&self, store: &Store<'_>, out: &mut Vec<u8>);
}

/// Arguments that are recorded as they are.
macro_rules! plain {
    ($($args:ty),*) => {
        $(impl Args for $args {
            fn put(&self, _: &Store<'_>, out: &mut Vec<u8>) {
                encode(out, self);
            }
        })*
    };
}

plain!((), (u32,), (u64,), (u64, bool), (SocketAddress,));

impl Args for (u64, Vec<u8>) {
    fn put(&self, _: &Store<'_>, out: &mut Vec<u8>) {
        encode(out, &(self.0, Bytes::from(self.1.as_slice())));
    }
}

/// `net.send`: what lies in the proxylet's memory is recorded from there.
impl Args for (WasmList<u8>, WasmList<u64>, Vec<Segment>) {
    fn put(&self, store: &Store<'_>, out: &mut Vec<u8>) {
        let (bytes, targets, segments) = self;
        encode(out, &(Bytes::from(bytes.as_le_slice(store)), native(targets.as_le_slice(store)), segments));
    }
}

/// `net.send-runs`, recorded as `net.send`.
impl Args for Runs {
    fn put(&self, store: &Store<'_>, out: &mut Vec<u8>) {
        let (bytes, targets, fanouts, lens) = self;
        let segments = Each(segments(fanouts.as_le_slice(store), lens.as_le_slice(store)));
        encode(out, &(Bytes::from(bytes.as_le_slice(store)), native(targets.as_le_slice(store)), segments));
    }
}

/// What an iterator has, recorded as a list.
struct Each<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// Numbers as they lie in a proxylet's memory, in the order of bytes of this machine.
fn native(numbers: &[u64]) -> Cow<'_, [u64]> {
    match numbers {
        numbers if cfg!(target_endian = "little") => numbers.into(),
        numbers => numbers.iter().map(|number| u64::from_le(*number)).collect(),
    }
}
