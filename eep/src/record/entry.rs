//! What a recording is made of: one entry after the other.
//!
//! An entry is a tag (one byte), the lengths of its two parts (four bytes each, little-endian), and the parts.
//!
//! | tag | first part | second part |
//! | --- | --- | --- |
//! | head | [`Head`] as JSON: whose calls follow | |
//! | code | the SHA-256 of a component | the component |
//! | call | a [`Call`] | |
//! | import | what the proxylet asked: a name and its arguments | the answer |
//! | return | a [`Return`] | |
//! | base | a [`Base`]: from here a new instance can go on | |
//! | lost | a [`Lost`]: calls that are missing here | |
//! | relayed | as in an import, but as a patch of its call's part ([`super::relayed`]) | the answer |
//!
//! Where nothing else is said, parts are written by `postcard`.

use std::borrow::Cow;
use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::host::bindings::eep::proxylet::types::Event;
use crate::proxylet::digest::Digest;
use crate::proxylet::trap::TrapKind;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Head = 1,
    Code = 2,
    Call = 3,
    Import = 4,
    Return = 5,
    Base = 6,
    Lost = 7,
    Relayed = 8,
}

impl Tag {
    const ALL: [Self; 8] = [
        Self::Head,
        Self::Code,
        Self::Call,
        Self::Import,
        Self::Return,
        Self::Base,
        Self::Lost,
        Self::Relayed,
    ];

    pub(crate) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| *tag as u8 == byte)
    }
}

/// Bytes before the parts of an entry.
pub(crate) const PREFIX: usize = 9;

/// Reads the tag and the lengths of the two parts.
pub(crate) fn prefix(bytes: &[u8; PREFIX]) -> Option<(Tag, usize, usize)> {
    let [tag, a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
    let len = |bytes| u32::from_le_bytes(bytes) as usize;
    Some((Tag::of(tag)?, len([a0, a1, a2, a3]), len([b0, b1, b2, b3])))
}

/// Appends an entry of two parts as they are.
pub(crate) fn put(out: &mut Vec<u8>, tag: Tag, first: &[u8], second: &[u8]) {
    let start = open(out, tag);
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    close(out, start, first.len(), second.len());
}

/// Appends an entry of one part.
pub(crate) fn put_value(out: &mut Vec<u8>, tag: Tag, value: &impl Serialize) {
    let start = open(out, tag);
    encode(out, value);
    let first = out.len() - start - PREFIX;
    close(out, start, first, 0);
}

/// Appends an entry of one part, a value with a state of `len` bytes in it: what is `before` ends with the state, which is
/// left empty there, and `after` follows it. Where in `out` the state itself belongs.
pub(crate) fn put_around_state(
    out: &mut Vec<u8>,
    tag: Tag,
    before: &impl Serialize,
    len: usize,
    after: &impl Serialize,
) -> usize {
    let start = open(out, tag);
    encode(out, before);
    // An empty state is its length alone, one byte.
    out.pop();
    encode(out, &len);
    let at = out.len();
    encode(out, after);
    let first = out.len() - start - PREFIX + len;
    close(out, start, first, 0);
    at
}

/// Appends what a proxylet asked; [`close_import`] is given where that begins.
pub(crate) fn open_import(out: &mut Vec<u8>, name: &str, args: impl FnOnce(&mut Vec<u8>)) {
    open(out, Tag::Import);
    encode(out, name);
    args(out);
}

/// The same, of what is encoded already, or of the patch that stands for it.
pub(crate) fn open_asked(out: &mut Vec<u8>, tag: Tag, asked: &[u8]) {
    open(out, tag);
    out.extend_from_slice(asked);
}

/// Appends what it was told, which begins at `middle`.
pub(crate) fn close_import(out: &mut Vec<u8>, start: usize, middle: usize, answer: &impl Serialize) {
    encode(out, answer);
    let second = out.len() - middle;
    close(out, start, middle - start - PREFIX, second);
}

/// Appends the first part of an import.
pub(crate) fn encode_ask(out: &mut Vec<u8>, name: &str, args: &impl Serialize) {
    encode(out, name);
    encode(out, args);
}

fn open(out: &mut Vec<u8>, tag: Tag) -> usize {
    let start = out.len();
    out.push(tag as u8);
    out.extend_from_slice(&[0; PREFIX - 1]);
    start
}

fn close(out: &mut [u8], start: usize, first: usize, second: usize) {
    // What is longer than the four bytes can say is far beyond `CALL_BYTES_MAX` and is thrown away by its writer.
    out[start + 1..start + 5].copy_from_slice(&(first as u32).to_le_bytes());
    out[start + 5..start + PREFIX].copy_from_slice(&(second as u32).to_le_bytes());
}

/// Appends a value.
pub(crate) fn encode<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let before = out.len();
    // Nothing that is written here has a length that is not known, the one thing that the encoding refuses.
    if postcard::serialize_with_flavor(value, Append(out)).is_err() {
        out.truncate(before);
    }
}

/// Where the encoding goes: runs of bytes in one copy, and into memory that is not lost where it fails.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads a value that fills `bytes`.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::take_from_bytes(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// The name in the first part of an import, and its arguments.
pub(crate) fn ask(bytes: &[u8]) -> Option<(&str, &[u8])> {
    postcard::take_from_bytes(bytes).ok()
}

/// Bytes that are written in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes<'a>(pub(crate) Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Bytes<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = &'de [u8];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: serde::de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(bytes)
            }
        }
        let bytes = deserializer.deserialize_bytes(Borrowed).map_err(D::Error::custom)?;
        Ok(bytes.into())
    }
}

/// Whose calls follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The version of the node that recorded.
    pub(crate) eep: String,
    /// The version of the contract that it offered.
    pub(crate) contract: String,
    /// Its architecture, such as `x86_64`.
    pub(crate) arch: String,
    /// The service's name there.
    pub(crate) service: String,
    /// The proxylet's own name.
    pub(crate) proxylet: String,
    /// The proxylet's own version.
    pub(crate) version: String,
    /// The SHA-256 of the code.
    pub(crate) sha256: Digest,
    /// The limit of its memory, in bytes.
    pub(crate) memory_bytes_max: u64,
    /// The limit of one call, in milliseconds.
    pub(crate) call_ms: u32,
    /// When this part was begun, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) began_s: f64,
}

/// A call into the proxylet, with all that it was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Call<'a> {
    Start {
        now: u64,
        config: Cow<'a, str>,
    },
    Restore {
        now: u64,
        config: Cow<'a, str>,
        #[serde(borrow)]
        state: Bytes<'a>,
    },
    Handle {
        now: u64,
        events: Cow<'a, [Event]>,
        conns: Cow<'a, [u64]>,
        lens: Cow<'a, [u32]>,
        bytes: Bytes<'a>,
    },
    Save,
    Stop,
}

impl Call<'_> {
    /// The export.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Restore { .. } => "restore",
            Self::Handle { .. } => "handle",
            Self::Save => "save",
            Self::Stop => "stop",
        }
    }

    /// The service's clock, where the call has it.
    pub(crate) fn now(&self) -> Option<u64> {
        match self {
            Self::Start { now, .. } | Self::Restore { now, .. } | Self::Handle { now, .. } => Some(*now),
            Self::Save | Self::Stop => None,
        }
    }

    /// Whether it is the first call into an instance.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self, Self::Start { .. } | Self::Restore { .. })
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Return<'a> {
    Done,
    Refused(Cow<'a, str>),
    #[serde(borrow)]
    Saved(Bytes<'a>),
    Trapped(Trapped<'a>),
}

/// A trap, without what differs from one time to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trapped<'a> {
    pub(crate) kind: TrapKind,
    pub(crate) message: Cow<'a, str>,
    pub(crate) backtrace: Cow<'a, [String]>,
}

/// A state from which another instance can go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Base<'a> {
    /// The service's clock.
    pub(crate) now: u64,
    pub(crate) config: Cow<'a, str>,
    /// What `save` returned.
    #[serde(borrow)]
    pub(crate) state: Bytes<'a>,
    /// What the instance was told that still stands: its listeners, sockets and series. First and second parts of
    /// imports.
    #[serde(borrow)]
    pub(crate) standing: Vec<(Bytes<'a>, Bytes<'a>)>,
}

/// Calls that are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lost<'a> {
    pub(crate) calls: u64,
    pub(crate) why: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let mut out = Vec::new();
        open_import(&mut out, "kv.get", |out| encode(out, &("key",)));
        let middle = out.len();
        close_import(&mut out, 0, middle, &Some(vec![1_u8, 2]));
        let (tag, first, second) = prefix(out[..PREFIX].try_into().unwrap()).unwrap();
        assert_eq!((tag, PREFIX + first + second), (Tag::Import, out.len()));
        let (name, args) = ask(&out[PREFIX..PREFIX + first]).unwrap();
        assert_eq!((name, decode::<(String,)>(args)), ("kv.get", Some(("key".to_owned(),))));
        assert_eq!(decode::<Option<Vec<u8>>>(&out[PREFIX + first..]), Some(Some(vec![1, 2])));
        assert_eq!(decode::<bool>(&[1, 0]), None);
    }

    #[test]
    fn calls_and_returns_survive() {
        let call = Call::Handle {
            now: 7,
            events: vec![Event::Received(2), Event::Timer(9), Event::Configured("{}".into())].into(),
            conns: vec![1 << 40, 2].into(),
            lens: vec![3, 1].into(),
            bytes: (&b"abcd"[..]).into(),
        };
        let mut out = Vec::new();
        encode(&mut out, &call);
        let read: Call<'_> = decode(&out).unwrap();
        assert_eq!(format!("{read:?}"), format!("{call:?}"));
        let trapped =
            Trapped { kind: TrapKind::Memory, message: "m".into(), backtrace: vec!["f".to_owned()].into() };
        for back in [Return::Done, Return::Refused("no".into()), Return::Trapped(trapped)] {
            let mut out = Vec::new();
            encode(&mut out, &back);
            assert_eq!(decode::<Return<'_>>(&out), Some(back));
        }
    }
}
