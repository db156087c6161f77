//! Lines that follow one another: the last ones first, then each new one as it comes, one JSON object a line.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::api::body::query;
use crate::node::Node;
use crate::problem::Problem;

/// Lines of JSON.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Lines that may wait for a slow reader, beside those that their source holds for it.
const LINES_WAITING_MAX: usize = 64;

/// Which lines.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// How many of the last ones to begin with; 100 where it is missing.
    #[serde(default = "last")]
    pub(super) tail: usize,
    /// Whether to go on with each new one.
    #[serde(default)]
    follow: bool,
}

fn last() -> usize {
    100
}

/// What the query asks for; or what is wrong with it.
pub(super) type Asked = Result<Query<Which>, QueryRejection>;

/// Answers with the last lines, and each new one until the reader goes, their source ends or the node does.
///
/// `tail_and_follow` gives both at one moment, so that no line is missed or told twice. `missed` is what a reader who was
/// too slow for so many lines is told in their place; none where that is nothing to be told.
pub(super) fn answer<T: Clone + Serialize + Send + Sync + 'static>(
    node: &Node,
    asked: Asked,
    tail_and_follow: impl FnOnce(usize) -> (Vec<T>, broadcast::Receiver<T>),
    missed: fn(u64) -> Option<T>,
) -> Result<Response, Box<Problem>> {
    let which = query(asked, "write ?tail=NUMBER&follow=true")?;
    let (tail, mut new) = tail_and_follow(which.tail);
    let first: Vec<u8> = tail.iter().flat_map(line).collect();
    if !which.follow {
        return Ok(lines(Body::from(first)));
    }
    let (tell, told) = mpsc::channel(LINES_WAITING_MAX);
    let mut ending = node.ending();
    tokio::spawn(async move {
        if tell.send(first).await.is_err() {
            return;
        }
        loop {
            let next = tokio::select! {
                next = new.recv() => next,
                () = tell.closed() => return,
                _ = ending.wait_for(|ending| *ending) => return,
            };
            let next = match next {
                Ok(next) => Some(next),
                Err(RecvError::Lagged(lost)) => missed(lost),
                Err(RecvError::Closed) => return,
            };
            if let Some(next) = next
                && tell.send(line(&next)).await.is_err()
            {
                return;
            }
        }
    });
    Ok(lines(Body::from_stream(ndjson(told))))
}

/// An answer of lines.
pub(super) fn lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, NDJSON)], body).into_response()
}

/// One line of JSON.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Lines as they come.
pub(super) fn ndjson(lines: mpsc::Receiver<Vec<u8>>) -> impl Stream<Item = Result<Vec<u8>, Infallible>> {
    stream::unfold(lines, async |mut lines| lines.recv().await.map(|line| (Ok(line), lines)))
}
