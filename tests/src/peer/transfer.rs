//! Files from peer to peer, over HTTP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::handshake::{self, Headers};
use super::{Core, STEP, SharedFile};
use crate::wire::Push;

/// Answers one request.
pub(super) fn serve(core: &Core, mut stream: &TcpStream, request: &Headers) -> io::Result<()> {
    let Some(file) = requested(core, &request.first_line) else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nServer: eep-raw-peer/1.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: eep-raw-peer/1.0\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\nX-Gnutella-Content-URN: {}\r\nConnection: close\r\n\r\n",
        file.bytes.len(),
        file.urn
    );
    stream.write_all(head.as_bytes())?;
    if request.first_line.starts_with("GET ") {
        stream.write_all(&file.bytes)?;
    }
    core.served.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

fn requested<'a>(core: &'a Core, line: &str) -> Option<&'a SharedFile> {
    let path = line.split_once(' ')?.1.rsplit_once(' ')?.0;
    let files = &core.config.files;
    if let Some(urn) = path.strip_prefix("/uri-res/N2R?") {
        files.iter().find(|f| f.urn.eq_ignore_ascii_case(urn))
    } else {
        let (index, _name) = path.strip_prefix("/get/")?.split_once('/')?;
        files.get(index.parse::<usize>().ok()?)
    }
}

/// Does what a push asks for: connects, announces the file, and serves one request.
pub(super) fn push(core: &Arc<Core>, push: &Push) -> io::Result<()> {
    let (core, push) = (Arc::clone(core), push.clone());
    std::thread::Builder::new().name("raw-peer-push".to_owned()).spawn(move || {
        // Whoever asked sees on the stream, or by its absence, how it went.
        pushed(&core, &push).ok()
    })?;
    Ok(())
}

fn pushed(core: &Core, push: &Push) -> io::Result<()> {
    let mut stream = core.connect(SocketAddr::V4(push.to))?;
    let name = core.config.files.get(push.index as usize).map_or("", |f| f.name.as_str());
    let guid = data_encoding::HEXUPPER.encode(&core.guid);
    stream.write_all(format!("GIV {}:{guid}/{name}\n\n", push.index).as_bytes())?;
    let (text, _) = handshake::read_block(&stream, Vec::new())?;
    serve(core, &stream, &Headers::parse(&text)?)
}

/// Fetches `path` from the peer at `from`.
///
/// # Errors
/// Where the connection fails or the answer is not a whole file.
pub fn download(from: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect_timeout(&from, STEP)?;
    download_on(stream, &from.to_string(), path)
}

/// Fetches `path` over a stream that is open already, such as one that came with a GIV.
///
/// # Errors
/// Where the connection fails or the answer is not a whole file.
pub fn download_on(mut stream: TcpStream, host: &str, path: &str) -> io::Result<Vec<u8>> {
    stream.write_all(
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: eep-raw-peer/1.0\r\nConnection: close\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let (text, mut body) = handshake::read_block(&stream, Vec::new())?;
    let headers = Headers::parse(&text)?;
    if headers.status() != Some(200) {
        return Err(io::Error::other(headers.first_line));
    }
    let len: usize = headers
        .get("Content-Length")
        .and_then(|l| l.parse().ok())
        .ok_or_else(|| io::Error::other("no Content-Length"))?;
    stream.read_to_end(&mut body)?;
    if body.len() != len {
        return Err(io::Error::other(format!("{} bytes of {len}", body.len())));
    }
    Ok(body)
}
