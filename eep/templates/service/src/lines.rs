//! What the service does, without any I/O: bytes in, bytes out. This is what tests try.

/// The longest line, in bytes. A peer that sends a longer one is not worth more memory.
pub const LINE_BYTES_MAX: usize = 4096;

/// One connection: what has come of a line that is not whole yet.
#[derive(Debug, Default)]
pub struct Lines {
    unfinished: Vec<u8>,
}

/// A line longer than [`LINE_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// A connection on which the beginning of a line has come.
    pub fn with(unfinished: &[u8]) -> Self {
        Self { unfinished: unfinished.to_vec() }
    }

    /// The beginning of a line that is not whole yet.
    pub fn unfinished(&self) -> &[u8] {
        &self.unfinished
    }

    /// Takes bytes as they came; the answers to the lines that they complete, and how many those are.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, u64), TooLong> {
        self.unfinished.extend_from_slice(bytes);
        let (mut answers, mut count) = (Vec::new(), 0);
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            answers.extend(answer(&line));
            count += 1;
        }
        if self.unfinished.len() > LINE_BYTES_MAX { Err(TooLong) } else { Ok((answers, count)) }
    }
}

/// The answer to one line, its line break included.
fn answer(line: &[u8]) -> Vec<u8> {
    line.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_answered_when_they_are_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"hel"), Ok((Vec::new(), 0)));
        assert_eq!(lines.take(b"lo\nyou\nan"), Ok((b"HELLO\nYOU\n".to_vec(), 2)));
        assert_eq!(lines.take(b"d\n"), Ok((b"AND\n".to_vec(), 1)));
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        assert_eq!(Lines::default().take(&[b'x'; LINE_BYTES_MAX + 1]), Err(TooLong));
    }
}
