//! Bodies in, problems out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Query, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::api::BODY_BYTES_MAX;
use crate::problem::Problem;

/// The media type of a problem (RFC 9457).
const PROBLEM: &str = "application/problem+json";

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, PROBLEM)], Json(self)).into_response()
    }
}

/// What stands behind the `?` of an address; or what is wrong with it. `fix` says what may stand there.
pub(super) fn query<T>(asked: Result<Query<T>, QueryRejection>, fix: &str) -> Result<T, Box<Problem>> {
    let wrong = |e: QueryRejection| Problem::new("bad-request", 400, e.body_text()).at("query").fix(fix);
    asked.map(|Query(asked)| asked).map_err(wrong)
}

/// A body in JSON. What is wrong in it is told with its place.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Box<Problem>;

    async fn from_request(request: Request, state: &S) -> Result<Self, Box<Problem>> {
        let bytes = Bytes::from_request(request, state).await.map_err(|e| {
            Problem::new("bad-body", e.status().as_u16(), "the body of the request cannot be read")
                .fix(format!("send at most {BODY_BYTES_MAX} bytes of JSON"))
        })?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let read = serde_path_to_error::deserialize(&mut json).map_err(|e| {
            let place = e.path().to_string();
            wrong(e.inner()).at(if matches!(place.as_str(), "." | "?") { "body".to_owned() } else { place })
        })?;
        json.end().map_err(|e| wrong(&e).at("body"))?;
        Ok(Self(read))
    }
}

/// What is wrong in a body; the types' own words have the fix behind a line break.
fn wrong(error: &serde_json::Error) -> Box<Problem> {
    let text = error.to_string();
    // The reader adds where it stood when it noticed, after the words.
    let words = text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words);
    let problem = Problem::words("bad-request", 400, words);
    if problem.fix.is_some() { problem } else { problem.fix("see /openapi.json for what may stand here") }
}
