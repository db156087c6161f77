//! TCP: both ways, many peers, back-pressure, ends.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::node::{ENDED, LIMIT, Node, Peer, REFUSED, shows, soon};
use crate::port::Port;

#[tokio::test]
async fn what_a_peer_says_comes_back() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    assert_eq!(peer.ask("Ehello", 5).await, b"hello");
    let status = service.status();
    assert_eq!((status.connections, status.received_bytes, status.sent_bytes), (1, 6, 5));
    assert!(status.batches >= 1 && status.memory_bytes > 0 && status.batch_us_p99 > 0.0);
}

#[tokio::test]
async fn one_send_reaches_every_peer_in_order() {
    let node = Node::new();
    let service = node.start().await;
    let mut peers = Vec::new();
    for _ in 0..40 {
        let mut peer = Peer::join(&service).await;
        assert_eq!(peer.ask("E.", 1).await, b".");
        peers.push(peer);
    }
    // Small runs are copied to each, large ones are shared; each peer gets both in the order in which they were sent.
    let large = vec![b'x'; 9_000];
    peers[0].say("Fone").await;
    assert_eq!(peers[0].hear(3).await, b"one");
    peers[7].say([b"F", &large[..]].concat()).await;
    assert_eq!(peers[7].hear(3 + 9_000).await[3..], large);
    peers[9].say("Ftwo").await;
    for (i, peer) in peers.iter_mut().enumerate() {
        let before = match i {
            0 => 3,
            7 => 3 + 9_000,
            _ => 0,
        };
        let all = [b"one", &large[..], b"two"].concat();
        assert_eq!(peer.hear(all.len() - before).await, all[before..], "peer {i}");
    }
}

#[tokio::test]
async fn a_peer_that_half_closes_gets_its_answer() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.say("Eanswer").await;
    peer.0.shutdown().await.unwrap();
    assert_eq!(peer.hear_out().await, b"answer");
    let mut other = Peer::join(&service).await;
    let counted = other.counted().await;
    assert_eq!((counted.closed, counted.reason), (1, ENDED));
    shows("the connection's end", || (service.status().connections == 1).then_some(())).await;
}

#[tokio::test]
async fn a_close_lets_what_was_sent_leave_and_an_abort_does_not_wait() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.say("B\x08").await;
    peer.hear(1).await;
    peer.say("C").await;
    assert_eq!(peer.hear_out().await.len() + 1, 8 * 65_536);
    drop(peer);
    let mut peer = Peer::join(&service).await;
    peer.say("A").await;
    peer.hear_out().await;
    shows("no connection", || (service.status().connections == 0).then_some(())).await;
    // Neither was reported as closed: the service did it itself.
    assert_eq!(Peer::join(&service).await.counted().await.closed, 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_congested_and_then_writable() {
    let node = Node::new();
    let service = node.start().await;
    let mut slow = Peer::join(&service).await;
    let mut other = Peer::join(&service).await;
    // More than the sockets' own buffers hold, less than what may wait. The system may find room in them late: then it is
    // writable again before anything was read, and more has to be said.
    let mut said = 0;
    let congested = loop {
        let now = other.counted().await;
        if now.congested > now.writable {
            break now.congested;
        }
        slow.say("B\x01").await;
        said += 1;
        // The next command is not to be said before this one was taken: two in one event would be one.
        shows("64 KiB", || (service.status().sent_bytes >= said as u64 * 65_536).then_some(())).await;
    };
    slow.hear(said * 65_536).await;
    soon("writable", async { while other.counted().await.writable < congested {} }).await;
    let counted = other.counted().await;
    assert_eq!((counted.congested, counted.writable, counted.closed), (congested, congested, 0));
}

#[tokio::test]
async fn a_peer_on_which_too_much_waits_is_closed_with_the_reason() {
    let node = Node::new();
    let service = node.start().await;
    let mut slow = Peer::join(&service).await;
    let mut other = Peer::join(&service).await;
    // 255 times 64 KiB: past the sockets' buffers by far more than 1 MiB.
    slow.say(b"B\xff").await;
    // Where that was enough, nobody hears this any more.
    let _ = slow.0.write_all(b"B\xff").await;
    soon("the end", async { while other.counted().await.closed == 0 {} }).await;
    assert_eq!(other.counted().await.reason, LIMIT);
    shows("one connection", || (service.status().connections == 1).then_some(())).await;
}

#[tokio::test]
async fn a_connection_that_is_not_read_holds_its_peer_back() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let mut other = Peer::join(&service).await;
    peer.ask("P", 1).await;
    other.ask("E.", 1).await;
    let received = service.status().received_bytes;
    peer.say("Enot heard").await;
    other.ask("E.", 1).await;
    other.ask("E.", 1).await;
    assert_eq!(service.status().received_bytes, received + 4);
}

#[tokio::test]
async fn a_service_connects_and_what_it_sends_early_comes_first() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    peer.ask(format!("u{port}"), 1).await;
    let mut dialled = Peer(soon("the connection", listener.accept()).await.unwrap().0);
    assert_eq!(dialled.hear(9).await, b"earlyarly");
    assert_eq!(dialled.ask("E!", 1).await, b"!");
}

#[tokio::test]
async fn a_connection_that_is_refused_fails_with_the_reason() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let unused = Port::reserve();
    assert_eq!(peer.ask(format!("U{}", unused.number()), 1).await, b".");
    soon("the failure", async { while peer.counted().await.failed == 0 {} }).await;
    assert_eq!(peer.counted().await.reason, REFUSED);
    shows("one connection", || (service.status().connections == 1).then_some(())).await;
}
