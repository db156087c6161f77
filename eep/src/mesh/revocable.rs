//! A stream that ends, with an error, where it is not allowed any more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Comes back when a stream is not allowed any more, with the reason.
pub(super) type Forbidden = BoxFuture<'static, String>;

/// See the module's text.
pub(super) struct Revocable<T> {
    io: T,
    forbidden: Forbidden,
    why: Option<String>,
}

impl<T> Revocable<T> {
    pub(super) fn new(io: T, forbidden: Forbidden) -> Self {
        Self { io, forbidden, why: None }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.why.is_none()
            && let Poll::Ready(why) = self.forbidden.as_mut().poll(cx)
        {
            self.why = Some(why);
        }
        match &self.why {
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionReset, why.clone())),
            None => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Revocable<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Revocable<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
