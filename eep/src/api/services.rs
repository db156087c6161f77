//! `/v1/services`: the services and what is done to them.
//!
//! Loading and modifying take time. A client that accepts `application/x-ndjson` is told of each step in a line of its
//! own (`{"progress": …}`), and of the end in the last (`{"done": …}` or `{"refused": …}`).

use std::sync::Arc;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::api::body::Body;
use crate::api::feed::{self, NDJSON, line, ndjson};
use crate::config::ServiceEntry;
use crate::node::progress::{Progress, Step};
use crate::node::view::{ServiceList, ServiceView};
use crate::node::{Change, Node};
use crate::problem::Problem;

/// Steps that may wait for a slow client; further ones are left out, for the next one says more.
const STEPS_WAITING_MAX: usize = 64;

type Answer<T> = Result<Json<T>, Box<Problem>>;

/// All services.
#[utoipa::path(get, path = "/v1/services", tag = "services", responses((status = 200, body = ServiceList)))]
pub(super) async fn list(State(node): State<Arc<Node>>) -> Json<ServiceList> {
    Json(node.list())
}

/// One service.
#[utoipa::path(get, path = "/v1/services/{name}", tag = "services",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = ServiceView), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn view(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<ServiceView> {
    node.view(&name).map(Json)
}

/// Load: fetch a proxylet, verify it, start it, and keep it. Answered once it runs and is on disk.
#[utoipa::path(post, path = "/v1/services", tag = "services", request_body = ServiceEntry,
    responses(
        (status = 201, body = ServiceView, description = "It runs"),
        (status = 200, body = Step<ServiceView>, content_type = "application/x-ndjson", description = "Its steps, for a client that accepts them"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Refused; nothing was changed"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "Failed; nothing was changed")))]
pub(super) async fn load(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    Body(entry): Body<ServiceEntry>,
) -> Response {
    let work = async move |on: OnStep| node.load(&entry, &on).await;
    answer(&headers, StatusCode::CREATED, work).await
}

/// Modify: another configuration, other code, other grants or limits; one that this node has placed, where it runs. Where that fails it goes on as it was.
#[utoipa::path(patch, path = "/v1/services/{name}", tag = "services", request_body = Change,
    params(("name" = String, Path, description = "The service's name")),
    responses(
        (status = 200, body = ServiceView, description = "It runs so"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Refused; nothing was changed"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "Failed; nothing was changed")))]
pub(super) async fn modify(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(change): Body<Change>,
) -> Response {
    let work = async move |on: OnStep| node.modify_anywhere(&name, &change, &on).await;
    answer(&headers, StatusCode::OK, work).await
}

/// Start a service that does not run; one that this node has placed, where it is; or each of a web, and then the answer is that of `GET /v1/placements/{name}`.
#[utoipa::path(post, path = "/v1/services/{name}/start", tag = "services",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = ServiceView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn start(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<Value> {
    whole(async move { node.start_anywhere(&name).await }).await.map(Json)
}

/// Stop a service; one that this node has placed, where it runs; or each of a web, and then the answer is that of `GET /v1/placements/{name}`. It stays stopped, also after the node starts again.
#[utoipa::path(post, path = "/v1/services/{name}/stop", tag = "services",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = ServiceView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn stop(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<Value> {
    whole(async move { node.stop_anywhere(&name).await }).await.map(Json)
}

/// Unload: stop a service and forget it, with all that it stored; one that this node has placed, where it runs.
#[utoipa::path(delete, path = "/v1/services/{name}", tag = "services",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 204, description = "It is gone"), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn unload(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Box<Problem>> {
    whole(async move { node.unload_anywhere(&name).await }).await.map(|()| StatusCode::NO_CONTENT)
}

/// Does a change to its end, also where the client goes away in the middle of it.
pub(super) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Box<Problem>>> + Send + 'static,
) -> Result<T, Box<Problem>> {
    tokio::spawn(work).await.unwrap_or_else(|e| {
        Err(Problem::new("internal", 500, format!("the work broke off: {e}")).fix("see the node's log"))
    })
}

/// Passes steps on to a client.
pub(super) type OnStep = Box<dyn Fn(Progress) + Send + Sync>;

/// Answers with the end alone, or with the steps before it.
pub(super) async fn answer<F, T>(
    headers: &HeaderMap,
    done: StatusCode,
    work: impl FnOnce(OnStep) -> F,
) -> Response
where
    F: Future<Output = Result<T, Box<Problem>>> + Send + 'static,
    T: serde::Serialize + Send + 'static,
{
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !accepts.contains(NDJSON) {
        return match whole(work(Box::new(|_| {}))).await {
            Ok(view) => (done, Json(view)).into_response(),
            Err(problem) => problem.into_response(),
        };
    }
    let (tell, mut told) = mpsc::channel::<Progress>(STEPS_WAITING_MAX);
    let on: OnStep = Box::new(move |progress| {
        // A client that is slow to read misses steps; the end is not among them.
        let _ = tell.try_send(progress);
    });
    let work = tokio::spawn(whole(work(on)));
    let (lines, stream) = mpsc::channel::<Vec<u8>>(1);
    tokio::spawn(async move {
        while let Some(progress) = told.recv().await {
            if lines.send(line(&Step::<T>::Progress(progress))).await.is_err() {
                return;
            }
        }
        let end = match work.await {
            Ok(Ok(view)) => Step::Done(view),
            Ok(Err(problem)) => Step::Refused(problem),
            Err(e) => Step::Refused(Problem::new("internal", 500, e.to_string())),
        };
        // Where the client has gone, nobody is left to be told.
        let _ = lines.send(line(&end)).await;
    });
    feed::lines(HttpBody::from_stream(ndjson(stream)))
}
