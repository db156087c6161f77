//! What both ends of a session have sent, have taken and owe each other, sans-I/O: whatever channel carries the frames, and
//! wherever it breaks off, each byte is taken once and in order.
//!
//! A frame is its kind in one byte, the length of its body in two, and the body, which begins with an offset in eight (all
//! big-endian). Offsets count the bytes of one direction from the session's beginning; its end counts as one byte more.
//!
//! | kind | | body |
//! | --- | --- | --- |
//! | 0 | data | offset of the first byte, bytes |
//! | 1 | taken | offset up to which the receiver's service has taken the stream; as much again as the window may follow |
//! | 2 | end | offset at which the stream ends |
//! | 3 | reset | nothing: the service is gone, and takes nothing any more |

use bytes::buf::Limit;
use bytes::{Buf as _, BufMut as _, BytesMut};

/// Bytes of one direction that are kept until the other service has taken them; the sender stops at so many.
pub(super) const WINDOW_BYTES: usize = 256 << 10;
/// Bytes in one frame of data.
const CHUNK_BYTES: usize = 16 << 10;
/// Frames are put together up to about this size.
const BATCH_BYTES: usize = 64 << 10;
/// What was taken is told once it is so much...
const TOLD_EVERY_BYTES: u64 = WINDOW_BYTES as u64 / 4;
/// Room that is made for what a service says next.
const ROOM_BYTES: usize = 8 << 10;
/// Buffers that are empty keep no more than this.
const KEPT_BYTES: usize = 16 << 10;

const HEAD_BYTES: usize = 3;
const OFFSET_BYTES: usize = 8;
const DATA: u8 = 0;
const TAKEN: u8 = 1;
const END: u8 = 2;
const RESET: u8 = 3;

/// What the other end must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a frame of kind {0} is too short")]
    Short(u8),
    #[error("data at offset {0}, and {1} is next")]
    Gap(u64, u64),
    #[error("more than {WINDOW_BYTES} bytes that were not taken")]
    Window,
    #[error("data after the end")]
    AfterEnd,
    #[error("the other end has {0} bytes, of which {1} to {2} can be")]
    Offset(u64, u64, u64),
}

/// What was heard of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The session goes on.
    More,
    /// Its service is gone.
    Reset,
}

/// One end of a session.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What our service has said and the other one has not taken, from `theirs` on.
    unacked: BytesMut,
    /// Up to where the other service has taken our stream.
    theirs: u64,
    /// Up to where our stream was sent on the present channel.
    sent: u64,
    /// Where our stream ends, once our service says no more.
    ended_at: Option<u64>,
    /// What the other service has said and ours has not taken, from `taken` on.
    ready: BytesMut,
    /// Up to where our service has taken their stream, its end included.
    taken: u64,
    /// Up to where the other end was told so.
    told: u64,
    /// The other service says no more...
    their_end: bool,
    /// ...and ours knows.
    end_taken: bool,
}

fn frame(out: &mut BytesMut, kind: u8, offset: u64, data: &[u8]) {
    out.put_u8(kind);
    out.put_u16((OFFSET_BYTES + data.len()) as u16);
    out.put_u64(offset);
    out.put_slice(data);
}

fn shrink(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
        *buffer = BytesMut::new();
    }
}

impl Ledger {
    /// Where to put what our service says (none where the window is full or it has ended), and what it is to take next.
    pub(super) fn sides(&mut self) -> (Option<Limit<&mut BytesMut>>, &[u8]) {
        let room = if self.ended_at.is_some() { 0 } else { WINDOW_BYTES.saturating_sub(self.unacked.len()) };
        if room > 0 {
            self.unacked.reserve(room.min(ROOM_BYTES));
        }
        ((room > 0).then(|| (&mut self.unacked).limit(room)), &self.ready)
    }

    /// Our service says no more.
    pub(super) fn end(&mut self) {
        self.ended_at.get_or_insert(self.theirs + self.unacked.len() as u64);
    }

    /// Our service has taken so many bytes of it.
    pub(super) fn took(&mut self, bytes: usize) {
        self.ready.advance(bytes);
        self.taken += bytes as u64;
        shrink(&mut self.ready);
    }

    /// Whether our service has taken everything and is to be told that no more comes.
    pub(super) fn end_is_due(&self) -> bool {
        self.their_end && !self.end_taken && self.ready.is_empty()
    }

    /// Our service was told that no more comes.
    pub(super) fn took_end(&mut self) {
        self.end_taken = true;
        self.taken += 1;
    }

    /// Up to where their stream has come.
    pub(super) fn received(&self) -> u64 {
        self.taken + self.ready.len() as u64 + u64::from(self.their_end && !self.end_taken)
    }

    /// Up to where our stream reaches, its end included.
    fn said(&self) -> u64 {
        self.theirs + self.unacked.len() as u64 + u64::from(self.ended_at.is_some() && !self.end_told())
    }

    /// The other service was told of our end, which has left the count behind.
    fn end_told(&self) -> bool {
        self.ended_at.is_some_and(|at| self.theirs > at)
    }

    /// Whether both services have said all, and both know.
    pub(super) fn is_done(&self) -> bool {
        self.end_taken && self.told == self.taken && self.end_told()
    }

    /// Whether both services have said all, known or not.
    pub(super) fn has_ended(&self) -> bool {
        self.end_taken && self.ended_at.is_some()
    }

    /// Whether the other end is owed word of what was taken.
    pub(super) fn owes_word(&self) -> bool {
        self.told != self.taken
    }

    /// Goes on over another channel: what the other end has is not said again.
    ///
    /// # Errors
    /// It cannot have that.
    pub(super) fn resume(&mut self, their_received: u64) -> Result<(), Violation> {
        if !(self.theirs..=self.said()).contains(&their_received) {
            return Err(Violation::Offset(their_received, self.theirs, self.said()));
        }
        self.sent = their_received;
        // What they were told last may have been lost.
        self.told = 0;
        Ok(())
    }

    /// Puts together the frames that are to be sent now. Word of what was taken goes along, where it is due or anything
    /// else is to be said.
    pub(super) fn fill(&mut self, out: &mut BytesMut, word_is_due: bool) {
        let end = self.ended_at;
        while out.len() < BATCH_BYTES && self.sent < self.theirs + self.unacked.len() as u64 {
            let from = (self.sent - self.theirs) as usize;
            let to = self.unacked.len().min(from + CHUNK_BYTES);
            frame(out, DATA, self.sent, &self.unacked[from..to]);
            self.sent += (to - from) as u64;
        }
        if end == Some(self.sent) && out.len() < BATCH_BYTES {
            frame(out, END, self.sent, &[]);
            self.sent += 1;
        }
        let much = self.taken >= self.told + TOLD_EVERY_BYTES || (self.end_taken && self.owes_word());
        if much || (self.owes_word() && (word_is_due || !out.is_empty())) {
            frame(out, TAKEN, self.taken, &[]);
            self.told = self.taken;
        }
    }

    /// The frame that ends a session whose service is gone.
    pub(super) fn reset(out: &mut BytesMut) {
        frame(out, RESET, 0, &[]);
    }

    /// Takes the whole frames at the beginning of what came in.
    ///
    /// # Errors
    /// The other end does not keep to the rules.
    pub(super) fn hear(&mut self, input: &mut BytesMut) -> Result<Heard, Violation> {
        while let Some(head) = input.first_chunk::<HEAD_BYTES>() {
            let (kind, len) = (head[0], usize::from(u16::from_be_bytes([head[1], head[2]])));
            if input.len() < HEAD_BYTES + len {
                break;
            }
            let mut body = input.split_to(HEAD_BYTES + len);
            body.advance(HEAD_BYTES);
            if kind > RESET {
                // A newer version's: its words are for those who know them.
                continue;
            }
            let offset = body.try_get_u64().map_err(|_| Violation::Short(kind))?;
            match kind {
                DATA => self.heard_data(offset, &body)?,
                TAKEN => self.heard_taken(offset)?,
                END if offset != self.received() => return Err(Violation::Gap(offset, self.received())),
                END if self.their_end => return Err(Violation::AfterEnd),
                END => self.their_end = true,
                _ => return Ok(Heard::Reset),
            }
        }
        shrink(input);
        Ok(Heard::More)
    }

    fn heard_data(&mut self, offset: u64, data: &[u8]) -> Result<(), Violation> {
        if self.their_end {
            return Err(Violation::AfterEnd);
        }
        if offset != self.received() {
            return Err(Violation::Gap(offset, self.received()));
        }
        if self.ready.len() + data.len() > WINDOW_BYTES {
            return Err(Violation::Window);
        }
        self.ready.extend_from_slice(data);
        Ok(())
    }

    fn heard_taken(&mut self, offset: u64) -> Result<(), Violation> {
        if !(self.theirs..=self.sent).contains(&offset) {
            return Err(Violation::Offset(offset, self.theirs, self.sent));
        }
        let bytes = (offset - self.theirs).min(self.unacked.len() as u64);
        self.unacked.advance(bytes as usize);
        self.theirs = offset;
        shrink(&mut self.unacked);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What happens to two ends and the channel between them.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A service says so many bytes.
        Say(bool, usize),
        /// A service takes at most so many.
        Take(bool, usize),
        /// An end sends what it has to.
        Send(bool, bool),
        /// So many bytes arrive at an end.
        Arrive(bool, usize),
        /// The channel is lost with all that is on it, and there is another.
        Cut,
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = prop_oneof![0..40usize, 0..70_000usize];
        prop_oneof![
            3 => (any::<bool>(), bytes.clone()).prop_map(|(end, n)| Step::Say(end, n)),
            3 => (any::<bool>(), bytes.clone()).prop_map(|(end, n)| Step::Take(end, n)),
            4 => any::<(bool, bool)>().prop_map(|(end, word)| Step::Send(end, word)),
            4 => (any::<bool>(), bytes).prop_map(|(end, n)| Step::Arrive(end, n)),
            1 => Just(Step::Cut),
        ]
    }

    /// One end, what its service has said and taken, and what is on the way to it.
    #[derive(Default)]
    struct End {
        ledger: Ledger,
        said: usize,
        taken: usize,
        output: BytesMut,
        on_the_way: BytesMut,
        input: BytesMut,
    }

    /// What is said at a place of a stream.
    fn byte(place: usize) -> u8 {
        (place % 251) as u8
    }

    impl End {
        fn say(&mut self, bytes: usize) {
            let said = self.said;
            let (Some(mut room), _) = self.ledger.sides() else { return };
            let bytes = bytes.min(room.remaining_mut());
            (said..said + bytes).for_each(|place| room.put_u8(byte(place)));
            self.said += bytes;
        }

        fn take(&mut self, bytes: usize) {
            let taken = self.taken;
            let (_, ready) = self.ledger.sides();
            let bytes = bytes.min(ready.len());
            for (i, got) in ready[..bytes].iter().enumerate() {
                assert_eq!(*got, byte(taken + i), "at {}", taken + i);
            }
            self.taken += bytes;
            self.ledger.took(bytes);
            if self.ledger.end_is_due() {
                self.ledger.took_end();
            }
        }

        fn send(&mut self, to: &mut Self, word_is_due: bool) {
            self.ledger.fill(&mut self.output, word_is_due);
            to.on_the_way.unsplit(self.output.split());
        }

        fn arrive(&mut self, bytes: usize) {
            let bytes = bytes.min(self.on_the_way.len());
            self.input.unsplit(self.on_the_way.split_to(bytes));
            assert_eq!(self.ledger.hear(&mut self.input), Ok(Heard::More));
        }
    }

    fn cut(a: &mut End, b: &mut End) {
        let received = [a.ledger.received(), b.ledger.received()];
        a.ledger.resume(received[1]).unwrap();
        b.ledger.resume(received[0]).unwrap();
        for end in [a, b] {
            end.output.clear();
            end.on_the_way.clear();
            end.input.clear();
        }
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_doubled_however_often_the_channel_is(steps in prop::collection::vec(step(), 0..120)) {
            let (mut a, mut b) = (End::default(), End::default());
            for step in steps {
                match step {
                    Step::Say(first, n) => if first { a.say(n) } else { b.say(n) },
                    Step::Take(first, n) => if first { a.take(n) } else { b.take(n) },
                    Step::Send(true, word) => a.send(&mut b, word),
                    Step::Send(false, word) => b.send(&mut a, word),
                    Step::Arrive(first, n) => if first { a.arrive(n) } else { b.arrive(n) },
                    Step::Cut => cut(&mut a, &mut b),
                }
                for end in [&a, &b] {
                    prop_assert!(end.ledger.unacked.len() <= WINDOW_BYTES && end.ledger.ready.len() <= WINDOW_BYTES);
                }
            }
            // Both say no more; on a channel that holds, everything arrives and both ends know.
            a.ledger.end();
            b.ledger.end();
            for _ in 0..64 {
                a.send(&mut b, true);
                b.send(&mut a, true);
                for end in [&mut a, &mut b] {
                    end.arrive(usize::MAX);
                    end.take(usize::MAX);
                }
            }
            prop_assert_eq!((a.taken, b.taken), (b.said, a.said));
            prop_assert!(a.ledger.is_done() && b.ledger.is_done());
        }

        #[test]
        fn what_no_end_would_say_is_refused(noise in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut ledger = Ledger::default();
            let _ = ledger.hear(&mut BytesMut::from(&noise[..]));
            prop_assert!(ledger.ready.len() <= noise.len());
        }
    }

    fn heard(frames: &[(u8, u64, &[u8])]) -> Result<Heard, Violation> {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|(kind, offset, data)| frame(&mut bytes, *kind, *offset, data));
        Ledger::default().hear(&mut bytes)
    }

    #[test]
    fn repeated_reordered_and_unasked_frames_end_the_session() {
        assert_eq!(heard(&[(DATA, 0, b"ab"), (DATA, 0, b"ab")]), Err(Violation::Gap(0, 2)));
        assert_eq!(heard(&[(DATA, 7, b"ab")]), Err(Violation::Gap(7, 0)));
        assert_eq!(heard(&[(END, 0, b""), (DATA, 1, b"a")]), Err(Violation::AfterEnd));
        assert_eq!(heard(&[(TAKEN, 1, b"")]), Err(Violation::Offset(1, 0, 0)));
        let chunk = [0; CHUNK_BYTES];
        let flood: Vec<(u8, u64, &[u8])> =
            (0..17).map(|n| (DATA, n * CHUNK_BYTES as u64, &chunk[..])).collect();
        assert_eq!(heard(&flood), Err(Violation::Window));
        assert_eq!(heard(&[(9, 0, b"of a newer version"), (DATA, 0, b"ab")]), Ok(Heard::More));
        assert_eq!(heard(&[(RESET, 0, b"")]), Ok(Heard::Reset));
        assert_eq!(Ledger::default().resume(1), Err(Violation::Offset(1, 0, 0)));
    }
}
