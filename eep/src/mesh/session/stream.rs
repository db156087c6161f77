//! What a service holds of a session: a stream that ends when the other service ends it, and fails where it was lost.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::oneshot;

use crate::mesh::session::pump::Session;

/// Bytes between a service and its session's ledger.
const BETWEEN_BYTES: usize = 32 << 10;

/// Why a session has failed.
pub(super) type Fate = Arc<OnceLock<String>>;

/// The service's side.
#[derive(Debug)]
pub(super) struct SessionStream {
    between: DuplexStream,
    fate: Fate,
    /// Its end tells the session that the service is gone.
    _held: oneshot::Sender<()>,
}

/// Both sides of a session that begins.
pub(super) fn pair() -> (SessionStream, Session) {
    let (service, between) = duplex(BETWEEN_BYTES);
    let (held, gone) = oneshot::channel();
    let fate = Fate::default();
    let session = Session::new(between, Arc::clone(&fate), gone);
    (SessionStream { between: service, fate, _held: held }, session)
}

impl SessionStream {
    fn failed(&self) -> Option<io::Error> {
        let why = self.fate.get()?;
        Some(io::Error::new(io::ErrorKind::ConnectionReset, why.clone()))
    }
}

impl AsyncRead for SessionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.between).poll_read(cx, buf))?;
        let ended = buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(self.failed().filter(|_| ended).map_or(Ok(()), Err))
    }
}

impl AsyncWrite for SessionStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.between).poll_write(cx, buf));
        Poll::Ready(written.map_err(|e| self.failed().unwrap_or(e)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.between).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.between).poll_shutdown(cx)
    }
}
