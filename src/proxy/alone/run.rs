//! The life of a proxy that stands alone.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Incoming;
use jovis_actors::domain::{Route, RouteSpec, Seconds};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

use super::{
    Alone, Counts, Errors, Rules,
    api::Api,
    doors::{self, Door},
    files::{self, PidFile},
    flags::{self, Flags, Said},
    public, redirect,
    tls::{Offer, Side},
};
use crate::{
    config::sections::{self, Log},
    fetch::trust::Trust,
    os::process,
    proxy::{activity::now_ms, drain::Phase, settings::Settings, shared::Shared},
    telemetry::logs::{self, Output},
};

/// What is in hand may finish for so long when we are told to end.
const DRAIN: Duration = Duration::from_secs(2);
/// Longest time the last lines of the log may take.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the workers are looked after.
const ROUNDS: Duration = Duration::from_millis(250);
/// Networks that are believed where no `--trusted-proxy` is named: those that nobody reaches from elsewhere.
const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"];

/// The command, from its arguments (the program's name first) to its end. It exits with 0 when it is told to end, with 1
/// where it cannot begin.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::parse_from_args(args) {
        Ok(flags) => flags,
        Err(Said { text, asked: true }) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Said { text, asked: false }) => {
            eprint!("{text}");
            return ExitCode::FAILURE;
        }
    };
    process::settle("jovis-proxy");
    let log = Log { level: flags.level(), ..Log::default() };
    let handle = logs::init("proxy", &log, Output::Stderr).ok();
    let outcome = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
        .and_then(|runtime| runtime.block_on(run(&flags)));
    if let Err(error) = &outcome {
        error!(%error, "proxy cannot stand alone");
    }
    if let Some(handle) = handle {
        handle.flush(FLUSH);
    }
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Tls = Arc<ArcSwapOption<TlsAcceptor>>;

/// What has a certificate, and where its acceptor is.
struct Certified {
    side: Side,
    into: Box<dyn Fn(TlsAcceptor)>,
}

async fn run(flags: &Flags) -> Result<(), String> {
    let mut hangup = caught(SignalKind::hangup())?;
    let mut terminate = caught(SignalKind::terminate())?;
    let mut interrupt = caught(SignalKind::interrupt())?;
    let shared = shared(flags)?;
    let token = flags::token();
    if token.is_none() {
        warn!("rest api without token");
    }
    if flags.ssl_dhparam.is_some() {
        warn!(flag = "--ssl-dhparam", "flag without effect");
    }
    let api_tls = Tls::default();
    let certified = certified(flags, &shared, &api_tls);
    for one in &certified {
        (one.into)(one.side.acceptor()?);
    }
    let mut doors = JoinSet::new();
    let (api_at, door) =
        door_at("--api-port", flags.api_socket.as_ref(), &flags.api_ip, flags.port_of_api())?;
    let api = Arc::new(Api::new(shared.clone(), token, flags.host_routing));
    doors.spawn(doors::serve(door, api_tls, move |request| {
        let api = api.clone();
        async move { api.answer(request).await }
    }));
    if flags.metrics_port.is_some() || flags.metrics_socket.is_some() {
        let port = flags.metrics_port.unwrap_or_default();
        let (_, door) =
            door_at("--metrics-port", flags.metrics_socket.as_ref(), &flags.metrics_ip, port)?;
        let shared = shared.clone();
        doors.spawn(doors::serve(door, Tls::default(), move |request: Request<Incoming>| {
            let reply = metrics(&shared, request.uri().path());
            async { reply }
        }));
    }
    if let Some(port) = flags.redirect_port.filter(|_| flags.socket.is_none() && flags.port != 80) {
        let (_, door) = door_at("--redirect-port", None, &flags.ip, port)?;
        let to = flags.redirect_to.unwrap_or(flags.port);
        doors.spawn(doors::serve(door, Tls::default(), move |request: Request<Incoming>| {
            let reply = redirect::answer(&request, to);
            async { reply }
        }));
    }
    let (workers, public) = public::open(flags, &shared)?;
    let pid_file = flags.pid_file.as_ref().map(|path| {
        PidFile::write(path).map_err(|error| format!("--pid-file {}: {error}", path.display()))
    });
    let pid_file = pid_file.transpose()?;
    shared.phase.send_replace(Phase::Open);
    info!(public, api = api_at, "proxy stands alone");
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => reload(&certified),
            () = sleep(ROUNDS) => if workers.any_ended() {
                break Err("a worker has ended".to_owned());
            },
            Some(_) = doors.join_next() => break Err("a listener has ended".to_owned()),
        }
    };
    drop(doors);
    let connections = shared.crowd.count();
    info!(connections, limit_s = DRAIN.as_secs(), "proxy draining");
    shared.phase.send_replace(Phase::Draining);
    tokio::select! {
        remaining = shared.crowd.left(Instant::now() + DRAIN) => info!(remaining, "proxy drained"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shared.phase.send_replace(Phase::Gone);
    workers.join();
    drop(pid_file);
    info!("proxy ended");
    ended
}

fn caught(kind: SignalKind) -> Result<tokio::signal::unix::Signal, String> {
    signal(kind).map_err(|error| format!("no signals: {error}"))
}

/// The state, with its first routes.
fn shared(flags: &Flags) -> Result<Arc<Shared>, String> {
    let trusted: Vec<String> = if flags.trusted_proxy.is_empty() {
        PRIVATE.map(str::to_owned).into()
    } else {
        flags.trusted_proxy.clone()
    };
    let seconds = |ms: u64| Seconds::try_from(Duration::from_millis(ms).as_secs_f64());
    let section = sections::Proxy {
        keep_alive_timeout: seconds(flags.keep_alive_timeout)
            .map_err(|error| format!("--keep-alive-timeout: {error}"))?,
        trusted_proxies: trusted,
        ..sections::Proxy::default()
    };
    let mut settings = Settings::new(&section);
    settings.proxy_timeout = flags.proxy_timeout.filter(|ms| *ms > 0).map(Duration::from_millis);
    settings.visitor_silence = flags.timeout.filter(|ms| *ms > 0).map(Duration::from_millis);
    if let Some(silence) = settings.visitor_silence {
        settings.body_timeout = settings.body_timeout.min(silence);
    }
    // There is no hub: nothing leads to this socket.
    let shared = Shared::new(PathBuf::new(), settings, None);
    let root =
        |target: &str| Route { spec: RouteSpec::new("/"), target: target.to_owned(), server: None };
    if let Some(target) = &flags.default_target {
        shared.routes.store(root(target), "", now_ms());
    }
    let errors = match (&flags.error_target, &flags.error_path) {
        (Some(target), _) => Errors::Target(Arc::new(shared.routes.apart(root(target)))),
        (None, Some(folder)) => Errors::Folder(folder.clone()),
        (None, None) => Errors::Own,
    };
    let rules = Rules {
        x_forward: !flags.no_x_forward,
        prepend_path: !flags.no_prepend_path,
        include_prefix: !flags.no_include_prefix,
        auto_rewrite: flags.auto_rewrite,
        change_origin: flags.change_origin,
        protocol_rewrite: flags.protocol_rewrite.clone(),
        custom: flags.custom_headers(),
    };
    let _ = shared.alone.set(Alone { rules, errors, counts: Counts::default() });
    if flags.client_ssl_cert.is_some() || flags.client_ssl_ca.is_some() || flags.insecure {
        let config = trust(flags)?.config().map_err(|error| format!("--client-ssl-…: {error}"))?;
        shared.upstream_tls.store(Some(config));
    }
    Ok(shared)
}

/// Whom we believe, and who we are, towards https targets.
fn trust(flags: &Flags) -> Result<Trust, String> {
    let authorities = match &flags.client_ssl_ca {
        Some(path) => files::read("--client-ssl-ca", path)?,
        None => Vec::new(),
    };
    let identity = match &flags.client_ssl_cert {
        None => None,
        Some(cert) => {
            let chain = files::read("--client-ssl-cert", cert)?;
            let key = flags.client_ssl_key.as_ref().unwrap_or(cert);
            Some((chain, files::read_secret("--client-ssl-key", key)?))
        }
    };
    Ok(Trust { authorities, identity, unverified: flags.insecure })
}

/// Both sides that may have certificates.
fn certified(flags: &Flags, shared: &Arc<Shared>, api: &Tls) -> Vec<Certified> {
    let offer = Offer { protocol: flags.ssl_protocol.clone(), ciphers: flags.ssl_ciphers.clone() };
    let mut all = Vec::new();
    if let Some(cert) = flags.ssl_cert.clone() {
        let side = Side {
            flags: "ssl",
            cert,
            key: flags.ssl_key.clone(),
            ca: flags.ssl_ca.clone(),
            request: flags.ssl_request_cert,
            reject: flags.ssl_reject_unauthorized,
            offer: offer.clone(),
            alpn: &["h2", "http/1.1"],
        };
        let shared = shared.clone();
        let into = Box::new(move |tls| shared.tls.store(Some(Arc::new(tls))));
        all.push(Certified { side, into });
    }
    if let Some(cert) = flags.api_ssl_cert.clone() {
        let side = Side {
            flags: "api-ssl",
            cert,
            key: flags.api_ssl_key.clone(),
            ca: flags.api_ssl_ca.clone(),
            request: flags.api_ssl_request_cert,
            reject: flags.api_ssl_reject_unauthorized,
            offer,
            alpn: &["http/1.1"],
        };
        let api = api.clone();
        all.push(Certified { side, into: Box::new(move |tls| api.store(Some(Arc::new(tls)))) });
    }
    all
}

/// Reads all certificates again; where one cannot be used the old one stays.
fn reload(certified: &[Certified]) {
    for one in certified {
        match one.side.acceptor() {
            Ok(acceptor) => {
                (one.into)(acceptor);
                info!(flag = %format_args!("--{}-cert", one.side.flags), "certificate read again");
            }
            Err(error) => error!(error, "certificate kept"),
        }
    }
}

/// A listener beside the public one, and where it is.
fn door_at(
    flag: &str,
    socket: Option<&PathBuf>,
    host: &str,
    port: u16,
) -> Result<(String, Door), String> {
    let place = socket.map_or_else(|| format!("{host}:{port}"), |path| path.display().to_string());
    let door = Door::open(socket.map(PathBuf::as_path), host, port);
    door.map(|door| (place.clone(), door)).map_err(|error| format!("{flag}: {place}: {error}"))
}

fn metrics(shared: &Shared, path: &str) -> Response<Full<Bytes>> {
    let text = shared.alone.get().filter(|_| path == "/metrics").map(|it| it.counts.encode());
    let Some(text) = text else {
        let mut response = Response::new(Full::from("Not Found"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(Full::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
