//! `/v1/services/{name}/logs`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::api::services::{NDJSON, line, ndjson};
use crate::node::Node;
use crate::observe::log_ring::{LogLevel, LogLine, LogRing, LogSource};
use crate::problem::Problem;

/// Lines that may wait for a slow reader, beside those that the log itself holds for it.
const LINES_WAITING_MAX: usize = 64;

/// Which lines.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// How many of the last lines to begin with; 100 where it is missing.
    #[serde(default = "last")]
    tail: usize,
    /// Whether to go on with each new line.
    #[serde(default)]
    follow: bool,
}

fn last() -> usize {
    100
}

/// The lines of a service's log, one JSON object a line.
#[utoipa::path(get, path = "/v1/services/{name}/logs", tag = "services",
    params(("name" = String, Path, description = "The service's name"), Which),
    responses(
        (status = 200, body = LogLine, content_type = "application/x-ndjson"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn logs(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    which: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Box<Problem>> {
    let Query(which) = which.map_err(|e| {
        Problem::new("bad-request", 400, e.body_text()).at("query").fix("write ?tail=NUMBER&follow=true")
    })?;
    let log = node.log(&name)?;
    let body = if which.follow { follow(&node, &log, which.tail) } else { tail(&log, which.tail) };
    Ok(([(header::CONTENT_TYPE, NDJSON)], body).into_response())
}

fn tail(log: &LogRing, max: usize) -> Body {
    Body::from(log.tail(max).iter().flat_map(line).collect::<Vec<u8>>())
}

/// The last lines and each new one, until the reader goes, the service is unloaded or the node ends.
fn follow(node: &Node, log: &LogRing, max: usize) -> Body {
    let (tail, mut new) = log.tail_and_follow(max);
    let (lines, stream) = mpsc::channel(LINES_WAITING_MAX);
    let mut ending = node.ending();
    tokio::spawn(async move {
        for entry in &tail {
            if lines.send(line(entry)).await.is_err() {
                return;
            }
        }
        loop {
            let entry = tokio::select! {
                entry = new.recv() => entry,
                () = lines.closed() => return,
                _ = ending.wait_for(|ending| *ending) => return,
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(RecvError::Lagged(lost)) => {
                    let text = format!("{lost} lines are missing here: the reader was too slow");
                    LogLine { seq: 0, at_s: 0.0, level: LogLevel::Warn, source: LogSource::Node, text }
                }
                Err(RecvError::Closed) => return,
            };
            if lines.send(line(&entry)).await.is_err() {
                return;
            }
        }
    });
    Body::from_stream(ndjson(stream))
}
