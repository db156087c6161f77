//! What is lost on a link, as the transport that uses it counts it: where much is sent, that says more and sooner than
//! probes do.

/// What a link costs more where everything is lost on it, in microseconds of round trip; a part of it costs that part. One
/// lost packet holds back what follows on its stream until it was repeated, and one in a hundred halves what a long way
/// carries (Mathis and others, "The macroscopic behavior of the TCP congestion avoidance algorithm", 1997): 1 % is held for
/// as bad as 4 ms.
const ALL_LOST_US: u64 = 400_000;
/// Fewer packets than this, or fewer lost ones, say nothing.
const SENT_MIN: u64 = 8;
const LOST_MIN: u64 = 2;
/// What was counted the time before counts by this share, in percent, and so on.
const KEPT_PERCENT: u64 = 75;
/// Where less is lost, the cost falls by this part of the difference each time: it rises at once and falls slowly.
const FALL: u32 = 32;
/// Counts are kept in thousandths.
const MILLI: u64 = 1000;

/// The transport's counts of late, and what follows from them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    sent_milli: u64,
    lost_milli: u64,
    cost_us: u32,
}

impl Loss {
    /// What the transport has counted since the last time. To be told four times a second or so.
    pub(super) fn count(&mut self, sent: u64, lost: u64) {
        let add = |old: u64, new: u64| {
            (old.saturating_mul(KEPT_PERCENT) / 100).saturating_add(new.saturating_mul(MILLI))
        };
        self.sent_milli = add(self.sent_milli, sent);
        self.lost_milli = add(self.lost_milli, lost.min(sent));
        let known = self.sent_milli >= SENT_MIN * MILLI && self.lost_milli >= LOST_MIN * MILLI;
        let cost = match known {
            true => ALL_LOST_US.saturating_mul(self.lost_milli.min(self.sent_milli)) / self.sent_milli,
            false => 0,
        };
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let fallen = self.cost_us - self.cost_us.div_ceil(FALL).min(self.cost_us);
        self.cost_us = cost.max(fallen);
    }

    /// What the link costs more for it, in microseconds of round trip.
    pub(super) fn cost_us(&self) -> u32 {
        self.cost_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let mut loss = Loss::default();
        loss.count(1000, 1);
        assert_eq!(loss.cost_us(), 0, "one packet is no measure");
        loss.count(10, 5);
        assert!(loss.cost_us() > 0);
        let mut loss = Loss::default();
        loss.count(7, 5);
        assert_eq!(loss.cost_us(), 0, "nor are five of seven");
        loss.count(100, 10);
        let high = loss.cost_us();
        assert!((40_000..60_000).contains(&high), "{high}");
        (0..10).for_each(|_| loss.count(100, 0));
        assert!((high / 3..high).contains(&loss.cost_us()), "{}", loss.cost_us());
        (0..400).for_each(|_| loss.count(0, 0));
        assert_eq!(loss.cost_us(), 0);
        loss.count(u64::MAX, u64::MAX);
        assert!(loss.cost_us() <= 400_000);
    }
}
