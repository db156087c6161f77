//! `wasi:cli`: what is printed goes to the log, line by line; what could be read is empty.

use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{Error, Result, StoreContextMut};

use super::streams::{ERR, Input, OUT, Output};
use super::{Wasi, named};

/// A line that is longer is cut into several; as long as a line of the log.
const LINE_BYTES_MAX: usize = 8 << 10;

/// What was written to stdout and stderr and is no line yet.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Writes to stdout or stderr: whole lines go to the log.
pub(super) fn write<T: Wasi>(host: &mut T, err: bool, bytes: &[u8]) {
    let stdio = host.stdio();
    let unfinished = if err { &mut stdio.err } else { &mut stdio.out };
    unfinished.extend_from_slice(bytes);
    let (mut lines, mut rest) = (Vec::new(), &unfinished[..]);
    while let Some((line, after)) = next_line(rest) {
        lines.push(String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned());
        rest = after;
    }
    let taken = unfinished.len() - rest.len();
    unfinished.drain(..taken);
    for line in lines {
        host.line(err, line);
    }
}

/// A line, up to its break or as long as one may be, and what follows it.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let break_at = bytes.iter().take(LINE_BYTES_MAX + 1).position(|byte| *byte == b'\n');
    match break_at {
        Some(at) => Some(bytes.split_at(at + 1)),
        None if bytes.len() > LINE_BYTES_MAX => Some(bytes.split_at(LINE_BYTES_MAX)),
        None => None,
    }
}

/// An input or output that is a terminal; none is.
struct Terminal;

pub(super) fn link<T: Wasi>(linker: &mut Linker<T>) -> Result<()> {
    let mut environment = linker.instance(&named("wasi:cli/environment"))?;
    environment.func_wrap("get-environment", |_, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    environment.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
    environment.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))?;
    let mut exit = linker.instance(&named("wasi:cli/exit"))?;
    exit.func_wrap("exit", |_, (status,): (std::result::Result<(), ()>,)| -> Result<()> {
        let how = if status.is_ok() { "" } else { " with a failure" };
        Err(Error::msg(format!("it called `exit`{how}: a proxylet goes on until the node calls `stop`")))
    })?;
    linker
        .instance(&named("wasi:cli/stdin"))?
        .func_wrap("get-stdin", |_: StoreContextMut<'_, T>, (): ()| Ok((Resource::<Input>::new_own(0),)))?;
    for (name, rep) in [("stdout", OUT), ("stderr", ERR)] {
        linker
            .instance(&named(&format!("wasi:cli/{name}")))?
            .func_wrap(&format!("get-{name}"), move |_: StoreContextMut<'_, T>, (): ()| {
                Ok((Resource::<Output>::new_own(rep),))
            })?;
    }
    for name in ["terminal-input", "terminal-output"] {
        let mut terminal = linker.instance(&named(&format!("wasi:cli/{name}")))?;
        terminal.resource(name, ResourceType::host::<Terminal>(), |_, _| Ok(()))?;
    }
    for name in ["terminal-stdin", "terminal-stdout", "terminal-stderr"] {
        linker
            .instance(&named(&format!("wasi:cli/{name}")))?
            .func_wrap(&format!("get-{name}"), |_, (): ()| Ok((None::<Resource<Terminal>>,)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Stdio, Vec<String>);

    impl Wasi for Lines {
        fn batch_ns(&self) -> u64 {
            0
        }
        fn wall_ns(&mut self) -> u64 {
            0
        }
        fn random(&mut self, _: u32) -> Vec<u8> {
            Vec::new()
        }
        fn line(&mut self, warn: bool, line: String) {
            self.1.push(format!("{}{line}", if warn { "! " } else { "" }));
        }
        fn refused(&mut self, _: &str) {}
        fn stdio(&mut self) -> &mut Stdio {
            &mut self.0
        }
    }

    #[test]
    fn whole_lines_reach_the_log_and_long_ones_are_cut() {
        let mut host = Lines::default();
        for text in ["hel", "lo\nand", " more\r\n\nrest"] {
            write(&mut host, false, text.as_bytes());
        }
        write(&mut host, true, b"trouble\n");
        assert_eq!(host.1, ["hello", "and more", "", "! trouble"]);
        host.1.clear();
        write(&mut host, true, &[b'x'; 3 * LINE_BYTES_MAX]);
        write(&mut host, true, b"\n");
        let lengths: Vec<_> = host.1.iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX + 2; 3]);
        assert!(host.0.err.is_empty() && host.0.out == b"rest");
    }
}
