//! Where visitors come in: sockets for the workers, or one Unix socket on the main thread.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    net::{TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::{interval, sleep},
};
use tracing::warn;

use super::{
    doors::{self, Socketed},
    flags::Flags,
};
use crate::proxy::{
    drain::{Phase, reached},
    guard::Notes,
    listen::most_connections,
    pool,
    serve::serve,
    shared::Shared,
    workers::Workers,
};

/// Wait after an accept that failed for want of something.
const BREATHER: Duration = Duration::from_millis(100);
/// How often pools are swept.
const SWEEP: Duration = Duration::from_secs(2);

/// Opens what visitors come to, which is served once the phase is `Open`. Gives back the workers (none for a Unix socket)
/// and where it is; why not, in words.
pub(super) fn open(flags: &Flags, shared: &Arc<Shared>) -> Result<(Workers, String), String> {
    let mut workers = Workers::new(shared, most_connections());
    if let Some(path) = &flags.socket {
        let place = path.display().to_string();
        let socketed =
            doors::listen_unix(path).map_err(|error| format!("--socket {place}: {error}"))?;
        drop(tokio::spawn(accept(shared.clone(), socketed)));
        return Ok((workers, place));
    }
    let place = format!("{}:{}", flags.ip, flags.port);
    let count = available_parallelism().map_or(1, usize::from);
    let listeners = listeners(flags, count).map_err(|error| format!("--port: {place}: {error}"))?;
    workers.arrange(listeners, count).map_err(|error| format!("no workers: {error}"))?;
    Ok((workers, place))
}

/// So many sockets at the public address.
fn listeners(flags: &Flags, count: usize) -> io::Result<Vec<TcpListener>> {
    // First alone: is somebody else there? With shared ports nobody would notice.
    drop(doors::listen(&flags.ip, flags.port, false)?);
    (0..count).map(|_| doors::listen(&flags.ip, flags.port, true)).collect()
}

/// Lets in who comes to a Unix socket, until we leave. They count as coming from this machine.
async fn accept(shared: Arc<Shared>, socketed: Socketed) {
    let mut phase = shared.phase.subscribe();
    reached(&mut phase, Phase::Open).await;
    let listener = socketed.listener.try_clone().and_then(UnixListener::from_std);
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "listener unusable"),
    };
    let room = Arc::new(Semaphore::new(most_connections()));
    let mut sweep = interval(SWEEP);
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            _ = reached(&mut phase, Phase::Retiring) => return,
            _ = sweep.tick() => {
                pool::sweep();
                continue;
            }
            next = next => next,
        };
        let Some(permit) = permit else { return };
        match accepted.and_then(|(unix, _)| as_tcp(unix)) {
            Ok(stream) => {
                let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let notes = Notes::new(permit, None, shared.crowd.enter());
                drop(tokio::spawn(serve(shared.clone(), stream, here, false, notes)));
            }
            Err(error) => {
                warn!(%error, "cannot accept");
                sleep(BREATHER).await;
            }
        }
    }
}

/// A connection is a descriptor that reads and writes: what TCP alone has (its options) fails, and is not needed.
fn as_tcp(unix: UnixStream) -> io::Result<TcpStream> {
    let fd = OwnedFd::from(unix.into_std()?);
    TcpStream::from_std(std::net::TcpStream::from(fd))
}
