//! `/v1/placements`: services that this node has placed on others.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::api::body::Body;
use crate::api::services::{OnStep, answer, whole};
use crate::config::web::Web;
use crate::node::Node;
use crate::node::placement::{PlaceRequest, PlacedStatus, PlacementList, PlacementView};
use crate::node::progress::Step;
use crate::node::web::WebView;
use crate::problem::Problem;

/// All services that this node has placed.
#[utoipa::path(get, path = "/v1/placements", tag = "placements", responses((status = 200, body = PlacementList)))]
pub(super) async fn list(State(node): State<Arc<Node>>) -> Result<Json<PlacementList>, Box<Problem>> {
    node.placements().map(Json)
}

/// Place: fetch a proxylet, verify it, and have another node run it. Answered once it runs there and that is on disk here.
#[utoipa::path(post, path = "/v1/placements", tag = "placements", request_body = PlaceRequest,
    responses(
        (status = 201, body = PlacementView, description = "It runs"),
        (status = 200, body = Step<PlacementView>, content_type = "application/x-ndjson", description = "Its steps, for a client that accepts them"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Refused; nothing was changed"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "Failed; nothing was changed")))]
pub(super) async fn place(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    Body(request): Body<PlaceRequest>,
) -> Response {
    let work = async move |on: OnStep| node.place(&request, &on).await;
    answer(&headers, StatusCode::CREATED, work).await
}

/// Place a web: several services, all of them or none. It is unloaded by its name, as a service is.
#[utoipa::path(post, path = "/v1/webs", tag = "placements", request_body = Web,
    responses(
        (status = 201, body = WebView, description = "All of it runs"),
        (status = 200, body = Step<WebView>, content_type = "application/x-ndjson", description = "Its steps, for a client that accepts them"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Refused; nothing was changed"),
        (status = "5XX", body = Problem, content_type = "application/problem+json", description = "Failed; nothing was changed")))]
pub(super) async fn place_web(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    Body(web): Body<Web>,
) -> Response {
    let work = async move |on: OnStep| node.place_web(&web, &on).await;
    answer(&headers, StatusCode::CREATED, work).await
}

/// A placed service, or all those of a web, as the nodes that run them say they are.
#[utoipa::path(get, path = "/v1/placements/{name}", tag = "placements",
    params(("name" = String, Path, description = "The service's name, or the web's")),
    responses((status = 200, body = PlacedStatus), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn view(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
) -> Result<Json<PlacedStatus>, Box<Problem>> {
    node.placed_status(&name).await.map(Json)
}

/// Have a placed service stopped and forgotten.
#[utoipa::path(delete, path = "/v1/placements/{name}", tag = "placements",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 204, description = "It is gone"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn withdraw(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Box<Problem>> {
    whole(async move { node.withdraw(&name).await }).await.map(|()| StatusCode::NO_CONTENT)
}
