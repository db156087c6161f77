use data_encoding::HEXLOWER;
use proptest::collection::vec;
use proptest::prelude::*;

use super::head::{code, flag, pong_v1};
use super::*;
use crate::gnutella::ggep::{Block, Builder, Nul};
use crate::gnutella::huge::Sha1;

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.replace(' ', "").as_bytes()).unwrap()
}

/// What an ultrapeer says that it understands: 27 messages.
const SUPPORTED: &str = "0000000000000000 1b00 4245415204000100 4245415207000100 424541520b000100 424541520c000100 \
    47544b4707000100 47544b4707000200 47544b4709000100 47544b470a000100 47544b4715000100 47544b4716000100 \
    47544b4717000100 47544b4718000100 4c494d4505000100 4c494d450b000200 4c494d450b000300 4c494d450c000100 \
    4c494d450c000200 4c494d450c000300 4c494d450d000100 4c494d4515000100 4c494d4515000200 4c494d4516000100 \
    4c494d4516000200 4c494d4517000100 4c494d4517000200 4c494d4518000100 4c494d4518000200";

#[test]
fn a_captured_list_of_messages() {
    let payload = hex(SUPPORTED);
    assert_eq!(payload.len(), 226);
    let Some(Message::MessagesSupported(ids)) = Message::parse(&payload) else { panic!() };
    let all: Vec<_> = ids.iter().collect();
    assert_eq!(all.len(), 27);
    assert_eq!(format!("{:?} {:?} {:?}", all[0], all[5], all[26]), "BEAR/4v1 GTKG/7v2 LIME/24v2");
    assert!(ids.supports(Id::new(b"LIME", 21, 1)) && ids.supports(Id::new(b"LIME", 11, 2)));
    assert!(!ids.supports(Id::new(b"LIME", 21, 3)) && !ids.supports(Id::new(b"LIME", 6, 1)));
    assert_eq!(messages_supported(&all), payload);
}

#[test]
fn a_captured_list_of_features() {
    let payload = hex(
        "000000000a000000 0600 48534550 0100 57484154 0100 51525031 0100 46324654 ffff 54435049 0100 544c5321 0100",
    );
    let Some(Message::FeaturesSupported(features)) = Message::parse(&payload) else { panic!() };
    let all: Vec<_> = features.iter().collect();
    let names: Vec<_> = all.iter().map(|(name, version)| (name, *version)).collect();
    let expected = [(b"HSEP", 1), (b"WHAT", 1), (b"QRP1", 1), (b"F2FT", 0xffff), (b"TCPI", 1), (b"TLS!", 1)];
    assert_eq!(names, expected);
    assert_eq!(features_supported(&all), payload);
}

#[test]
fn a_list_that_promises_more_than_it_has_is_not_believed() {
    let mut payload = hex(SUPPORTED);
    payload[8..10].copy_from_slice(&[0xff, 0xff]);
    payload.truncate(8 + 2 + 3 * 8 + 5);
    let Some(Message::MessagesSupported(ids)) = Message::parse(&payload) else { panic!() };
    assert_eq!(ids.iter().count(), 3);
    assert_eq!(Message::parse(&payload[..9]), None);
}

#[test]
fn captured_small_messages() {
    let connect_back = hex("47544b4707000100 ca18 9729310248d8ffd0b72ff6861ab3025b");
    let guid = Guid::from_hex(b"9729310248d8ffd0b72ff6861ab3025b");
    assert_eq!(Message::parse(&connect_back), Some(Message::UdpConnectBack { port: 6346, guid }));
    let request = hex("47544b4709000100 00");
    assert_eq!(Message::parse(&request), Some(Message::TimeSyncRequest { flags: 0 }));
    let reply = hex("47544b470a000100 00 665bc4eb 00013ea5");
    let expected = Message::TimeSyncReply { flags: 0, received_s: 0x665b_c4eb, received_us: 81_573 };
    assert_eq!(Message::parse(&reply), Some(expected));
    for payload in [connect_back, request, reply] {
        assert_eq!(Message::parse(&payload).unwrap().encode(), payload);
    }
}

/// Each message that can be written, in each version.
fn every() -> Vec<Message<'static>> {
    let addr: SocketAddrV4 = "100.64.77.1:6346".parse().unwrap();
    let info = NodeInfo {
        vendor: *b"TEST",
        mode: 2,
        answer_flags: 1,
        operating_flags: 2,
        features: &[0, 0, 0, 9],
        ultras_max: 50,
        ultras_as_leaf_max: 4,
        ultras: 32,
        leaves_max: 300,
        leaves: 299,
        ttl: 4,
        ttl_max: 15,
        started_s: 1_700_000_000,
        address_changed_s: 1_700_000_001,
        rest: &[1, 2, 3],
    };
    vec![
        Message::HopsFlow { hops: 5 },
        Message::TcpConnectBack { port: 6346 },
        Message::QueryStatusRequest,
        Message::QueryStatus { hits: HITS_ENOUGH },
        Message::UdpConnectBack { port: 6346, guid: Some(Guid([1; 16])) },
        Message::UdpConnectBack { port: 6346, guid: None },
        Message::TimeSyncRequest { flags: 1 },
        Message::TimeSyncReply { flags: 1, received_s: 2, received_us: 3 },
        Message::PushProxyCancel,
        Message::NodeInfoRequest { flags: 0x0102_0304 },
        Message::NodeInfo(info),
        Message::CrawlerPing { ultrapeers: 255, leaves: 10, features: 8 },
        Message::OobReplyAck { wanted: 10, token: None },
        Message::OobReplyAck { wanted: 10, token: Token::new(&[0, 1, 2]) },
        Message::OobReplyIndication { hits: 3, unsolicited: None, secure: false },
        Message::OobReplyIndication { hits: 3, unsolicited: Some(true), secure: false },
        Message::OobReplyIndication { hits: 3, unsolicited: Some(false), secure: true },
        Message::OobProxyVeto { version: None },
        Message::OobProxyVeto { version: Some(2) },
        Message::PushProxyRequest { version: 1 },
        Message::PushProxyRequest { version: 2 },
        Message::PushProxyAck { at: ProxyAddr::Port(6346) },
        Message::PushProxyAck { at: ProxyAddr::Full(addr) },
        Message::HeadPing(HeadPing { version: 1, flags: flag::ALTS, rest: b"urn:sha1:" }),
        Message::HeadPong(HeadPong::V1 { flags: 0, code: 0, rest: &[] }),
        Message::HeadPong(HeadPong::V2(Block::parse(b"\xc3\x81C\x41\x01").unwrap())),
        Message::Unknown { id: Id::new(b"SWAP", 5, 1), body: b"body" },
    ]
}

#[test]
fn every_message_is_read_as_it_was_written() {
    for message in every() {
        let payload = message.encode();
        assert_eq!(Message::parse(&payload).as_ref(), Some(&message));
        assert_eq!(Message::parse(&payload).unwrap().id(), message.id());
    }
}

#[test]
fn a_message_that_is_cut_off_is_none() {
    for message in every() {
        let payload = message.encode();
        for len in 0..payload.len() {
            if let Some(shorter) = Message::parse(&payload[..len]) {
                assert_ne!(shorter, message, "{len}");
            }
        }
        assert_eq!(Message::parse(&payload[..7]), None);
    }
}

#[test]
fn a_head_ping_for_a_servent_behind_an_ultrapeer() {
    let sha1 = Sha1([5; 20]);
    let block = Builder::new(Nul::Allowed).with(b"PUSH", &[7; 16]).finish();
    let rest = [sha1.urn().as_bytes(), &block].concat();
    let ping = HeadPing { version: 2, flags: flag::GGEP | flag::ALTS, rest: &rest };
    assert_eq!((ping.sha1(), ping.servent()), (Some(sha1), Some(Guid([7; 16]))));
    let unflagged = HeadPing { flags: 0, ..ping };
    assert_eq!((unflagged.sha1(), unflagged.servent()), (None, None));
    let urn = sha1.urn() + "\0";
    let with_nul = HeadPing { version: 1, flags: 0, rest: urn.as_bytes() };
    assert_eq!(with_nul.sha1(), Some(sha1));
}

#[test]
fn head_pongs_of_both_versions_say_the_same() {
    let alts: Vec<SocketAddrV4> = vec!["1.2.3.4:5".parse().unwrap(), "6.7.8.9:10".parse().unwrap()];
    let mut v1 = Id::new(b"LIME", 24, 1).encode().to_vec();
    v1.extend_from_slice(&pong_v1(code::COMPLETE, *b"TEST", -3, &alts));
    let packed: Vec<u8> = alts.iter().flat_map(|a| ip_port_bytes(*a)).collect();
    let mut v2 = Id::new(b"LIME", 24, 2).encode().to_vec();
    let block =
        Builder::new(Nul::Allowed).with(b"C", &[code::COMPLETE]).with(b"Q", &[0xfd]).with(b"A", &packed);
    v2.extend_from_slice(&block.finish());
    for payload in [v1, v2] {
        let Some(Message::HeadPong(pong)) = Message::parse(&payload) else { panic!() };
        assert_eq!((pong.code(), pong.queue(), pong.alts()), (code::COMPLETE, Some(-3), alts.clone()));
    }
    let nothing = HeadPong::V1 { flags: 0, code: 0, rest: &[] };
    assert_eq!(pong_v1(0, *b"TEST", 0, &alts), [0, 0]);
    assert_eq!((nothing.code(), nothing.queue(), nothing.alts()), (0, None, vec![]));
}

#[test]
fn ranges_before_the_sources_are_skipped() {
    let body = [&b"TEST\x02\0\x08"[..], &[0; 8], &[0, 0], &[0, 6, 1, 2, 3, 4, 5, 0]].concat();
    let flags = flag::RANGES | flag::PUSH_ALTS | flag::ALTS;
    let pong = HeadPong::V1 { flags, code: code::PARTIAL, rest: &body };
    assert_eq!(pong.alts(), ["1.2.3.4:5".parse().unwrap()]);
    let cut = HeadPong::V1 { flags, code: code::PARTIAL, rest: &body[..body.len() - 1] };
    assert_eq!(cut.alts(), []);
}

#[test]
fn a_token_has_bounds() {
    assert_eq!(Token::new(b""), None);
    assert_eq!(Token::new(&[1; TOKEN_BYTES_MAX + 1]), None);
    assert_eq!(Token::new(&[1; TOKEN_BYTES_MAX]).unwrap().bytes(), [1; TOKEN_BYTES_MAX]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(which in 0..5_usize, number in 0..26_u16, version in 0..4_u16, body in vec(any::<u8>(), 0..80)) {
        let vendor = [b"\0\0\0\0", b"BEAR", b"GTKG", b"LIME", b"XXXX"][which];
        let mut payload = Id::new(vendor, number, version).encode().to_vec();
        payload.extend_from_slice(&body);
        if let Some(message) = Message::parse(&payload) {
            let again = message.encode();
            prop_assert_eq!(Message::parse(&again).map(|m| m.encode()), Some(again.clone()));
            match message {
                Message::MessagesSupported(ids) => { let _ = ids.iter().count(); }
                Message::FeaturesSupported(features) => { let _ = features.iter().count(); }
                Message::HeadPing(ping) => { let _ = (ping.sha1(), ping.servent()); }
                Message::HeadPong(pong) => { let _ = (pong.code(), pong.queue(), pong.alts()); }
                _ => {}
            }
        }
        let _ = Message::parse(&body);
    }
}
