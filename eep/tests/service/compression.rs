//! `inflate` and `deflate`, against zlib on the peer's side.

use eep::proxylet::service::Service;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::node::{CORRUPT, Node, PROBE, Peer, component, shows, soon};

/// The peer's side of a compressed connection.
struct Zlib {
    out: Compress,
    inn: Decompress,
}

impl Zlib {
    fn new() -> Self {
        Self { out: Compress::new(Compression::new(6), true), inn: Decompress::new(true) }
    }

    fn deflate(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(plain.len() + 100);
        self.out.compress_vec(plain, &mut bytes, FlushCompress::Sync).unwrap();
        bytes
    }

    /// Reads until so much was inflated.
    async fn hear(&mut self, peer: &mut Peer, len: usize) -> Vec<u8> {
        let mut plain = Vec::with_capacity(len);
        while plain.len() < len {
            let byte = peer.hear(1).await;
            self.inn.decompress_vec(&byte, &mut plain, FlushDecompress::None).unwrap();
        }
        plain
    }
}

#[tokio::test]
async fn a_connection_switches_to_zlib_in_the_middle_of_a_read() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let mut zlib = Zlib::new();
    // The first compressed message comes with the switch.
    peer.say([b"Z", &zlib.deflate(b"Efirst")[..]].concat()).await;
    assert_eq!(zlib.hear(&mut peer, 5).await, b"first");
    let long = [b"E", &b"again and ".repeat(2_000)[..]].concat();
    peer.say(zlib.deflate(&long)).await;
    assert_eq!(zlib.hear(&mut peer, long.len() - 1).await, &long[1..]);
}

#[tokio::test]
async fn a_few_bytes_leave_without_waiting_for_more() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let mut zlib = Zlib::new();
    peer.say("Z").await;
    peer.say(zlib.deflate(b"Ex")).await;
    assert_eq!(zlib.hear(&mut peer, 1).await, b"x");
}

#[tokio::test]
async fn a_close_ends_the_stream_as_zlib_wants_it() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let mut zlib = Zlib::new();
    peer.say([b"Z", &zlib.deflate(b"Elast")[..]].concat()).await;
    // Taken in one batch or two: what was echoed comes before the end.
    assert_eq!(zlib.hear(&mut peer, 4).await, b"last");
    peer.say(zlib.deflate(b"C")).await;
    let rest = peer.hear_out().await;
    let mut plain = Vec::with_capacity(16);
    let status = zlib.inn.decompress_vec(&rest, &mut plain, FlushDecompress::Finish).unwrap();
    assert_eq!((status, plain.len()), (flate2::Status::StreamEnd, 0));
}

#[tokio::test]
async fn a_bomb_is_delivered_piece_by_piece_and_grows_nothing() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let mut other = Peer::join(&service).await;
    peer.say("Z").await;
    let mut zlib = Zlib::new();
    const PLAIN: u64 = 200 << 20;
    let zeros = vec![0; 1 << 20];
    let bomb: Vec<u8> = (0..PLAIN >> 20).flat_map(|_| zlib.deflate(&zeros)).collect();
    assert!(bomb.len() < 300_000);
    peer.say(&bomb).await;
    shows("the whole", || (service.status().received_bytes >= PLAIN).then_some(())).await;
    // The proxylet was never handed more than a batch holds; a neighbour was served all along.
    assert_eq!(other.ask("E.", 1).await, b".");
    assert!(service.status().memory_bytes < 4 << 20);
    assert!(service.status().events >= PLAIN >> 16);
}

#[tokio::test]
async fn what_is_not_zlib_is_corrupt() {
    let node = Node::new();
    ends_as_corrupt(&node.start().await, "ZGNUTELLA").await;
}

/// A peer that says this is dropped, and the proxylet told why.
async fn ends_as_corrupt(service: &Service, said: &str) {
    let mut other = Peer::join(service).await;
    let mut peer = Peer::join(service).await;
    peer.say(said).await;
    peer.hear_out().await;
    soon("the end", async { while other.counted().await.closed == 0 {} }).await;
    assert_eq!(other.counted().await.reason, CORRUPT);
}

#[tokio::test]
async fn what_comes_with_the_switch_has_a_length() {
    // A proxylet that switches with one stored block of so many bytes with its frame (RFC 1950, RFC 1951 section 3.2.4).
    let switching = |len: u16| {
        let (lo, hi) = (len.to_le_bytes()[0], len.to_le_bytes()[1]);
        let frame = format!("\\78\\01\\00\\{lo:02x}\\{hi:02x}\\{:02x}\\{:02x}E", !lo, !hi);
        let text = "x".repeat(usize::from(len) - 1);
        let given = "(call $inflate (local.get $conn) (local.get $at) (local.get $len))";
        let instead = format!(
            "(call $inflate (local.get $conn) (i32.const 393216) (i32.const {}))",
            u32::from(len) + 7
        );
        let memory = format!("(memory (export \"memory\") 8) (data (i32.const 393216) \"{frame}{text}\")");
        assert!(PROBE.contains(given));
        component(&PROBE.replace(given, &instead).replace("(memory (export \"memory\") 4)", &memory))
    };
    let node = Node::new();
    let longest = node.runtime.prepare(&switching(65_529), None).unwrap();
    let service = node.start_with(|spec| spec.code = longest).await;
    let mut peer = Peer::join(&service).await;
    peer.say("Z").await;
    assert_eq!(Zlib::new().hear(&mut peer, 1).await, b"x");
    let longer = node.runtime.prepare(&switching(65_530), None).unwrap();
    let service = node
        .start_with(|spec| {
            spec.name = "longer".to_owned();
            spec.code = longer;
        })
        .await;
    ends_as_corrupt(&service, "Z").await;
}
