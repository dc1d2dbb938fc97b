//! What each role is told of the configuration, and which changes only a restart can bring.

use std::{io, os::fd::OwnedFd};

use super::{Secrets, sockets::Sockets};
use crate::{
    config::{
        Config,
        slice::{HubSlice, ProxySlice, ToWire},
    },
    os::fd,
};

/// The hub's slice, sealed.
pub(super) fn hub(
    config: &Config,
    secrets: &Secrets,
    sockets: &Sockets,
    privileged: bool,
) -> io::Result<OwnedFd> {
    let slice = HubSlice {
        hub: config.hub.clone(),
        auth: config.auth.clone(),
        spawner: config.spawner.clone(),
        root: config.root.clone(),
        log: config.log.clone(),
        cookie_secret: secrets.cookie_secret.clone(),
        api_url: sockets.api_url.clone(),
        tls: !secrets.certificate.is_empty(),
        privileged,
    };
    fd::sealed(&slice.to_wire())
}

/// The proxy's slice, sealed.
pub(super) fn proxy(config: &Config, secrets: &Secrets, sockets: &Sockets) -> io::Result<OwnedFd> {
    let slice = ProxySlice {
        proxy: config.proxy.clone(),
        log: config.log.clone(),
        base_url: config.hub.base_url.clone(),
        hub_socket: sockets.inner_path.to_string_lossy().into_owned(),
        certificate: secrets.certificate.clone(),
        key: secrets.key.clone(),
    };
    fd::sealed(&slice.to_wire())
}

/// Settings of root's own that differ and that only a restart of the whole can change.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let rows = [
        ("hub.ip", old.hub.ip != new.hub.ip),
        ("hub.port", old.hub.port != new.hub.port),
        ("hub.hub_ip", old.hub.hub_ip != new.hub.hub_ip),
        ("hub.hub_port", old.hub.hub_port != new.hub.hub_port),
        ("hub.hub_connect_ip", old.hub.hub_connect_ip != new.hub.hub_connect_ip),
        ("hub.base_url", old.hub.base_url != new.hub.base_url),
        ("hub.name", old.hub.name != new.hub.name),
        ("hub.state_dir", old.hub.state_dir != new.hub.state_dir),
        ("proxy.sockets", old.proxy.sockets != new.proxy.sockets),
        ("root.hub_user", old.root.hub_user != new.root.hub_user),
        ("root.proxy_user", old.root.proxy_user != new.root.proxy_user),
        ("log", old.log != new.log),
    ];
    rows.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
