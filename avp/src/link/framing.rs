//! From chunks of bytes to messages.
//!
//! A message that lies whole in a chunk is not copied. What a chunk leaves unfinished is kept until the next one
//! comes, and the memory for it is given back with the message. Lengths are judged before anything is kept.

use crate::gnutella::limits::{self, Verdict};
use crate::gnutella::{HEADER_LEN, Header};
use crate::state::{Damaged, Reader, Saved, Writer};

/// What a connection has left unfinished. An idle one holds no memory.
#[derive(Debug, Default)]
pub struct Framing {
    /// The beginning of a message, its header first; at most [`HEADER_LEN`] and [`limits::PAYLOAD_BYTES_MAX`].
    partial: Vec<u8>,
    /// How many bytes of a dropped message are yet to come.
    skip: u32,
}

impl Saved for Framing {
    fn save(&self, to: &mut Writer) {
        to.buffer(&self.partial);
        self.skip.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let partial = from.buffer(HEADER_LEN + limits::PAYLOAD_BYTES_MAX as usize)?;
        // What could not be the beginning of a message was never kept.
        let fits = Header::parse(&partial).is_none_or(|header| {
            let whole = HEADER_LEN + header.len as usize;
            limits::of(header.kind).judge(header.len) == Verdict::Fits && partial.len() < whole
        });
        from.ensure(fits)?;
        Ok(Self { partial, skip: from.load()? })
    }
}

/// One message, or what came instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message.
    Message(Header, &'a [u8]),
    /// A message that is too long, too short or of no known kind. Its payload is skipped; the peer is kept.
    Dropped(Header),
    /// A message so long that the peer cannot mean it. Nothing more can be read: end the relation with
    /// [`super::Ending::OversizeMessage`].
    Broken(Header),
}

/// The messages of one chunk. Give it back with [`Framing::keep`] when [`Input::next`] has answered `None`.
#[derive(Debug)]
#[must_use = "what the chunk leaves unfinished must go back to Framing::keep"]
pub struct Input<'b> {
    framing: Framing,
    chunk: &'b [u8],
    /// Whether `framing.partial` is a message that was handed out.
    handed_out: bool,
    frames: u32,
}

impl Framing {
    /// Begins a chunk. What was unfinished moves into the answer, so that messages can be handled while nothing of
    /// the link is borrowed.
    pub fn read<'b>(&mut self, chunk: &'b [u8]) -> Input<'b> {
        Input { framing: std::mem::take(self), chunk, handed_out: false, frames: 0 }
    }

    /// Takes back what a chunk has left unfinished.
    pub fn keep(&mut self, mut input: Input<'_>) {
        input.release();
        input.framing.partial.extend_from_slice(input.chunk);
        *self = input.framing;
    }

    /// Bytes held for an unfinished message.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }
}

impl<'b> Input<'b> {
    /// Takes what was not read yet out of the chunk, to be read another time.
    pub fn take_rest(&mut self) -> &'b [u8] {
        std::mem::take(&mut self.chunk)
    }

    /// How many messages it has given so far, dropped ones included.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// The next message; `None` when the chunk has no more whole ones.
    #[inline]
    #[allow(clippy::should_implement_trait)] // It lends from itself, which Iterator cannot say.
    pub fn next(&mut self) -> Option<Frame<'_>> {
        if self.handed_out || self.framing.skip > 0 || !self.framing.partial.is_empty() {
            self.release();
            if !self.skip_rest() {
                return None;
            }
            if !self.framing.partial.is_empty() {
                return self.next_from_partial();
            }
        }
        let header = Header::parse(self.chunk)?;
        match limits::of(header.kind).judge(header.len) {
            Verdict::Fits => {
                let whole = HEADER_LEN + header.len as usize;
                let (message, rest) = self.chunk.split_at_checked(whole)?;
                self.chunk = rest;
                self.frames += 1;
                Some(Frame::Message(header, &message[HEADER_LEN..]))
            }
            Verdict::Drop => {
                self.chunk = &self.chunk[HEADER_LEN..];
                self.framing.skip = header.len;
                self.frames += 1;
                Some(Frame::Dropped(header))
            }
            Verdict::Close => Some(self.broken(header)),
        }
    }

    /// The message whose beginning came in an earlier chunk.
    fn next_from_partial(&mut self) -> Option<Frame<'_>> {
        let missing = HEADER_LEN.saturating_sub(self.framing.partial.len());
        self.move_over(missing);
        let header = Header::parse(&self.framing.partial)?;
        match limits::of(header.kind).judge(header.len) {
            Verdict::Fits => {
                let whole = HEADER_LEN + header.len as usize;
                self.move_over(whole - self.framing.partial.len());
                if self.framing.partial.len() < whole {
                    return None;
                }
                self.handed_out = true;
                self.frames += 1;
                Some(Frame::Message(header, &self.framing.partial[HEADER_LEN..]))
            }
            Verdict::Drop => {
                // The unfinished part of a message that fits is all that is ever kept, so this one has just got the
                // last byte of its header.
                self.framing.partial = Vec::new();
                self.framing.skip = header.len;
                self.frames += 1;
                Some(Frame::Dropped(header))
            }
            Verdict::Close => Some(self.broken(header)),
        }
    }

    fn broken(&mut self, header: Header) -> Frame<'static> {
        self.chunk = &[];
        self.framing = Framing::default();
        self.frames += 1;
        Frame::Broken(header)
    }

    /// Moves up to `n` bytes from the chunk to the unfinished message.
    fn move_over(&mut self, n: usize) {
        let (now, later) = self.chunk.split_at(n.min(self.chunk.len()));
        self.framing.partial.extend_from_slice(now);
        self.chunk = later;
    }

    /// Skips what is left of a dropped message; false where the chunk ends within it.
    fn skip_rest(&mut self) -> bool {
        let n = (self.framing.skip as usize).min(self.chunk.len());
        self.chunk = &self.chunk[n..];
        self.framing.skip -= n as u32;
        self.framing.skip == 0
    }

    fn release(&mut self) {
        if self.handed_out {
            self.framing.partial = Vec::new();
            self.handed_out = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::{Guid, Kind};

    /// What a stream consists of, however it is cut.
    fn frames(chunks: &[&[u8]]) -> Vec<(Header, Option<Vec<u8>>)> {
        let mut framing = Framing::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            let mut input = framing.read(chunk);
            while let Some(frame) = input.next() {
                match frame {
                    Frame::Message(header, payload) => seen.push((header, Some(payload.to_vec()))),
                    Frame::Dropped(header) => seen.push((header, None)),
                    Frame::Broken(header) => {
                        seen.push((header, None));
                        return seen;
                    }
                }
            }
            framing.keep(input);
        }
        seen
    }

    fn message(kind: Kind, len: usize) -> Vec<u8> {
        Header { guid: Guid([7; 16]), kind, ttl: 1, hops: 0, len: 0 }.frame(&vec![kind.0; len])
    }

    #[test]
    fn whole_messages_are_not_copied() {
        let stream = [message(Kind::PING, 0), message(Kind::QUERY, 20)].concat();
        let mut framing = Framing::default();
        let mut input = framing.read(&stream);
        assert!(matches!(input.next(), Some(Frame::Message(h, [])) if h.kind == Kind::PING));
        let Some(Frame::Message(_, payload)) = input.next() else { panic!("no second message") };
        assert!(stream.as_ptr_range().contains(&payload.as_ptr()));
        assert_eq!(input.next(), None);
        framing.keep(input);
        assert_eq!(framing.held_bytes(), 0);
    }

    #[test]
    fn an_unfinished_message_holds_memory_only_until_it_is_whole() {
        let stream = message(Kind::QUERY_HIT, 5_000);
        let mut framing = Framing::default();
        let mut input = framing.read(&stream[..3_000]);
        assert_eq!(input.next(), None);
        framing.keep(input);
        assert!((3_000..8_192).contains(&framing.held_bytes()));
        let mut input = framing.read(&stream[3_000..]);
        assert!(matches!(input.next(), Some(Frame::Message(_, p)) if p.len() == 5_000));
        framing.keep(input);
        assert_eq!(framing.held_bytes(), 0);
    }

    #[test]
    fn a_long_query_is_skipped_and_a_much_too_long_one_ends_the_stream() {
        let stream = [message(Kind::QUERY, 300), message(Kind::PING, 0)].concat();
        let seen = frames(&[&stream]);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].1, None);
        assert_eq!(seen[1].0.kind, Kind::PING);
        let stream = [message(Kind::QUERY, 1_129), message(Kind::PING, 0)].concat();
        let seen = frames(&[&stream]);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].0.len, 1_129);
    }

    #[test]
    fn a_dropped_message_is_never_kept() {
        let stream = message(Kind(0x55), 60_000);
        let mut framing = Framing::default();
        for chunk in stream.chunks(100) {
            let mut input = framing.read(chunk);
            while input.next().is_some() {}
            framing.keep(input);
            assert!(framing.held_bytes() <= HEADER_LEN * 2);
        }
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop::sample::select(vec![
            Kind::PING,
            Kind::PONG,
            Kind::QUERY,
            Kind::QUERY_HIT,
            Kind::VENDOR,
            Kind(0x55),
        ])
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            messages in prop::collection::vec((kinds(), 0usize..400), 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|(k, n)| message(*k, *n)).collect();
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            let whole = frames(&[&stream]);
            prop_assert_eq!(&frames(&chunks), &whole);
            prop_assert_eq!(whole.len(), messages.len());
            let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(frames(&bytewise), whole);
        }

        #[test]
        fn garbage_is_bounded(stream in prop::collection::vec(any::<u8>(), 0..2_000), cut in 1usize..300) {
            let mut framing = Framing::default();
            for chunk in stream.chunks(cut) {
                let mut input = framing.read(chunk);
                while input.next().is_some() {}
                framing.keep(input);
                prop_assert!(framing.partial.len() <= HEADER_LEN + limits::PAYLOAD_BYTES_MAX as usize);
            }
        }
    }
}
