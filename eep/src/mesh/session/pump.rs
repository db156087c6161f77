//! Carries a session over one channel, until both services are done or the channel breaks off.

use std::time::Duration;

use bytes::BytesMut;
use bytes::buf::Limit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::mesh::session::ledger::{Heard, Ledger};
use crate::mesh::session::stream::Fate;
use crate::mesh::session::{Attached, Channel};
use crate::mesh::streams::Streams;
use crate::mesh::wire;

/// Word of what was taken waits so long for something to travel with.
const WORD: Duration = Duration::from_millis(25);
/// How long a session goes on for a service that is gone, so that what it said last arrives.
const LINGER: Duration = Duration::from_secs(30);
/// Room for what comes in.
const READ_BYTES: usize = 8 << 10;
/// How long the other end may take to take the last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One end of a session: its ledger and its service.
#[derive(Debug)]
pub(super) struct Session {
    ledger: Ledger,
    said: ReadHalf<DuplexStream>,
    /// None once the service is to see that no more comes.
    told: Option<WriteHalf<DuplexStream>>,
    fate: Fate,
    gone: oneshot::Receiver<()>,
    gone_at: Option<Instant>,
}

/// How a channel was left.
#[derive(Debug)]
pub(super) enum Left {
    /// Both services have said all, and both ends know.
    Done,
    /// The session is over: why.
    Failed(String),
    /// The channel is over: why.
    Broken(String),
}

impl Session {
    pub(super) fn new(between: DuplexStream, fate: Fate, gone: oneshot::Receiver<()>) -> Self {
        let (said, told) = split(between);
        Self { ledger: Ledger::default(), said, told: Some(told), fate, gone, gone_at: None }
    }

    /// Up to where the other service's stream has come.
    pub(super) fn received(&self) -> u64 {
        self.ledger.received()
    }

    /// Whether both services have said all.
    pub(super) fn has_ended(&self) -> bool {
        self.ledger.has_ended()
    }

    /// The service sees the stream fail.
    pub(super) fn fail(&mut self, why: String) {
        // The first reason counts.
        let _ = self.fate.set(why);
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.fate.get().map(String::as_str)
    }

    /// Goes on over this channel.
    pub(super) async fn carry(&mut self, streams: &Streams, channel: Channel) -> Left {
        let Channel { io, via, received, owes_answer } = channel;
        let mut output = BytesMut::new();
        if owes_answer {
            let answer = Attached { received: Some(self.ledger.received()) };
            output.extend_from_slice(&wire::encode(&answer));
        }
        if let Err(why) = self.ledger.resume(received) {
            return Left::Failed(why.to_string());
        }
        let (mut reader, mut writer) = split(io);
        let watched = [via];
        let mut left = tokio::select! {
            left = self.pump(&mut reader, &mut writer, &mut output) => left,
            () = streams.has_died(&watched) => Left::Broken(format!("the link to {via} has died")),
        };
        if matches!(left, Left::Failed(_)) {
            Ledger::reset(&mut output);
        }
        if !matches!(left, Left::Broken(_)) {
            let last = async {
                writer.write_all_buf(&mut output).await?;
                writer.shutdown().await
            };
            // Where the other end does not take them, it finds out by itself.
            let taken = timeout(LAST_WORDS, last).await;
            if let (Left::Done, Ok(Err(why))) = (&left, taken) {
                left = Left::Broken(why.to_string());
            }
        }
        left
    }

    async fn pump<R, W>(&mut self, reader: &mut R, writer: &mut W, output: &mut BytesMut) -> Left
    where
        R: tokio::io::AsyncRead + Unpin,
        W: tokio::io::AsyncWrite + Unpin,
    {
        let mut input = BytesMut::new();
        let mut word_at: Option<Instant> = None;
        let mut unflushed = false;
        loop {
            let word_is_due = word_at.is_some_and(|at| at <= Instant::now());
            if output.is_empty() {
                self.ledger.fill(output, word_is_due);
            }
            if !self.ledger.owes_word() {
                word_at = None;
            } else if word_at.is_none() {
                word_at = Some(Instant::now() + WORD);
            }
            if self.ledger.end_is_due() {
                if let Some(mut told) = self.told.take() {
                    // A service that is gone needs not be told.
                    let _ = told.shutdown().await;
                }
                self.ledger.took_end();
                continue;
            }
            if self.ledger.is_done() && output.is_empty() && !unflushed {
                return Left::Done;
            }
            let wake = word_at.into_iter().chain(self.gone_at.map(|at| at + LINGER)).min();
            if self.gone_at.is_some_and(|at| at.elapsed() >= LINGER) {
                return Left::Failed("the service here is gone".to_owned());
            }
            let broken = |e: &dyn std::fmt::Display| Left::Broken(format!("the way broke off: {e}"));
            let (room, ready) = self.ledger.sides();
            let has_ready = !ready.is_empty();
            input.reserve(READ_BYTES);
            tokio::select! {
                read = reader.read_buf(&mut input) => match read {
                    Ok(0) => return broken(&"it has ended"),
                    Ok(_) => match self.ledger.hear(&mut input) {
                        Ok(Heard::More) => {}
                        Ok(Heard::Reset) => return Left::Failed("the service at the other end is gone".to_owned()),
                        Err(why) => return Left::Failed(why.to_string()),
                    },
                    Err(e) => return broken(&e),
                },
                pushed = push(writer, output), if !output.is_empty() || unflushed => match pushed {
                    Ok(left) => unflushed = left,
                    Err(e) => return broken(&e),
                },
                said = hear_service(&mut self.said, room) => match said {
                    Some(_) => {}
                    None => self.ledger.end(),
                },
                taken = tell_service(self.told.as_mut(), ready), if has_ready => match taken {
                    Ok(bytes) => self.ledger.took(bytes),
                    Err(_) => return Left::Failed("the service here is gone".to_owned()),
                },
                _ = &mut self.gone, if self.gone_at.is_none() => self.gone_at = Some(Instant::now()),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }
}

/// Writes what there is, or flushes what was written; whether something is left to flush.
async fn push<W: tokio::io::AsyncWrite + Unpin>(
    writer: &mut W,
    output: &mut BytesMut,
) -> std::io::Result<bool> {
    if output.is_empty() {
        writer.flush().await?;
        return Ok(false);
    }
    writer.write_buf(output).await?;
    Ok(true)
}

/// What the service says next, into the room that there is; none once it says no more. Waits where there is no room.
async fn hear_service(
    said: &mut ReadHalf<DuplexStream>,
    room: Option<Limit<&mut BytesMut>>,
) -> Option<usize> {
    match room {
        Some(mut room) => said.read_buf(&mut room).await.ok().filter(|bytes| *bytes > 0),
        None => std::future::pending().await,
    }
}

/// Tells the service the next bytes; how many it took.
async fn tell_service(told: Option<&mut WriteHalf<DuplexStream>>, ready: &[u8]) -> std::io::Result<usize> {
    match told {
        Some(told) => told.write(ready).await,
        None => std::future::pending().await,
    }
}
