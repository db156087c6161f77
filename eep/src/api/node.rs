//! `/v1/node`, `/metrics`, `/healthz`: the node itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::node::Node;
use crate::node::view::NodeView;
use crate::observe::prometheus::CONTENT_TYPE;

/// The node itself.
#[utoipa::path(get, path = "/v1/node", tag = "node", responses((status = 200, body = NodeView)))]
pub(super) async fn info(State(node): State<Arc<Node>>) -> Json<NodeView> {
    Json(node.info())
}

/// Figures of the node and of all services, in the text format of OpenMetrics, which Prometheus reads.
#[utoipa::path(get, path = "/metrics", tag = "node", responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], node.metrics().await)
}

/// Whether the node answers.
#[utoipa::path(get, path = "/healthz", tag = "node", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}
