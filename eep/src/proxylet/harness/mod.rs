//! A host without a network, for testing proxylets: peers that say what a scenario tells them, a clock that goes where it
//! is put, randomness from a seed. A run depends on nothing but the proxylet and the scenario.
//!
//! | module | what |
//! | --- | --- |
//! | [`scenario`] | the file: peers, what they say and what they must hear |
//! | `run` | one scenario against one instance after the other |
//! | `instance` | the proxylet, linked with this host |
//! | `capabilities` | the contract's interfaces on this host |
//! | `deploy` | the interface of that name, on a node where everything can be launched |
//! | `mesh` | the same: nobody is reached |
//! | `topology` | the interface of that name, on a node without a mesh |
//! | `policy` | the interface of that name, for a service without one |
//! | `network` | connections, listeners and datagrams that lead to scripted peers |
//!
//! It knows no protocol: a Gnutella leaf is a scenario's bytes.

mod capabilities;
mod deploy;
mod instance;
mod mesh;
mod network;
mod policy;
mod run;
pub mod scenario;
mod topology;

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Error};

use crate::host::bindings::eep::proxylet as wit;
use crate::host::wasi;
use crate::proxylet::contract;
use crate::proxylet::digest::Digest;
use crate::proxylet::epoch::Ticker;
use crate::proxylet::error::LoadError;
use crate::proxylet::exports::ExportsPre;
use crate::proxylet::harness::capabilities::TestHost;
use crate::proxylet::harness::scenario::Scenario;
use crate::proxylet::inspect::{Inspection, inspect};
use crate::proxylet::runtime::engine_config;

/// A proxylet that is ready to be tested.
pub struct Harness {
    engine: Engine,
    ticker: Ticker,
    pre: ExportsPre<TestHost>,
    inspection: Inspection,
    digest: Digest,
}

/// How one scenario ended.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it tests.
    pub name: String,
    /// The file and the line at which it failed, or only the file.
    pub place: String,
    /// Why it failed; none where it passed.
    pub failure: Option<String>,
    /// What the proxylet logged.
    pub log: Vec<String>,
    /// How long it took on this machine, in seconds.
    pub took_s: f64,
}

impl Harness {
    /// Checks and compiles a proxylet.
    ///
    /// # Errors
    /// It could not be loaded by a node either, or imports what this host does not have.
    pub fn of(bytes: &[u8]) -> Result<Self, LoadError> {
        let inspection = inspect(bytes)?;
        inspection.check_interfaces()?;
        contract::check(bytes)?;
        let fail = |error: Error| LoadError::Compile(format!("{error:#}"));
        let engine = Engine::new(&engine_config(1)).map_err(fail)?;
        let ticker = Ticker::start(&engine).map_err(|error| LoadError::Compile(error.to_string()))?;
        let component = Component::from_binary(&engine, bytes).map_err(fail)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker).map_err(fail)?;
        wasi::absent::link(&mut linker, &component, &engine).map_err(fail)?;
        let pre = linker.instantiate_pre(&component).and_then(ExportsPre::new).map_err(fail)?;
        Ok(Self { engine, ticker, pre, inspection, digest: Digest::of(bytes) })
    }

    /// What the proxylet says of itself.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// The digest of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Plays a scenario.
    #[must_use]
    pub fn play(&self, scenario: &Scenario) -> Report {
        let began = Instant::now();
        let (played, log) = run::play(self, scenario);
        let (place, failure) = match played {
            Ok(()) => (scenario.file.clone(), None),
            Err(failure) => {
                let place = match failure.line {
                    Some(line) => format!("{}:{line}", scenario.file),
                    None => scenario.file.clone(),
                };
                (place, Some(failure.why))
            }
        };
        let took_s = began.elapsed().as_secs_f64();
        Report { name: scenario.name.clone(), place, failure, log, took_s }
    }

    /// What every proxylet must be able to do: start with its defaults, save its state, be restored, stop.
    #[must_use]
    pub fn lifecycle(&self) -> Report {
        self.play(&Scenario::lifecycle())
    }
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harness").field("digest", &self.digest).finish_non_exhaustive()
    }
}

fn link(linker: &mut Linker<TestHost>) -> wasmtime::Result<()> {
    use wasmtime::component::HasSelf;
    fn same(host: &mut TestHost) -> &mut TestHost {
        host
    }
    wit::log::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::clock::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::random::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::kv::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::metrics::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::net::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::datagram::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::policy::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::deploy::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::topology::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wit::mesh::add_to_linker::<_, HasSelf<TestHost>>(linker, same)?;
    wasi::link(linker)
}

/// Keeps the epoch going while an instance lives.
fn admitted(harness: &Harness) -> Option<crate::proxylet::epoch::Running> {
    harness.ticker.admit(usize::MAX).ok()
}

/// A limit's figures, which nobody looks at here.
fn figures() -> Arc<crate::observe::figures::Figures> {
    Arc::default()
}
