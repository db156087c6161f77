//! A server of files that answers as it is told, and a client that says exactly what it is given.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A web server on a loopback port; ended when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request with these bytes and closes.
    pub(crate) fn answering(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let mine = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if mine.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                // The requests are short, and come in one piece over loopback.
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&answer);
            }
        });
        Self { address, ended, thread: Some(thread) }
    }

    /// Serves this file under every path.
    pub(crate) fn of(body: &[u8]) -> Self {
        Self::answering(ok(body.len(), body))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/probe.wasm", self.address)
    }
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
