//! Reading what verbs work on.

use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use policies::Policy;
use policies::text::files::Unreadable;

use crate::cli::output::Failure;
use crate::policy::files::Folder;
use crate::problem::Problem;

/// The longest event that is read from stdin, bytes.
const EVENT_BYTES_MAX: u64 = 1 << 20;
/// The longest line of a recording, bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A file or folder that cannot be read.
pub(super) fn unreadable(error: Unreadable) -> Failure {
    Failure::from(Problem::new("bad-file", 400, error.what).fix(error.fix))
}

/// Loads a policy. Its warnings are for `eep policy check` to say.
pub(super) fn policy(file: &Path) -> Result<Policy, Failure> {
    let (folder, name) = Folder::of(file).map_err(unreadable)?;
    match Policy::load(&folder, &name, 0) {
        Ok(loaded) => Ok(loaded.policy),
        Err(report) => Err(Failure::found(file, report)),
    }
}

/// A text given on the command line; `-` stands for stdin.
pub(super) fn given(text: &str) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    let wrong = |e: std::io::Error| Problem::new("bad-file", 400, format!("stdin cannot be read: {e}"));
    std::io::stdin().take(EVENT_BYTES_MAX).read_to_string(&mut read).map_err(wrong)?;
    Ok(read)
}

/// A recording, read line by line however long it is; `-` stands for stdin.
pub(super) struct Recording {
    reader: Box<dyn BufRead>,
    name: String,
    buffer: Vec<u8>,
    number: usize,
}

impl Recording {
    pub(super) fn open(file: &Path) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let reader: Box<dyn BufRead> = if name == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let wrong = |e: std::io::Error| {
                Problem::new("bad-file", 400, format!("{name}: {e}")).fix("give the path of a recording")
            };
            Box::new(BufReader::new(std::fs::File::open(file).map_err(wrong)?))
        };
        Ok(Self { reader, name, buffer: Vec::new(), number: 0 })
    }

    /// The next line that is not empty, with its number.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &str)>, Failure> {
        let name = &self.name;
        loop {
            self.buffer.clear();
            self.number += 1;
            let at = || format!("{name}:{}", self.number);
            let wrong = |what: String| Problem::new("bad-file", 400, what).at(at());
            let mut line = (&mut self.reader).take(LINE_BYTES_MAX + 1);
            let read = line.read_until(b'\n', &mut self.buffer);
            if read.map_err(|e| wrong(format!("the recording cannot be read: {e}")))? == 0 {
                return Ok(None);
            }
            if self.buffer.len() as u64 > LINE_BYTES_MAX {
                let what = format!("this line is longer than {LINE_BYTES_MAX} bytes");
                return Err(wrong(what).fix("is it a recording? It has one event a line, as JSON").into());
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(line) => Ok(Some((self.number, line.trim_end_matches(['\n', '\r'])))),
            Err(_) => {
                let problem = Problem::new("bad-file", 400, "this line is not UTF-8");
                Err(problem.at(format!("{}:{}", self.name, self.number)).fix("is it a recording?").into())
            }
        }
    }
}
