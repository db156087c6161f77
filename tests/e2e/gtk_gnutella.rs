//! gtk-gnutella, the strictest peer in use, where one is installed: see `eep_tests::gtkg`.

use std::net::{Ipv4Addr, SocketAddrV4};

use eep_tests::gtkg::{self, GtkGnutella, Mode, Options};
use eep_tests::namespace::Namespace;
use eep_tests::peer::{Config, Peer, SharedFile, transfer};
use eep_tests::wait::until;
use eep_tests::wire::Query;

/// Public, so that it takes none of them for private; nobody's, so that no packet goes anywhere.
const fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 77, host)
}

#[test]
fn as_a_leaf_it_joins_a_raw_ultrapeer_and_shares() {
    let Some(binary) = gtkg::binary("EEP_TEST_GTK_GNUTELLA") else { return };
    let _namespace = Namespace::enter(&[ip(1), ip(2)]);
    let file = SharedFile::filled("zebra quartet symphony.mp3", 300_000);
    let options = Options { files: vec![file.clone()], ..Options::new(Mode::Leaf) };
    let leaf = GtkGnutella::start(&binary, SocketAddrV4::new(ip(1), 6346), &options);
    let ultrapeer = Peer::start(Config::ultrapeer(ip(2))).expect("a port");

    leaf.connect(ultrapeer.address());
    let link = until("the relation", || ultrapeer.accepted().pop());
    assert!(until("its table", || link.table_has("zebra").then_some(true)));
    let query = ultrapeer.search(&link, &Query::words("zebra symphony")).expect("sent");
    let hit = link.expect_hit(query);
    assert_eq!(hit.files[0].urn.as_deref(), Some(file.urn.as_str()));
    let got = transfer::download(hit.address.into(), &format!("/uri-res/N2R?{}", file.urn)).expect("a file");
    assert!(got == *file.bytes, "the same bytes");
}
