//! UDP.

use eep::proxylet::status::Protocol;
use tokio::net::UdpSocket;

use crate::node::{Node, Peer, address, shows, soon};

#[tokio::test]
async fn datagrams_come_and_go_with_their_addresses() {
    let node = Node::new();
    let service = node.start().await;
    Peer::join(&service).await.ask("D", 1).await;
    let to = shows("a UDP socket", || {
        service.status().listening.iter().find(|l| l.protocol == Protocol::Udp).map(|l| l.address)
    })
    .await;
    assert_eq!(to, address(&service, Protocol::Udp));
    let peers =
        [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    for (i, peer) in peers.iter().enumerate() {
        peer.send_to(&[i as u8; 1_200], to).await.unwrap();
        peer.send_to(&[], to).await.unwrap();
    }
    for (i, peer) in peers.iter().enumerate() {
        let mut bytes = [9; 2_000];
        let (len, from) = soon("the echo", peer.recv_from(&mut bytes)).await.unwrap();
        assert_eq!((&bytes[..len], from), (&[i as u8; 1_200][..], to));
        let (len, _) = soon("the empty echo", peer.recv_from(&mut bytes)).await.unwrap();
        assert_eq!(len, 0);
    }
}

#[tokio::test]
async fn a_socket_that_is_not_granted_is_not_bound() {
    let node = Node::new();
    let service =
        node.start_with(|spec| spec.grants = crate::node::grants(&["net.listen:*", "datagram:9"])).await;
    let mut peer = Peer::join(&service).await;
    peer.ask("D", 1).await;
    assert_eq!(service.status().listening.len(), 1);
}
