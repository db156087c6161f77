//! How much a stream carries: one that fills the queue of its way is told from one that suffers from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::io::{InspectReader, InspectWriter};

/// A shorter time says little about how much a stream carries: what is sent comes in pieces.
const WHILE: Duration = Duration::from_millis(500);

/// Bytes that a stream has carried, in each direction.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Carried(Arc<[AtomicU64; 2]>);

impl Carried {
    /// Counts what this stream carries.
    pub(in crate::mesh) fn by<T>(&self, io: T) -> impl AsyncRead + AsyncWrite + Unpin + use<T>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let [read, written] = [self.clone(), self.clone()];
        let io = InspectReader::new(io, move |bytes: &[u8]| read.add(0, bytes.len()));
        InspectWriter::new(io, move |bytes: &[u8]| written.add(1, bytes.len()))
    }

    fn add(&self, direction: usize, bytes: usize) {
        self.0[direction].fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn rate(&self, now: Instant) -> Rate {
        Rate { carried: self.clone(), before: self.bytes(), at: now, kbps: 0 }
    }

    fn bytes(&self) -> [u64; 2] {
        self.0.each_ref().map(|bytes| bytes.load(Relaxed))
    }
}

/// How fast a stream carries of late.
#[derive(Debug)]
pub(super) struct Rate {
    carried: Carried,
    before: [u64; 2],
    at: Instant,
    kbps: u32,
}

impl Rate {
    /// In the direction in which it carries more, in kbit/s. Of what has just begun at least what it has carried by now.
    pub(super) fn look(&mut self, now: Instant) -> u32 {
        let time = now.duration_since(self.at);
        let bytes = self.carried.bytes();
        let more = bytes.iter().zip(self.before).map(|(now, before)| now.saturating_sub(before)).max();
        let kbps = u128::from(more.unwrap_or(0)) * 8 / time.max(WHILE).as_millis();
        let kbps = u32::try_from(kbps).unwrap_or(u32::MAX);
        if time < WHILE {
            return kbps.max(self.kbps);
        }
        (self.before, self.at, self.kbps) = (bytes, now, kbps);
        kbps
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn the_direction_that_carries_more_counts_over_the_time_since_the_last_look() {
        let (carried, zero) = (Carried::default(), Instant::now());
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut counted = carried.by(near);
        let mut rate = carried.rate(zero);
        let mut now = zero;
        let mut after = |ms| {
            now += Duration::from_millis(ms);
            rate.look(now)
        };
        assert_eq!(after(1000), 0);
        counted.write_all(&[0; 50_000]).await.unwrap();
        far.write_all(&[0; 10_000]).await.unwrap();
        counted.read_exact(&mut [0; 10_000]).await.unwrap();
        assert_eq!(after(100), 800, "what has begun is not less than that");
        assert_eq!(after(900), 400);
        far.write_all(&[0; 100_000]).await.unwrap();
        counted.read_exact(&mut [0; 100_000]).await.unwrap();
        assert_eq!(after(2000), 400);
        assert_eq!(after(100), 400, "a pause is not seen at once");
        assert_eq!(after(900), 0);
    }
}
