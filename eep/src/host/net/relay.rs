//! What becomes of peers while no instance is there to have them.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::host::Env;
use crate::host::net::connect::CONNECT_TIMEOUT;

/// What becomes of a peer that connects to a listener that is put aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// It waits, in the system's queue.
    #[default]
    Wait,
    /// Its connection is closed at once.
    Refuse,
    /// It is passed on to this address, unseen.
    PassOn(SocketAddr),
}

/// Passes a peer on until one of both sides ends, within the service's limit of connections.
pub(super) fn pass_on(env: &Rc<Env>, mut stream: TcpStream, to: SocketAddr) {
    let held = {
        let net = env.net.borrow();
        let room = Rc::strong_count(&net.passed_on) <= net.connections_max;
        // One descriptor for each side.
        let descriptors = room.then(|| net.descriptors.take().zip(net.descriptors.take())).flatten();
        descriptors.map(|descriptors| (descriptors, Rc::clone(&net.passed_on)))
    };
    let Some(held) = held else {
        env.figures.connections_refused.add(1);
        return;
    };
    env.figures.connections_passed_on.add(1);
    spawn_local(async move {
        let _held = held;
        if let Ok(Ok(mut other)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await {
            // However it ends, both sides are closed then.
            let _ = copy_bidirectional(&mut stream, &mut other).await;
        }
    });
}
