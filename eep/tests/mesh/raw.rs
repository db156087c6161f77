//! A peer that does as it likes: QUIC and TLS as they should be, everything above by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eep::mesh::authority::Pair;
use eep::mesh::wire::{self, FRAME_BYTES_MAX, Frame, HELLO, Hello, Opening, Purpose, Reply, SOAR, VERSION};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::SigningKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use topology::NodeId;

/// Believes everybody: it is the node that is under test.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Dials a node with a certificate, or with none.
pub(crate) async fn dial(to: SocketAddr, pair: Option<&Pair>) -> Result<Connection, ConnectionError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut tls = match pair {
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"eep-mesh".to_vec()];
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    // Takes no datagrams, like the first version: everything comes on the stream.
    let mut transport = TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint.connect(to, "any-name").unwrap().await
}

/// A peer that has greeted.
pub(crate) struct Raw {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) id: NodeId,
    chain: Vec<u8>,
    key: Arc<dyn SigningKey>,
}

impl Raw {
    /// Dials and greets in this version; what the node greets with.
    pub(crate) async fn greet(to: SocketAddr, pair: &Pair, version: u32) -> Option<(Self, Hello)> {
        let connection = dial(to, Some(pair)).await.ok()?;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        wire::write(&mut send, &Opening::control()).await.unwrap();
        let hello = Hello { version, boot: 1, seen_at: None, reach_at: None };
        wire::write(&mut send, &Frame { kind: HELLO, body: minicbor::to_vec(hello).unwrap() }).await.unwrap();
        let frame: Frame = wire::read(&mut recv, FRAME_BYTES_MAX).await.ok()?;
        assert_eq!(frame.kind, HELLO);
        let hello = minicbor::decode(&frame.body).unwrap();
        let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap().to_vec();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let id = NodeId::of_public_key(&key.public_key().unwrap());
        Some((Self { connection, send, recv, id, chain, key }, hello))
    }

    pub(crate) async fn honest(to: SocketAddr, pair: &Pair) -> Self {
        Self::greet(to, pair, VERSION).await.expect("a greeting").0
    }

    pub(crate) async fn frame(&mut self, kind: u32, body: Vec<u8>) {
        // Where the node has closed, the test sees it by that.
        let _ = wire::write(&mut self.send, &Frame { kind, body }).await;
    }

    pub(crate) async fn soar(&mut self, message: topology::soar::report::Message) {
        self.frame(SOAR, message.encode()).await;
    }

    /// The next message of the measurement plane.
    pub(crate) async fn next_soar(&mut self) -> topology::soar::report::Message {
        loop {
            let frame: Frame = wire::read(&mut self.recv, FRAME_BYTES_MAX).await.expect("a frame");
            if frame.kind == SOAR {
                return topology::soar::report::Message::decode(&frame.body).unwrap();
            }
        }
    }

    /// Seals a report as a node does.
    pub(crate) fn seal(&self, report: &[u8]) -> Vec<u8> {
        let signer = self.key.choose_scheme(&[SignatureScheme::ED25519]).unwrap();
        let signature = signer.sign(&[b"eep soar report\0", report].concat()).unwrap();
        let mut seal = Vec::new();
        let mut e = minicbor::Encoder::new(&mut seal);
        e.map(3).unwrap();
        e.u8(0).unwrap().array(1).unwrap().bytes(&self.chain).unwrap();
        e.u8(1).unwrap().u16(signer.scheme().into()).unwrap();
        e.u8(2).unwrap().bytes(&signature).unwrap();
        seal
    }

    /// Asks something; whether it was done, and the answer or the refusal.
    pub(crate) async fn ask(&self, question: &str, body: &[u8]) -> (bool, Vec<u8>) {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        let opening = Opening::to(Purpose::Request, None, Some(question.to_owned()));
        wire::write(&mut send, &opening).await.unwrap();
        let reply: Reply = wire::read(&mut recv, 1024).await.unwrap();
        assert_eq!(reply.code, 0, "{reply:?}");
        let mut asked = Vec::new();
        minicbor::Encoder::new(&mut asked).map(1).unwrap().u8(0).unwrap().bytes(body).unwrap();
        send.write_all(&(asked.len() as u32).to_be_bytes()).await.unwrap();
        send.write_all(&asked).await.unwrap();
        let answer = recv.read_to_end(1 << 20).await.unwrap();
        let (head, rest) = answer[4..].split_at(u32::from_be_bytes(*answer.first_chunk().unwrap()) as usize);
        let mut head = minicbor::Decoder::new(head);
        head.map().unwrap();
        head.u8().unwrap();
        (head.bool().unwrap(), rest.to_vec())
    }

    /// Answers all questions that come on a connection with these words, until it ends.
    pub(crate) async fn answer_all(connection: &Connection, words: &[u8]) {
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let Ok(opening) = wire::read_opening(&mut recv).await else { continue };
            if Purpose::of(opening.purpose) != Some(Purpose::Request) {
                continue;
            }
            wire::write(&mut send, &Reply { code: 0, why: None }).await.unwrap();
            let mut len = [0; 4];
            recv.read_exact(&mut len).await.unwrap();
            recv.read_exact(&mut vec![0; u32::from_be_bytes(len) as usize]).await.unwrap();
            let mut head = Vec::new();
            let mut e = minicbor::Encoder::new(&mut head);
            e.map(2)
                .unwrap()
                .u8(0)
                .unwrap()
                .bool(true)
                .unwrap()
                .u8(1)
                .unwrap()
                .u64(words.len() as u64)
                .unwrap();
            send.write_all(&(head.len() as u32).to_be_bytes()).await.unwrap();
            send.write_all(&head).await.unwrap();
            send.write_all(words).await.unwrap();
            send.finish().unwrap();
        }
    }

    /// The code with which the node closes the connection.
    pub(crate) async fn closed_with(&self) -> u64 {
        let closed = tokio::time::timeout(Duration::from_secs(120), self.connection.closed()).await;
        match closed.expect("the node closes the connection") {
            ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("closed otherwise: {other}"),
        }
    }
}
