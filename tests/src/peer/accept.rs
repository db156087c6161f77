//! What arrives at a raw peer's port: overlay handshakes, GIVs and file requests.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use super::handshake::{self, Headers};
use super::{Core, Link, transfer};

/// A stream on which the other side has announced a file that was asked for with a push.
#[derive(Debug)]
pub struct Giv {
    /// `GIV index:guid/name`
    pub line: String,
    pub stream: TcpStream,
}

/// Accepts until the peer is gone.
pub(super) fn spawn(listener: TcpListener, core: &Arc<Core>) -> io::Result<()> {
    let weak = Arc::downgrade(core);
    std::thread::Builder::new().name("raw-peer-accept".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some(core) = weak.upgrade() else { return };
            // A stranger's broken handshake is that connection's end and no more.
            std::thread::spawn(move || serve(stream, &core).ok());
        }
    })?;
    Ok(())
}

fn serve(stream: TcpStream, core: &Arc<Core>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (text, rest) = handshake::read_block(&stream, Vec::new())?;
    if text.starts_with("GNUTELLA CONNECT/0.6") {
        let (agreed, rest) =
            handshake::answer(&stream, core, Headers::parse(&text)?, rest).map_err(io::Error::other)?;
        let link = Link::start(core, stream, agreed, rest)?;
        core.send_table(&link)?;
        core.accepted.lock().expect("no thread panics with it").push(link);
        Ok(())
    } else if text.starts_with("GIV ") {
        let line = text.trim_end().to_owned();
        core.givs.lock().expect("no thread panics with it").push(Giv { line, stream });
        Ok(())
    } else {
        transfer::serve(core, &stream, &Headers::parse(&text)?)
    }
}
