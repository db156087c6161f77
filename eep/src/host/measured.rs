//! How a link does, as the proxylet measures it: what rules know of it.

use policies::event::{Figures, Link};

use crate::host::bindings::eep::proxylet::policy;

/// The share of data that a link may lose before it is called lossy.
const LOSSY_OVER: f64 = 0.05;
/// The share of a link that may be used before it is called congested.
const CONGESTED_OVER: f64 = 0.8;

/// What was said of a link last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    rtt_ms: Option<f64>,
    loss: Option<f64>,
    util: Option<f64>,
    kbit_s: Option<f64>,
}

impl Measured {
    /// What a proxylet says. What cannot be is not known.
    pub(crate) fn of(link: &policy::Link) -> Self {
        let at_most = |most: f64, value: Option<f64>| value.filter(|value| (0.0..=most).contains(value));
        Self {
            rtt_ms: at_most(f64::MAX, link.rtt_ms),
            loss: at_most(1.0, link.loss),
            util: at_most(1.0, link.util),
            kbit_s: at_most(f64::MAX, link.kbit_s),
        }
    }

    /// The same in a word.
    pub(crate) fn state(&self) -> Link {
        match (self.util, self.loss) {
            (None, None) if self.rtt_ms.is_none() => Link::Unknown,
            (Some(util), _) if util > CONGESTED_OVER => Link::Congested,
            (_, Some(loss)) if loss > LOSSY_OVER => Link::Lossy,
            _ => Link::Good,
        }
    }

    /// Puts it among the figures of an event.
    pub(crate) fn put(&self, figures: Figures) -> Figures {
        let Self { rtt_ms, loss, util, kbit_s } = *self;
        Figures { rtt_ms, loss, util, kbit_s, ..figures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rtt_ms: Option<f64>, loss: Option<f64>, util: Option<f64>) -> Measured {
        Measured::of(&policy::Link { conn: 1, rtt_ms, loss, util, kbit_s: None })
    }

    #[test]
    fn a_link_is_called_by_what_is_worst() {
        assert_eq!(measured(None, None, None).state(), Link::Unknown);
        assert_eq!(measured(Some(20.0), None, None).state(), Link::Good);
        assert_eq!(measured(Some(20.0), Some(0.05), Some(0.8)).state(), Link::Good);
        assert_eq!(measured(None, Some(0.06), Some(0.1)).state(), Link::Lossy);
        assert_eq!(measured(None, Some(0.06), Some(0.9)).state(), Link::Congested);
    }

    #[test]
    fn what_cannot_be_is_not_known() {
        assert_eq!(measured(Some(f64::NAN), Some(1.5), Some(-0.1)), Measured::default());
        assert_eq!(measured(Some(f64::INFINITY), None, None), Measured::default());
    }
}
