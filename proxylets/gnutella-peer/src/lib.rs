//! The stock Gnutella peer: the Active Virtual Peer as a proxylet, with the standard rules. All of it lies in
//! `gnutella-shell` and `avp`.

use gnutella_shell::{Peer, Stock};

eep_sdk::proxylet!(Peer<Stock>, manifest = "../proxylet.json");
