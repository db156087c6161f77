//! `/v1/services/{name}/record`

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;

use crate::api::body::query;
use crate::node::Node;
use crate::problem::Problem;

/// How it is recorded.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// Whether the service goes on with a new instance of the same code, as in a swap, so that a replay is exact.
    #[serde(default)]
    renew: bool,
}

/// Record a service from its state as it is now, for as long as the client takes the answer: the recording itself. Where
/// the client is too slow, calls are left out, which the recording says; the service waits for nobody.
#[utoipa::path(post, path = "/v1/services/{name}/record", tag = "services",
    params(("name" = String, Path, description = "The service's name"), How),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn record(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    how: Result<Query<How>, QueryRejection>,
) -> Result<Response, Box<Problem>> {
    let how = query(how, "write ?renew=true")?;
    let pieces = node.record(&name, how.renew).await?;
    // It ends with the service, and so with the node.
    let body = stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), pieces))
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response())
}
