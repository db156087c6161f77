//! A relay between two peers that writes down what passes.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::{Recording, Side, pcap};

/// Most bytes that one connection's recording may have.
const RECORDED_BYTES_MAX: usize = 64 << 20;

/// Listens in the place of another address, and records all connections.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddrV4,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddrV4,
    /// Each with the lock of its own connection.
    recordings: Mutex<Vec<Arc<Mutex<Recording>>>>,
    over: AtomicBool,
}

impl Tap {
    /// Relays from `address` (port 0 lets the system choose) to `target`.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub fn start(address: SocketAddrV4, target: SocketAddrV4) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::Error::other("an IPv4 listener has an IPv4 address"));
        };
        let shared = Arc::new(Shared { target, recordings: Mutex::default(), over: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("tap".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.over.load(Ordering::SeqCst) {
                    return;
                }
                // A connection that cannot be relayed is closed, which its peer sees.
                theirs.relay(stream).ok();
            }
        })?;
        Ok(Self { address, shared })
    }

    /// Where to connect instead of the target.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Writes what has passed so far as a packet capture.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, to: &Path) -> io::Result<()> {
        let recordings = self.shared.recordings.lock().expect("no thread panics with it");
        let copies: Vec<Recording> =
            recordings.iter().map(|r| r.lock().expect("no thread panics with it").clone()).collect();
        std::fs::write(to, pcap::write(&copies))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn relay(&self, dialler: TcpStream) -> io::Result<()> {
        let SocketAddr::V4(from) = dialler.peer_addr()? else {
            return Err(io::Error::other("IPv4 only"));
        };
        // The target sees the dialler's own address, as it would without the tap.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(IpAddr::V4(*from.ip()), 0).into())?;
        socket.connect(&self.target.into())?;
        let acceptor: TcpStream = socket.into();
        dialler.set_nodelay(true)?;
        acceptor.set_nodelay(true)?;
        let recording =
            Arc::new(Mutex::new(Recording { dialler: from, acceptor: self.target, chunks: Vec::new() }));
        self.recordings.lock().expect("no thread panics with it").push(Arc::clone(&recording));
        pump(dialler.try_clone()?, acceptor.try_clone()?, Side::Dialler, &recording)?;
        pump(acceptor, dialler, Side::Acceptor, &recording)
    }
}

fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    side: Side,
    recording: &Arc<Mutex<Recording>>,
) -> io::Result<()> {
    let recording = Arc::clone(recording);
    std::thread::Builder::new().name("tap-pump".to_owned()).spawn(move || {
        let mut chunk = [0; 16_384];
        let mut recorded = 0;
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            recorded += n;
            if recorded > RECORDED_BYTES_MAX {
                break;
            }
            recording.lock().expect("no thread panics with it").chunks.push((side, chunk[..n].to_vec()));
            if to.write_all(&chunk[..n]).is_err() {
                break;
            }
        }
        // Either end may be gone already.
        to.shutdown(Shutdown::Write).ok();
        from.shutdown(Shutdown::Read).ok();
    })?;
    Ok(())
}
