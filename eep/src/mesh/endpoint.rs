//! The UDP socket, QUIC and TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;

use crate::mesh::identity::{Identity, Resolver};
use crate::mesh::trust::SharedDomains;
use crate::mesh::verifier::Verifier;

/// The protocol inside a connection of two nodes (RFC 7301).
const ALPN: &[u8] = b"eep-mesh";
/// The protocol inside a relayed stream.
const ALPN_STREAM: &[u8] = b"eep-stream";
/// The name that is asked for in TLS; a node is known by its key, so all have the same.
pub(super) const SERVER_NAME: &str = "eep-mesh";
/// A connection on which nothing came for so long is over. The measurement plane finds dead links long before.
const IDLE: Duration = Duration::from_secs(15);
/// The round trip that is taken before one was measured: what is lost of a handshake is sent again after three of them, and
/// so a node that comes back is reached soon. RFC 9002, section 6.2.2, recommends 333 ms for the Internet at large.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Streams that a peer may have open with us at a time.
pub(super) const STREAMS_MAX: u32 = 512;
/// Bytes that may be under way on one stream, and on all of a connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Bytes of datagrams that wait on either side of a connection; the oldest make room. They are probes.
const DATAGRAMS_BYTES_MAX: usize = 16 << 10;

/// TLS for both sides of a connection, and for both ends of a relayed stream.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

impl Tls {
    fn new(
        provider: &Arc<CryptoProvider>,
        identity: &Arc<Identity>,
        domains: &SharedDomains,
        alpn: &[u8],
    ) -> Result<Self, rustls::Error> {
        let versions = &[&rustls::version::TLS13];
        let verifier = Arc::new(Verifier(Arc::clone(domains)));
        let resolver = Arc::new(Resolver(Arc::clone(identity)));
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(Arc::<Verifier>::clone(&verifier))
            .with_cert_resolver(Arc::<Resolver>::clone(&resolver));
        server.alpn_protocols = vec![alpn.to_vec()];
        // A resumed session would pass over the certificate, and with it over its end.
        server.send_tls13_tickets = 0;
        let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(resolver);
        client.alpn_protocols = vec![alpn.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }

    /// TLS for relayed streams.
    pub(super) fn of_streams(
        provider: &Arc<CryptoProvider>,
        identity: &Arc<Identity>,
        domains: &SharedDomains,
    ) -> Result<Self, rustls::Error> {
        Self::new(provider, identity, domains, ALPN_STREAM)
    }

    pub(super) fn connector(&self) -> tokio_rustls::TlsConnector {
        Arc::clone(&self.client).into()
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        Arc::clone(&self.server).into()
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(DATAGRAMS_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAMS_BYTES_MAX)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
    transport
}

/// Opens the socket. Dialling and accepting share it, so that a peer sees at once where we are reached.
pub(super) fn open(
    address: SocketAddr,
    provider: &Arc<CryptoProvider>,
    identity: &Arc<Identity>,
    domains: &SharedDomains,
) -> std::io::Result<Endpoint> {
    let other = std::io::Error::other::<rustls::Error>;
    let tls = Tls::new(provider, identity, domains, ALPN).map_err(other)?;
    let transport = Arc::new(transport());
    let server = QuicServerConfig::try_from(tls.server).map_err(std::io::Error::other)?;
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(Arc::clone(&transport));
    let client = QuicClientConfig::try_from(tls.client).map_err(std::io::Error::other)?;
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport);
    let mut endpoint = Endpoint::server(server, address)?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}
