//! `eep logs --record`: a recording of a service that runs, taken over as it is made.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::format::bytes;
use crate::cli::output::{Failure, Outcome, json, line, note};
use crate::cli::target::{Target, block_on, path_of};
use crate::problem::Problem;

/// What the service did last is still on its way for a fifth of a second, and longer where the machine is busy.
const LAST: Duration = Duration::from_secs(2);

/// Records a service into a file until Ctrl-C, until the time is over, or until the service ends.
pub(super) fn record(
    name: &str,
    path: &Path,
    renew: bool,
    within: Option<Duration>,
    target: &Target,
) -> Outcome {
    let (taken, whole) = block_on(async {
        // A name that nobody has is refused before a file is made.
        let mut answer = target.client()?.stream(&format!("{}/record?renew={renew}", path_of(name)?)).await?;
        let mut file = create(path)?;
        // Before it is said that Ctrl-C ends it.
        let interrupts = signal(SignalKind::interrupt());
        let mut interrupts = interrupts.map_err(|e| Problem::new("system", 500, e.to_string()))?;
        if !target.json {
            let until = within.map_or("press Ctrl-C to end it".to_owned(), |d| {
                format!("for {}", humantime::format_duration(d))
            });
            note(&format!("recording {name} into {}: {until}", path.display()));
        }
        let end = tokio::time::sleep(within.unwrap_or(Duration::MAX));
        tokio::pin!(end);
        let (mut taken, mut ending) = (0_u64, false);
        let whole = loop {
            let piece = tokio::select! {
                piece = answer.chunk() => Some(piece),
                () = &mut end => None,
                _ = interrupts.recv() => None,
            };
            let piece = match piece {
                Some(piece) => piece,
                // Who cannot wait presses it again.
                None if ending => break true,
                None => {
                    ending = true;
                    end.as_mut().reset(tokio::time::Instant::now() + LAST);
                    continue;
                }
            };
            let Ok(Some(piece)) = piece else { break piece.is_ok() };
            file.write_all(&piece).map_err(|e| unwritable(path, &e))?;
            taken += piece.len() as u64;
        };
        Ok((taken, whole))
    })?;
    if target.json {
        json(&json!({"file": path, "bytes": taken, "whole": whole}));
    } else {
        line(&format!("{}  {}", path.display(), bytes(taken)));
        line(&format!("  next   eep proxylet replay {}", path.display()));
    }
    if whole {
        return Ok(());
    }
    Err(Problem::new("broken-off", 502, "the node's answer broke off")
        .at(path.display().to_string())
        .fix("what was recorded until then can be replayed")
        .into())
}

/// What a service saw is nobody else's business.
fn create(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|e| unwritable(path, &e).into())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Box<Problem> {
    let fix = match error.kind() {
        std::io::ErrorKind::AlreadyExists => "name a file that is not there yet",
        _ => "name another file",
    };
    Problem::new("unwritable", 400, format!("the file cannot be written: {error}"))
        .at(path.display().to_string())
        .fix(fix)
}
