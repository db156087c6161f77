//! The life of a proxylet, from the guest's side.

use std::cell::RefCell;

use crate::bindings::exports::eep::proxylet::lifecycle;
use crate::event::Received;
use crate::{Events, Instant};

/// What a proxylet is. The node calls these one at a time, never concurrently.
///
/// A state starts with the version of its encoding, so that the next version of the proxylet can tell what it is given:
///
/// ```
/// use eep_sdk::{Events, Instant, Proxylet};
///
/// struct Counter {
///     batches: u64,
/// }
///
/// impl Proxylet for Counter {
///     fn start(_now: Instant, _config: &str) -> Result<Self, String> {
///         Ok(Self { batches: 0 })
///     }
///
///     fn restore(_now: Instant, _config: &str, state: &[u8]) -> Result<Self, String> {
///         match state {
///             [1, count @ ..] => {
///                 let count = count.try_into().map_err(|_| "state: cut short")?;
///                 Ok(Self { batches: u64::from_le_bytes(count) })
///             }
///             _ => Err("state: not written by this version".to_owned()),
///         }
///     }
///
///     fn handle(&mut self, _now: Instant, _events: Events<'_>) {
///         self.batches += 1;
///     }
///
///     fn save(&self) -> Vec<u8> {
///         [&[1], self.batches.to_le_bytes().as_slice()].concat()
///     }
/// }
/// ```
pub trait Proxylet: Sized + 'static {
    /// Called once, first; `config` is the service's configuration, a JSON object.
    ///
    /// # Errors
    /// Reported to the operator as the reason why the service did not start.
    fn start(now: Instant, config: &str) -> Result<Self, String>;

    /// Called instead of [`Self::start`] where a state was saved: after a stop or a trap, and where another version of the
    /// code takes over. Ask [`crate::net::connections`] here for the connections that live on, and listen and bind as in
    /// `start`: what is not asked for is closed. Left out, a proxylet starts afresh, without connections.
    ///
    /// # Errors
    /// Leaves the state with the node; the service does not start.
    fn restore(now: Instant, config: &str, state: &[u8]) -> Result<Self, String> {
        let _ = state;
        Self::start(now, config)
    }

    /// A batch of events in the order in which they happened.
    fn handle(&mut self, now: Instant, events: Events<'_>);

    /// The state that [`Self::restore`] needs to carry on, starting with a version of its encoding.
    ///
    /// The same history has to give the same bytes: go through a hash table in an order of your own, not in that of its
    /// seeds, which the next instance does not have. Then a recording that begins with a saved state is replayed exactly.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Called last; what it sends is still flushed.
    fn stop(&mut self) {}
}

/// Where the one instance of a proxylet lives; used by [`crate::proxylet!`].
#[derive(Debug, Default)]
pub struct Slot<T>(RefCell<Option<T>>);

impl<T: Proxylet> Slot<T> {
    /// An empty slot.
    #[must_use]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Starts the proxylet or restores it.
    ///
    /// # Errors
    /// The proxylet's own.
    pub fn begin(&self, now: Instant, config: &str, state: Option<&[u8]>) -> Result<(), String> {
        let made = match state {
            Some(state) => T::restore(now, config, state)?,
            None => T::start(now, config)?,
        };
        self.0.replace(Some(made));
        Ok(())
    }

    /// Feeds a batch.
    pub fn handle(&self, now: Instant, events: Vec<lifecycle::Event>, received: Received<'_>) {
        if let Some(proxylet) = self.0.borrow_mut().as_mut() {
            proxylet.handle(now, Events::new(events, received));
        }
    }

    /// Saves the state.
    pub fn save(&self) -> Vec<u8> {
        self.0.borrow().as_ref().map(T::save).unwrap_or_default()
    }

    /// Ends the proxylet.
    pub fn stop(&self) {
        if let Some(mut proxylet) = self.0.take() {
            proxylet.stop();
        }
    }
}

/// Memory that was asked for ahead of a takeover; used by [`crate::proxylet!`].
#[derive(Debug, Default)]
pub struct Warm(RefCell<Vec<Vec<u8>>>);

impl Warm {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Asks for so much more, and writes to it; 0 gives all of it back. Where there is no more, nothing happens.
    pub fn warm(&self, bytes: u32) {
        let mut held = self.0.borrow_mut();
        if bytes == 0 {
            held.clear();
            return;
        }
        let mut more = Vec::new();
        if more.try_reserve_exact(bytes as usize).is_ok() {
            more.resize(bytes as usize, 1);
            held.push(more);
        }
    }
}

/// The bytes of a manifest as an array, so that they can be put into a section of the module.
#[must_use]
pub const fn describe<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// Makes a type that implements [`Proxylet`] the proxylet of this crate, and embeds its manifest: a JSON file whose
/// path is relative to the source file, with `name`, `version`, `about`, the grants that it `wants`, the default
/// `config`, and a JSON `schema` of the configuration.
#[macro_export]
macro_rules! proxylet {
    ($type:ty, manifest = $manifest:literal) => {
        mod eep_exports {
            #![allow(unsafe_code)]
            use super::*;
            use $crate::bindings::exports::eep::proxylet::{lifecycle, takeover, timers};

            const MANIFEST: &str = include_str!($manifest);
            #[cfg_attr(target_arch = "wasm32", unsafe(link_section = "eep:proxylet"))]
            #[used]
            static EMBEDDED: [u8; MANIFEST.len()] = $crate::describe(MANIFEST);
            #[cfg_attr(target_arch = "wasm32", unsafe(link_section = "eep:sdk"))]
            #[used]
            static SDK: [u8; $crate::SDK.len()] = $crate::describe($crate::SDK);

            ::std::thread_local! {
                static SLOT: $crate::Slot<$type> = const { $crate::Slot::new() };
                static WARM: $crate::Warm = const { $crate::Warm::new() };
            }

            struct Exports;

            impl lifecycle::Guest for Exports {
                fn start(now: u64, config: String) -> Result<(), String> {
                    SLOT.with(|s| s.begin(now, &config, None))
                }
                fn handle(
                    now: u64,
                    events: Vec<lifecycle::Event>,
                    conns: Vec<u64>,
                    lens: Vec<u32>,
                    bytes: Vec<u8>,
                ) {
                    let received = $crate::Received { conns: &conns, lens: &lens, bytes: &bytes };
                    SLOT.with(|s| s.handle(now, events, received));
                }
                fn save() -> Vec<u8> {
                    SLOT.with($crate::Slot::save)
                }
                fn restore(now: u64, config: String, state: Vec<u8>) -> Result<(), String> {
                    SLOT.with(|s| s.begin(now, &config, Some(&state)))
                }
                fn stop() {
                    SLOT.with($crate::Slot::stop);
                }
            }

            impl timers::Guest for Exports {
                fn due(now: u64, timer: Option<u64>) {
                    let events = timer.map(lifecycle::Event::Timer).into_iter().collect();
                    <Self as lifecycle::Guest>::handle(now, events, Vec::new(), Vec::new(), Vec::new());
                }
            }

            impl takeover::Guest for Exports {
                fn warm(bytes: u32) {
                    WARM.with(|w| w.warm(bytes));
                }
            }

            $crate::bindings::export_service!(Exports with_types_in $crate::bindings);
        }
    };
}
