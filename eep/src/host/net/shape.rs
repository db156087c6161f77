//! Traffic classes of the policy: what the connections of a class may read and write together, and how their packets
//! are marked.
//!
//! A class has two token buckets, one each way, filled at its ceiling, or at its rate while the node's uplink is full: so
//! that each class gets that much. Connections that find theirs empty stand in a
//! line and take turns, so that a busy one does not starve the others.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use policies::model::traffic::Class;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::host::clock::ServiceClock;

/// Stands for no class.
pub(crate) const UNCLASSED: u8 = u8::MAX;
/// What a class may do at once after silence, in parts of a second of its ceiling...
const BURST_PARTS: f64 = 20.0;
/// ...but no less than so many bytes.
const BURST_BYTES_MIN: f64 = 16_384.0;
/// Those in line are called when so much of the burst has come together.
const CALL_SHARE: f64 = 0.25;
/// What one of those in line gets at its turn, bytes: no more than they are called for.
const TURN_BYTES: f64 = 4_096.0;

/// Places in a line of connections that have gone, beside as many as there are of others.
const LINE_GONE_MAX: usize = 64;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    In = 0,
    Out = 1,
}

/// All classes of the policy in force.
#[derive(Debug, Default)]
pub(crate) struct Shaper {
    clock: Option<ServiceClock>,
    classes: Vec<Shaped>,
}

#[derive(Debug)]
struct Shaped {
    dscp: u8,
    ways: [Bucket; 2],
}

/// Bytes that may pass. A datagram may be larger than what there is: the rest is owed.
#[derive(Debug)]
struct Bucket {
    /// How fast it fills.
    bytes_s: f64,
    /// What the class is sure to get, and what it gets at most.
    rate_bytes_s: f64,
    ceil_bytes_s: f64,
    burst: f64,
    bytes: f64,
    at_ns: u64,
    /// Connections that wait for more, and some that have gone: see [`Self::leave`].
    line: VecDeque<u64>,
    /// Those that wait: at most those that there are.
    in_line: HashSet<u64>,
    /// Connections that were called and have not come yet.
    called: Vec<u64>,
}

impl Bucket {
    fn new(class: &Class, now_ns: u64) -> Self {
        let bytes_s = |bit_s: u64| (bit_s as f64 / 8.0).max(1.0);
        let ceil_bytes_s = bytes_s(class.ceil_bit_s);
        let burst = (ceil_bytes_s / BURST_PARTS).max(BURST_BYTES_MIN);
        Self {
            bytes_s: ceil_bytes_s,
            rate_bytes_s: bytes_s(class.rate_bit_s),
            ceil_bytes_s,
            burst,
            bytes: burst,
            at_ns: now_ns,
            line: VecDeque::new(),
            in_line: HashSet::new(),
            called: Vec::new(),
        }
    }

    fn fill(&mut self, now_ns: u64) {
        let passed_s = now_ns.saturating_sub(self.at_ns) as f64 / 1e9;
        self.bytes = (self.bytes + passed_s * self.bytes_s).min(self.burst);
        self.at_ns = self.at_ns.max(now_ns);
    }

    /// How many bytes a connection may pass now. Where there are none it is in line.
    fn room(&mut self, now_ns: u64, conn: u64) -> usize {
        self.fill(now_ns);
        let turn = self.called.iter().position(|called| *called == conn);
        if let Some(turn) = turn {
            self.called.swap_remove(turn);
        }
        let most = match turn {
            Some(_) => self.bytes.min(TURN_BYTES),
            None if self.in_line.is_empty() => self.bytes,
            None => 0.0,
        };
        if most >= 1.0 {
            return most as usize;
        }
        if self.in_line.insert(conn) {
            self.line.push_back(conn);
        }
        0
    }

    /// When the next in line are called: when there is enough for a turn beside what those may take who were called
    /// and have not come.
    fn due_ns(&self) -> Option<u64> {
        if self.in_line.is_empty() {
            return None;
        }
        let kept = self.called.len() as f64 * TURN_BYTES;
        let wanted = (self.burst * CALL_SHARE + kept).min(self.burst);
        let missing_s = (wanted - self.bytes).max(0.0) / self.bytes_s;
        // Rounded up: it must be there when the time has come.
        Some(self.at_ns.saturating_add((missing_s * 1e9).ceil() as u64))
    }

    /// Calls as many as there are turns for.
    fn call(&mut self, now_ns: u64, out: &mut Vec<u64>) {
        if self.due_ns().is_none_or(|at_ns| at_ns > now_ns) {
            return;
        }
        self.fill(now_ns);
        // Who was called and has not come has nothing to pass any more.
        self.called.clear();
        let turns = (self.bytes / TURN_BYTES).max(1.0) as usize;
        while self.called.len() < turns
            && let Some(conn) = self.line.pop_front()
        {
            if self.in_line.remove(&conn) {
                self.called.push(conn);
                out.push(conn);
            }
        }
    }

    /// A connection has gone. Its place in the line is cleared together with those of others.
    fn leave(&mut self, conn: u64) {
        if self.in_line.remove(&conn) && self.line.len() > 2 * self.in_line.len() + LINE_GONE_MAX {
            self.line.retain(|conn| self.in_line.contains(conn));
        }
    }

    fn take_line(&mut self, out: &mut Vec<u64>) {
        self.line.clear();
        out.extend(self.in_line.drain());
    }
}

impl Shaper {
    /// Full buckets for these classes.
    pub(crate) fn new(classes: &[Class], clock: ServiceClock) -> Self {
        let now_ns = clock.now_ns();
        let shaped = |class: &Class| Shaped {
            dscp: class.dscp,
            ways: [Bucket::new(class, now_ns), Bucket::new(class, now_ns)],
        };
        Self { clock: Some(clock), classes: classes.iter().map(shaped).collect() }
    }

    fn bucket(&mut self, class: u8, way: Way) -> Option<(&mut Bucket, ServiceClock)> {
        // Most connections are in none.
        if class == UNCLASSED {
            return None;
        }
        Some((&mut self.classes.get_mut(usize::from(class))?.ways[way as usize], self.clock?))
    }

    /// How many bytes a connection may pass now; where there are none, it is woken when there are. The driver has to
    /// look at [`Self::next_due_ns`] then.
    #[inline]
    pub(crate) fn room(&mut self, class: u8, way: Way, conn: u64) -> usize {
        match self.bucket(class, way) {
            Some((bucket, clock)) => bucket.room(clock.now_ns(), conn),
            None => usize::MAX,
        }
    }

    /// Bytes of a class have passed.
    #[inline]
    pub(crate) fn passed(&mut self, class: u8, way: Way, len: usize) {
        if let Some((bucket, _)) = self.bucket(class, way) {
            bucket.bytes -= len as f64;
        }
    }

    /// Passes a datagram of a class, which does not wait; whether it may.
    pub(crate) fn pass_datagram(&mut self, class: u8, way: Way, len: usize) -> bool {
        let Some((bucket, clock)) = self.bucket(class, way) else { return true };
        bucket.fill(clock.now_ns());
        let passes = bucket.bytes >= 1.0;
        if passes {
            bucket.bytes -= len as f64;
        }
        passes
    }

    /// Whether there are any.
    pub(crate) fn has_classes(&self) -> bool {
        !self.classes.is_empty()
    }

    /// Says whether the uplink is full.
    pub(crate) fn crowd(&mut self, full: bool) {
        let Some(clock) = self.clock else { return };
        let now_ns = clock.now_ns();
        for bucket in self.classes.iter_mut().flat_map(|class| &mut class.ways) {
            // So far it has filled as fast as it did.
            bucket.fill(now_ns);
            bucket.bytes_s = if full { bucket.rate_bytes_s } else { bucket.ceil_bytes_s };
        }
    }

    /// A connection has gone: it waits no more, in whichever class.
    pub(crate) fn leave(&mut self, conn: u64) {
        self.classes.iter_mut().flat_map(|class| &mut class.ways).for_each(|bucket| bucket.leave(conn));
    }

    /// When [`Self::take_due`] has something to give.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.classes.iter().flat_map(|class| &class.ways).filter_map(Bucket::due_ns).min()
    }

    /// The connections whose turn it is.
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Vec<u64> {
        let mut due = Vec::new();
        self.classes.iter_mut().flat_map(|class| &mut class.ways).for_each(|b| b.call(now_ns, &mut due));
        due
    }

    /// All that wait: their class may be another one now.
    pub(crate) fn take_waiting(&mut self) -> Vec<u64> {
        let mut all = Vec::new();
        self.classes.iter_mut().flat_map(|class| &mut class.ways).for_each(|b| b.take_line(&mut all));
        all
    }

    /// Marks the packets of a connection as its class's; those of none are not marked.
    pub(crate) fn mark(&self, class: u8, stream: &TcpStream, far: SocketAddr) {
        let dscp = self.classes.get(usize::from(class)).map_or(0, |class| class.dscp);
        let socket = SockRef::from(stream);
        // The upper six bits of the octet (RFC 2474). A system that refuses it sends the packets unmarked.
        let octet = u32::from(dscp) << 2;
        let _ = match far.ip().to_canonical() {
            IpAddr::V4(_) => socket.set_tos_v4(octet),
            IpAddr::V6(_) => socket.set_tclass_v6(octet),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use policies::Policy;
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn classes() -> Vec<Class> {
        let text = "policy: eep/v1\nname: p\ntraffic:\n  classes:\n    slow: {dscp: le, rate: 8kbit, ceil: 800kbit}\n    \
                    fast: {dscp: cs3, rate: 1mbit, ceil: 80mbit}\n  default: {class: slow}\n";
        let files = BTreeMap::from([("p.yaml".to_owned(), text.to_owned())]);
        Policy::load(&files, "p.yaml", 1).unwrap().policy.classes().to_vec()
    }

    /// 100,000 bytes a second, 16 KiB at once.
    fn slow() -> Bucket {
        Bucket::new(&classes()[0], 0)
    }

    #[test]
    fn no_more_passes_than_the_ceiling_and_the_burst_and_everybody_gets_a_turn() {
        let mut bucket = slow();
        // Forty connections that always have more, each with as much as it is let at once.
        let mut passed: HashMap<u64, usize> = (0..40).map(|conn| (conn, 0)).collect();
        let mut awake: Vec<u64> = (0..40).collect();
        let mut now_ns = 0;
        while now_ns < 20 * SECOND {
            for conn in awake.drain(..) {
                loop {
                    let room = bucket.room(now_ns, conn);
                    if room == 0 {
                        break;
                    }
                    *passed.get_mut(&conn).unwrap() += room;
                    bucket.bytes -= room as f64;
                }
            }
            let total: usize = passed.values().sum();
            assert!(total as f64 <= BURST_BYTES_MIN + 100_000.0 * now_ns as f64 / 1e9, "{total} at {now_ns}");
            now_ns = bucket.due_ns().expect("all wait");
            bucket.call(now_ns, &mut awake);
            assert!(!awake.is_empty(), "what is due is called");
        }
        let total: usize = passed.values().sum();
        assert!(total > 1_980_000, "{total}: the ceiling is made use of");
        let (least, most) = (passed.values().min().unwrap(), passed.values().max().unwrap());
        // One had the first burst.
        assert!(most - least <= BURST_BYTES_MIN as usize + 2 * TURN_BYTES as usize, "{least} {most}");
    }

    #[test]
    fn who_is_called_and_does_not_come_holds_nobody_up() {
        let mut bucket = slow();
        let room = bucket.room(0, 1);
        bucket.bytes -= room as f64;
        assert_eq!([bucket.room(0, 1), bucket.room(0, 2), bucket.room(0, 2), bucket.room(0, 3)], [0; 4]);
        let mut called = Vec::new();
        let due_ns = bucket.due_ns().unwrap();
        bucket.call(due_ns - 1, &mut called);
        assert_eq!(called, [0; 0]);
        bucket.call(due_ns, &mut called);
        assert_eq!(called, [1], "a quarter of the burst is one turn");
        let later_ns = bucket.due_ns().expect("the others wait");
        bucket.call(later_ns, &mut called);
        assert_eq!(called, [1, 2, 3], "one turn more, for who has not come");
        assert_eq!(bucket.due_ns(), None);
        assert_eq!(bucket.room(later_ns, 3), TURN_BYTES as usize);
        assert!(bucket.room(later_ns, 3) > TURN_BYTES as usize, "there is no line any more");
    }

    #[test]
    fn a_line_does_not_grow_with_those_who_come_and_go() {
        let mut bucket = slow();
        let room = bucket.room(0, 1);
        bucket.bytes -= room as f64;
        assert_eq!([bucket.room(0, 1), bucket.room(0, 2)], [0; 2]);
        for conn in 100..10_000 {
            assert_eq!(bucket.room(0, conn), 0);
            bucket.leave(conn);
            assert!(bucket.line.len() <= LINE_GONE_MAX + 6, "{}", bucket.line.len());
        }
        bucket.leave(1);
        let mut called = Vec::new();
        bucket.call(SECOND, &mut called);
        assert_eq!(called, [2]);
        assert_eq!(bucket.due_ns(), None);
    }

    #[test]
    fn while_the_uplink_is_full_a_class_gets_its_rate() {
        let mut shaper = Shaper::new(&classes(), ServiceClock::not_before(0));
        let fills_at = |shaper: &Shaper| shaper.classes.iter().map(|c| c.ways[0].bytes_s).collect::<Vec<_>>();
        assert_eq!(fills_at(&shaper), [100_000.0, 10_000_000.0]);
        shaper.crowd(true);
        assert_eq!(fills_at(&shaper), [1_000.0, 125_000.0]);
        let bucket = &mut shaper.classes[0].ways[0];
        let room = bucket.room(bucket.at_ns, 7);
        bucket.bytes -= room as f64;
        let empty_ns = bucket.at_ns;
        assert_eq!(bucket.room(empty_ns, 7), 0);
        // A quarter of the burst, at a thousand bytes a second.
        assert!(bucket.due_ns().unwrap() - empty_ns > 4 * SECOND);
        shaper.crowd(false);
        assert_eq!(fills_at(&shaper), [100_000.0, 10_000_000.0]);
    }

    #[test]
    fn what_a_datagram_owes_is_waited_for() {
        let mut shaper = Shaper::new(&classes(), ServiceClock::not_before(0));
        assert!(shaper.pass_datagram(0, Way::In, 16_384 + 50_000_000));
        assert!(!shaper.pass_datagram(0, Way::In, 1));
        assert_eq!(shaper.room(0, Way::In, 7), 0);
        assert!(shaper.room(0, Way::Out, 7) > 0, "the other way is not held back");
        assert!(shaper.room(1, Way::In, 7) > 0, "nor is another class");
        assert_eq!(shaper.room(UNCLASSED, Way::In, 8), usize::MAX, "nor is who is in none");
        let due_ns = shaper.next_due_ns().unwrap();
        // Five hundred seconds, less what has passed since.
        assert!(due_ns > shaper.clock.unwrap().now_ns() + 400 * SECOND);
        assert_eq!(shaper.take_due(due_ns - 1), [] as [u64; 0]);
        assert_eq!(shaper.take_due(due_ns), [7]);
        assert_eq!(shaper.take_waiting(), [] as [u64; 0]);
    }

    #[tokio::test]
    async fn packets_are_marked_for_both_families() {
        let shaper = Shaper::new(&classes(), ServiceClock::not_before(0));
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.expect("a port of this machine");
            let to = listener.local_addr().unwrap();
            let (ours, theirs) = tokio::join!(TcpStream::connect(to), listener.accept());
            let (stream, _) = theirs.unwrap();
            let read = || match to {
                SocketAddr::V4(_) => SockRef::from(&stream).tos_v4().unwrap(),
                SocketAddr::V6(_) => SockRef::from(&stream).tclass_v6().unwrap(),
            };
            let far = ours.unwrap().local_addr().unwrap();
            // Code points 1 and 24 (RFC 8622, RFC 2474).
            for (class, octet) in [(0, 1 << 2), (1, 24 << 2), (UNCLASSED, 0)] {
                shaper.mark(class, &stream, far);
                assert_eq!(read(), octet, "{address}, class {class}");
            }
        }
    }

    #[tokio::test]
    async fn a_peer_by_ipv4_at_a_socket_for_both_is_marked_too() {
        let shaper = Shaper::new(&classes(), ServiceClock::not_before(0));
        let listener = TcpListener::bind("[::]:0").await.expect("a port of this machine");
        let to = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let (_ours, theirs) = tokio::join!(TcpStream::connect(to), listener.accept());
        let (stream, far) = theirs.unwrap();
        assert!(far.is_ipv6(), "{far}: mapped");
        shaper.mark(1, &stream, far);
        assert_eq!(SockRef::from(&stream).tos_v4().unwrap(), 24 << 2);
    }
}
