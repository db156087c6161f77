//! A server of files that answers as it is told, and a client that says exactly what it is given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustls::pki_types::PrivatePkcs8KeyDer;

/// A web server on a loopback port; ended when dropped.
pub(crate) struct Server {
    scheme: &'static str,
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request with these bytes and closes.
    pub(crate) fn answering(answer: Vec<u8>) -> Self {
        Self::new("http", move |mut stream| {
            let _ = exchange(&mut stream, &answer);
        })
    }

    /// The same over TLS; and the certificate, which nobody trusts yet.
    pub(crate) fn secure(answer: Vec<u8>) -> (Self, String) {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let server = Self::new("https", move |mut stream| {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that does not trust it ends the connection.
            let _ = exchange(&mut rustls::Stream::new(&mut tls, &mut stream), &answer);
            tls.send_close_notify();
            let _ = tls.write_tls(&mut stream);
        });
        (server, own.cert.pem())
    }

    /// Hands each connection to this.
    pub(crate) fn new(scheme: &'static str, serve: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let mine = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if mine.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream.unwrap());
            }
        });
        Self { scheme, address, ended, thread: Some(thread) }
    }

    /// Serves this file under every path.
    pub(crate) fn of(body: &[u8]) -> Self {
        Self::answering(ok(body.len(), body))
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/probe.wasm", self.scheme, self.address)
    }
}

/// Reads a request and answers it.
pub(crate) fn exchange(stream: &mut (impl Read + Write), answer: &[u8]) -> std::io::Result<()> {
    let mut request = [0; 4096];
    // The requests are short, and come in one piece over loopback.
    let _ = stream.read(&mut request)?;
    stream.write_all(answer)?;
    stream.flush()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A good answer that announces so many bytes.
pub(crate) fn ok(length: usize, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").as_bytes(), body]
        .concat()
}

/// Says something to a server; its whole answer.
pub(crate) fn say(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    // One that has heard enough answers before all was said, and may end the connection over the rest.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}
