//! An OCI registry on a loopback port: what pushing and pulling need of the distribution specification (1.1), kept in
//! memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;

use crate::node::digest;

/// A registry; it ends with the test's process.
pub(crate) struct Registry {
    address: SocketAddr,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The one who may; everybody where there is nobody.
    user: Option<String>,
    /// By `sha256:DIGEST`.
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    /// By `NAME/REFERENCE`.
    manifests: Mutex<HashMap<String, (String, Vec<u8>)>>,
    upload: Mutex<Vec<u8>>,
    /// Whether anybody has said who they are.
    told: AtomicBool,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::serve(Kept::default())
    }

    /// One that lets nobody in but this user.
    pub(crate) fn of_user(name: &str, password: &str) -> Self {
        let user = Some(format!("Basic {}", BASE64.encode(format!("{name}:{password}").as_bytes())));
        Self::serve(Kept { user, ..Kept::default() })
    }

    fn serve(kept: Kept) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, kept) = (listener.local_addr().unwrap(), Arc::new(kept));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { address, kept }
    }

    pub(crate) fn image(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn was_told_a_password(&self) -> bool {
        self.kept.told.load(Relaxed)
    }

    /// Puts a manifest there as it is.
    pub(crate) fn put(&self, image: &str, kind: &str, manifest: &[u8]) {
        let entry = (kind.to_owned(), manifest.to_vec());
        self.kept.manifests.lock().unwrap().insert(image.to_owned(), entry);
    }

    /// Changes the bytes of every blob of this length, and not the digests that they have.
    pub(crate) fn damage(&self, len: usize) {
        for blob in self.kept.blobs.lock().unwrap().values_mut().filter(|blob| blob.len() == len) {
            blob[len / 2] ^= 1;
        }
    }
}

async fn answer(
    State(kept): State<Arc<Kept>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    kept.told.fetch_or(headers.contains_key(header::AUTHORIZATION), Relaxed);
    let allowed =
        |user: &String| headers.get(header::AUTHORIZATION).is_some_and(|given| given == user.as_str());
    if !kept.user.as_ref().is_none_or(allowed) {
        let realm = [(header::WWW_AUTHENTICATE, "Basic realm=\"registry\"")];
        return (StatusCode::UNAUTHORIZED, realm).into_response();
    }
    let path = uri.path().strip_prefix("/v2/").unwrap_or_default();
    if path.is_empty() {
        return StatusCode::OK.into_response();
    }
    if let Some((name, rest)) = path.split_once("/blobs/") {
        return blob(&kept, &method, name, rest, uri.query().unwrap_or_default(), &body);
    }
    let Some((name, reference)) = path.split_once("/manifests/") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut manifests = kept.manifests.lock().unwrap();
    if method == Method::PUT {
        let kind = headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let by_digest = format!("sha256:{}", digest(&body));
        for reference in [reference, &by_digest] {
            manifests.insert(format!("{name}/{reference}"), (kind.clone(), body.to_vec()));
        }
        let location = [(header::LOCATION, format!("/v2/{name}/manifests/{by_digest}"))];
        return (StatusCode::CREATED, location).into_response();
    }
    match manifests.get(&format!("{name}/{reference}")) {
        Some((kind, manifest)) => ([(header::CONTENT_TYPE, kind.clone())], manifest.clone()).into_response(),
        None => {
            let words = r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}"#;
            (StatusCode::NOT_FOUND, words).into_response()
        }
    }
}

fn blob(kept: &Kept, method: &Method, name: &str, rest: &str, query: &str, body: &[u8]) -> Response {
    let (mut blobs, mut upload) = (kept.blobs.lock().unwrap(), kept.upload.lock().unwrap());
    let at = |status: StatusCode, place: String| (status, [(header::LOCATION, place)]).into_response();
    match method.as_str() {
        "POST" => {
            upload.clear();
            at(StatusCode::ACCEPTED, format!("/v2/{name}/blobs/uploads/1"))
        }
        "PATCH" => {
            upload.extend_from_slice(body);
            at(StatusCode::ACCEPTED, format!("/v2/{name}/blobs/uploads/1"))
        }
        "PUT" => {
            upload.extend_from_slice(body);
            let wanted = query.strip_prefix("digest=").unwrap().replace("%3A", ":");
            if wanted != format!("sha256:{}", digest(&upload)) {
                return StatusCode::BAD_REQUEST.into_response();
            }
            blobs.insert(wanted.clone(), std::mem::take(&mut *upload));
            at(StatusCode::CREATED, format!("/v2/{name}/blobs/{wanted}"))
        }
        _ => match blobs.get(rest) {
            Some(blob) => blob.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}
