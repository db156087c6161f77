//! Fetching: what a server may do to us, and what is said about it.

#![allow(clippy::unwrap_used)]

#[path = "common/port.rs"]
#[allow(dead_code)]
mod port;

use std::sync::atomic::{AtomicU64, Ordering};

use eep::config::Source;
use eep::proxylet::fetch::{CODE_BYTES_MAX, FetchError, Fetcher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::port::Port;

/// A server that answers every request with the same bytes and closes; its address.
async fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let at = base.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|w| w == b"\r\n\r\n")
                && stream.read_buf(&mut request).await.unwrap_or(0) > 0
            {}
            let _ = stream.write_all(&answer(&at)).await;
            let _ = stream.shutdown().await;
        }
    });
    base
}

fn ok(length: usize, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes(), body].concat()
}

async fn fetch(url: &str) -> Result<Vec<u8>, FetchError> {
    let source: Source = url.parse().unwrap();
    Fetcher::new().unwrap().fetch(&source, &|_, _| {}).await
}

#[tokio::test]
async fn bytes_come_whole_and_progress_is_told() {
    let base = server(|_| ok(5, b"bytes")).await;
    let seen = AtomicU64::new(0);
    let source: Source = format!("{base}/p.wasm").parse().unwrap();
    let told = |done: u64, total: Option<u64>| {
        assert_eq!(total, Some(5));
        seen.store(done, Ordering::Relaxed);
    };
    let bytes = Fetcher::new().unwrap().fetch(&source, &told).await.unwrap();
    assert_eq!((bytes.as_slice(), seen.into_inner()), (&b"bytes"[..], 5));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken() {
    let base = server(|_| ok(500, b"half")).await;
    let error = fetch(&base).await.unwrap_err();
    assert!(matches!(error, FetchError::BrokenOff { got: 4, .. }), "{error:?}");
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let base = server(move |_| chunked.to_vec()).await;
    let error = fetch(&base).await.unwrap_err();
    assert!(matches!(error, FetchError::BrokenOff { got: 4, .. }), "{error:?}");
}

#[tokio::test]
async fn only_the_file_itself_counts_as_the_file() {
    let base = server(|_| b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno".to_vec()).await;
    assert_eq!(fetch(&base).await.unwrap_err().to_string(), "the server answered 404 Not Found");
    let base = server(|_| b"HTTP/1.1 206 Partial Content\r\ncontent-length: 2\r\n\r\nno".to_vec()).await;
    assert!(matches!(fetch(&base).await, Err(FetchError::Status { .. })));
    let base = server(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await;
    assert!(matches!(fetch(&base).await, Err(FetchError::Unreachable { .. })));
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_begun() {
    let base = server(|_| ok(CODE_BYTES_MAX as usize + 1, b"")).await;
    assert!(matches!(fetch(&base).await, Err(FetchError::TooLarge { .. })));
}

#[tokio::test]
async fn redirects_end() {
    let base = server(|at| format!("HTTP/1.1 302 Found\r\nlocation: {at}/again\r\n\r\n").into_bytes()).await;
    assert_eq!(fetch(&base).await.unwrap_err().to_string(), "more than 5 redirects");
}

#[tokio::test]
async fn nobody_there() {
    let gone = Port::reserve();
    let error = fetch(&format!("http://{}/p.wasm", gone.address())).await.unwrap_err();
    assert!(error.to_string().contains("refused") && error.is_elsewhere(), "{error}");
}

#[tokio::test]
async fn files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.wasm");
    std::fs::write(&file, b"bytes").unwrap();
    assert_eq!(fetch(file.to_str().unwrap()).await.unwrap(), b"bytes");
    assert_eq!(fetch(&format!("file://{}", file.display())).await.unwrap(), b"bytes");
    assert!(matches!(fetch(dir.path().to_str().unwrap()).await, Err(FetchError::NoFile)));
    assert!(matches!(fetch("/dev/zero").await, Err(FetchError::NoFile)));
    let none = fetch(dir.path().join("none").to_str().unwrap()).await.unwrap_err();
    assert!(none.to_string().starts_with("the file cannot be read"), "{none}");
}
