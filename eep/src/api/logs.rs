//! `/v1/services/{name}/logs`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;

use crate::api::feed::{self, Asked, Which};
use crate::node::Node;
use crate::observe::log_ring::{LogLevel, LogLine, LogSource};
use crate::problem::Problem;

/// The lines of a service's log, also of one that this node has placed elsewhere, one JSON object a line.
#[utoipa::path(get, path = "/v1/services/{name}/logs", tag = "services",
    params(("name" = String, Path, description = "The service's name"), Which),
    responses(
        (status = 200, body = LogLine, content_type = "application/x-ndjson"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn logs(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    which: Asked,
) -> Result<Response, Box<Problem>> {
    if let Ok(Query(which)) = &which
        && let Some(placed) = node.placed_log(&name, which.tail).await?
    {
        return feed::answer(&node, Ok(Query(*which)), |_| placed, |lost| Some(missed(lost)));
    }
    let log = node.log(&name)?;
    feed::answer(&node, which, |max| log.tail_and_follow(max), |lost| Some(missed(lost)))
}

/// The line in the place of those that a slow reader has missed.
fn missed(lost: u64) -> LogLine {
    let text = format!("{lost} lines are missing here: the reader was too slow");
    LogLine { seq: 0, at_s: 0.0, level: LogLevel::Warn, source: LogSource::Node, text }
}
