//! Where the API is served: the control socket in the data directory, and a loopback address.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::middleware;
use tokio::net::{TcpListener, UnixListener};

use crate::api::bounded::Bounded;
use crate::api::{guard, router};
use crate::node::Node;
use crate::problem::Problem;
use crate::state::directory::control_socket;

/// The longest path that a Unix socket can have on Linux, in bytes (unix(7), less the closing zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The places where the API is about to be served.
#[derive(Debug)]
pub struct Listening {
    unix: UnixListener,
    socket: PathBuf,
    tcp: TcpListener,
}

impl Listening {
    /// Opens the control socket of a data directory (mode 0600) and a TCP address. The directory's lock is held by
    /// the caller, so that a socket which is there is a dead node's.
    ///
    /// # Errors
    /// An address in use, or a directory that cannot be written.
    pub async fn open(directory: &Path, address: SocketAddr) -> Result<Self, Box<Problem>> {
        let tcp = TcpListener::bind(address).await.map_err(|e| {
            let fix = match e.kind() {
                std::io::ErrorKind::AddrInUse => "another program has this port: choose another with --api 127.0.0.1:PORT, or port 0 for any",
                _ => "choose another address with --api 127.0.0.1:PORT",
            };
            Problem::new("api-address", 500, format!("the API cannot be served: {e}")).at(address.to_string()).fix(fix)
        })?;
        let socket = control_socket(directory);
        let unix = bind_private(&socket)?;
        Ok(Self { unix, socket, tcp })
    }

    /// The TCP address; the port is the one that the system chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Serves until the node ends and the last answer is given.
    ///
    /// # Errors
    /// The system no longer lets connections be accepted.
    pub async fn serve(self, node: Arc<Node>) -> std::io::Result<()> {
        let app = router(Arc::clone(&node));
        let guarded = app.clone().layer(middleware::from_fn(guard::guard));
        let ended = |node: &Arc<Node>| {
            let mut ending = node.ending();
            async move {
                // Where the node is gone it has ended.
                let _ = ending.wait_for(|ending| *ending).await;
            }
        };
        let unix = axum::serve(Bounded::new(self.unix), app).with_graceful_shutdown(ended(&node));
        let tcp = axum::serve(Bounded::new(self.tcp), guarded).with_graceful_shutdown(ended(&node));
        let served = tokio::try_join!(async { unix.await }, async { tcp.await }).map(|_| ());
        // A dead socket would only puzzle the next `eep list`.
        let _ = fs::remove_file(&self.socket);
        served
    }
}

/// Binds under another name, closes the socket to others, and only then gives it its name.
fn bind_private(socket: &Path) -> Result<UnixListener, Box<Problem>> {
    let refuse = |e: std::io::Error| {
        Problem::new("control-socket", 500, format!("the control socket cannot be made: {e}"))
            .at(socket.display().to_string())
            .fix("let this user write there, or choose another directory with --data DIR")
    };
    let new = socket.with_extension("new");
    if new.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(Problem::new("control-socket", 500, "the path of the control socket is too long")
            .at(socket.display().to_string())
            .fix("choose a data directory with a shorter path with --data DIR"));
    }
    match fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(refuse(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(refuse)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&new, socket))
        .map_err(refuse)?;
    Ok(listener)
}
