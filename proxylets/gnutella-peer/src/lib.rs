//! The Active Virtual Peer as a proxylet.
