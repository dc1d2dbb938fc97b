//! The command line of configurable-http-proxy 5.3 (`spec/proxy.md` 9), read as it reads it; and what it cannot mean here.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::{Parser, error::ErrorKind};
use http::{HeaderName, HeaderValue};

use crate::proxy::settings::is_network;

/// Where the token of the REST API is.
const TOKEN: &str = "CONFIGPROXY_AUTH_TOKEN";

/// All flags. What each does here stands in docs/how-to/replace-configurable-http-proxy.md.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "jovis proxy",
    bin_name = "jovis proxy",
    version,
    about = "A proxy whose routes are managed over REST, with the command line of configurable-http-proxy",
    after_help = "The token of the REST API is read from CONFIGPROXY_AUTH_TOKEN.",
    args_override_self = true
)]
pub(super) struct Flags {
    /// Public address to listen on; empty or *: all.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) ip: String,
    /// Public port.
    #[arg(long, default_value_t = 8000)]
    pub(super) port: u16,
    /// Unix socket to listen on, instead of address and port.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["ip", "port"])]
    pub(super) socket: Option<PathBuf>,
    /// Private key of the public side, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) ssl_key: Option<PathBuf>,
    /// Certificate chain of the public side, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) ssl_cert: Option<PathBuf>,
    /// Authorities of visitors' certificates, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) ssl_ca: Option<PathBuf>,
    /// Ask visitors for a certificate.
    #[arg(long)]
    pub(super) ssl_request_cert: bool,
    /// Refuse visitors without one.
    #[arg(long)]
    pub(super) ssl_reject_unauthorized: bool,
    /// TLSv1_2 or TLSv1_3, and no other.
    #[arg(long, value_name = "PROTOCOL")]
    pub(super) ssl_protocol: Option<String>,
    /// TLS 1.2 suites to offer, by OpenSSL's names, with colons between them.
    #[arg(long, value_name = "LIST")]
    pub(super) ssl_ciphers: Option<String>,
    /// Refused: nobody offers RC4 any more.
    #[arg(long, hide = true)]
    ssl_allow_rc4: bool,
    /// Without effect: no suite with finite fields is offered.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) ssl_dhparam: Option<PathBuf>,
    /// Address of the REST API.
    #[arg(long, value_name = "IP", default_value = "localhost")]
    pub(super) api_ip: String,
    /// Port of the REST API; as a rule the public one and 1.
    #[arg(long, value_name = "PORT")]
    pub(super) api_port: Option<u16>,
    /// Unix socket of the REST API, instead of address and port.
    #[arg(long, value_name = "PATH", conflicts_with = "api_port")]
    pub(super) api_socket: Option<PathBuf>,
    /// Private key of the REST API, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) api_ssl_key: Option<PathBuf>,
    /// Certificate chain of the REST API, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) api_ssl_cert: Option<PathBuf>,
    /// Authorities of the certificates of who uses the REST API, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) api_ssl_ca: Option<PathBuf>,
    /// Ask who uses the REST API for a certificate.
    #[arg(long)]
    pub(super) api_ssl_request_cert: bool,
    /// Refuse those without one.
    #[arg(long)]
    pub(super) api_ssl_reject_unauthorized: bool,
    /// Our private key towards https targets, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) client_ssl_key: Option<PathBuf>,
    /// Our certificate chain towards https targets, PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) client_ssl_cert: Option<PathBuf>,
    /// Authorities of https targets, PEM; without it the system's.
    #[arg(long, value_name = "FILE")]
    pub(super) client_ssl_ca: Option<PathBuf>,
    /// Without effect: https targets always show a certificate.
    #[arg(long, hide = true)]
    client_ssl_request_cert: bool,
    /// Without effect: https targets are always verified, but for --insecure.
    #[arg(long, hide = true)]
    client_ssl_reject_unauthorized: bool,
    /// Target of the route /.
    #[arg(long, value_name = "URL")]
    pub(super) default_target: Option<String>,
    /// Who has pages for errors: URL/CODE?url=… is asked.
    #[arg(long, value_name = "URL", conflicts_with = "error_path")]
    pub(super) error_target: Option<String>,
    /// Folder with pages for errors: CODE.html, or else error.html.
    #[arg(long, value_name = "FOLDER")]
    pub(super) error_path: Option<PathBuf>,
    /// Port where plain HTTP is sent on to HTTPS.
    #[arg(long, value_name = "PORT")]
    pub(super) redirect_port: Option<u16>,
    /// Port it is sent on to; as a rule the public one.
    #[arg(long, value_name = "PORT", requires = "redirect_port")]
    pub(super) redirect_to: Option<u16>,
    /// File for the number of our process.
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Add no X-Forwarded-… to requests.
    #[arg(long)]
    pub(super) no_x_forward: bool,
    /// Do not put a target's path before a request's.
    #[arg(long)]
    pub(super) no_prepend_path: bool,
    /// Cut the route's prefix off requests.
    #[arg(long)]
    pub(super) no_include_prefix: bool,
    /// Rewrite redirections of a target to itself.
    #[arg(long)]
    pub(super) auto_rewrite: bool,
    /// Tell each target its own name as Host.
    #[arg(long)]
    pub(super) change_origin: bool,
    /// Scheme to rewrite in redirections of a target to itself.
    #[arg(long, value_name = "SCHEME", value_parser = ["http", "https"])]
    pub(super) protocol_rewrite: Option<String>,
    /// 'Name: value' for requests; may be given several times.
    #[arg(long, value_name = "FIELD", value_parser = field)]
    custom_header: Vec<(HeaderName, HeaderValue)>,
    /// Believe https targets whatever certificate they show.
    #[arg(long)]
    pub(super) insecure: bool,
    /// Routes begin with a host: /host/path.
    #[arg(long)]
    pub(super) host_routing: bool,
    /// Address of the metrics; empty: all.
    #[arg(long, value_name = "IP", default_value = "", hide_default_value = true)]
    pub(super) metrics_ip: String,
    /// Port of the metrics; without it there are none.
    #[arg(long, value_name = "PORT")]
    pub(super) metrics_port: Option<u16>,
    /// Unix socket of the metrics, instead of address and port.
    #[arg(long, value_name = "PATH", conflicts_with = "metrics_port")]
    pub(super) metrics_socket: Option<PathBuf>,
    /// debug, info, warn or error.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: String,
    /// Milliseconds of silence after which a visitor is cut off.
    #[arg(long, value_name = "MS")]
    pub(super) timeout: Option<u64>,
    /// Milliseconds of silence after which a target is given up.
    #[arg(long, value_name = "MS")]
    pub(super) proxy_timeout: Option<u64>,
    /// Milliseconds that a visitor's connection waits for its next request.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub(super) keep_alive_timeout: u64,
    /// Refused: routes are kept in memory, and the hub restores them.
    #[arg(long, value_name = "MODULE", hide = true)]
    storage_backend: Option<String>,
    /// Network whose X-Forwarded-… are believed, besides this machine; may be given several times. Without it: all private
    /// networks. (Not a flag of configurable-http-proxy, which believes everybody: 0.0.0.0/0 and ::/0.)
    #[arg(long, value_name = "NETWORK")]
    pub(super) trusted_proxy: Vec<String>,
}

/// What is said instead of running.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The words.
    pub(super) text: String,
    /// Were they asked for?
    pub(super) asked: bool,
}

impl Said {
    /// A refusal.
    pub(super) fn refusal(text: impl Into<String>) -> Self {
        Self { text: text.into(), asked: false }
    }
}

impl Flags {
    /// From the arguments, the program's name first.
    pub(super) fn parse_from_args(args: impl Iterator<Item = OsString>) -> Result<Self, Said> {
        let flags = Self::try_parse_from(args).map_err(|error| Said {
            text: error.to_string(),
            asked: matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion),
        })?;
        flags.check().map(|()| flags)
    }

    fn check(&self) -> Result<(), Said> {
        let no = |text: &str| Err(Said::refusal(format!("{text}\n")));
        if self.storage_backend.is_some() {
            return no("--storage-backend: routes are kept in memory only; a JupyterHub restores \
                       them within seconds when the proxy restarts. Leave it out.");
        }
        if self.ssl_allow_rc4 {
            return no("--ssl-allow-rc4: RC4 is broken and not offered. Leave it out.");
        }
        for (flag, key, cert) in [
            ("ssl", &self.ssl_key, &self.ssl_cert),
            ("api-ssl", &self.api_ssl_key, &self.api_ssl_cert),
            ("client-ssl", &self.client_ssl_key, &self.client_ssl_cert),
        ] {
            if key.is_some() && cert.is_none() {
                return no(&format!("--{flag}-key: it needs --{flag}-cert beside it."));
            }
        }
        if self.redirect_port.is_some() && self.ssl_cert.is_none() {
            return no("--redirect-port: there is no HTTPS to send anybody to without --ssl-key \
                       and --ssl-cert.");
        }
        if let Some(wrong) = self.trusted_proxy.iter().find(|text| !is_network(text)) {
            return no(&format!(
                "--trusted-proxy {wrong}: it is an address or a network, 10.0.0.0/8."
            ));
        }
        if !["trace", "debug", "info", "warn", "error"].contains(&&*self.level()) {
            return no("--log-level: it is debug, info, warn or error.");
        }
        Ok(())
    }

    /// The level of the log, in our words.
    pub(super) fn level(&self) -> String {
        self.log_level.to_ascii_lowercase()
    }

    /// Fields for requests; of several with one name the last counts.
    pub(super) fn custom_headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let last: BTreeMap<_, _> =
            self.custom_header.iter().map(|(name, value)| (name.as_str(), (name, value))).collect();
        last.into_values().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Port of the REST API.
    pub(super) fn port_of_api(&self) -> u16 {
        let usual = if self.socket.is_some() { 8001 } else { self.port.saturating_add(1) };
        self.api_port.unwrap_or(usual)
    }
}

/// The token of the REST API; none: everybody may use it.
pub(super) fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .filter(|(name, _)| !name.trim().is_empty())
        .ok_or("a colon is missing: 'Name: value'")?;
    let name = name.trim().parse::<HeaderName>().map_err(|_| "that is no name of a field")?;
    let framing = ["connection", "content-length", "transfer-encoding", "upgrade"];
    if framing.contains(&name.as_str()) {
        return Err(format!("{name} belongs to the connection and is the proxy's to set"));
    }
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "that is no value of a field")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Flags, Said> {
        let args = std::iter::once("jovis proxy").chain(args.iter().copied());
        Flags::parse_from_args(args.map(OsString::from))
    }

    #[test]
    fn what_a_jupyterhub_says_is_understood() {
        let flags = read(&[
            "--ip",
            "",
            "--port",
            "8000",
            "--api-ip",
            "127.0.0.1",
            "--api-port",
            "8001",
            "--error-target",
            "http://127.0.0.1:8081/hub/error",
            "--log-level",
            "info",
            "--host-routing",
            "--ssl-key",
            "k",
            "--ssl-cert",
            "c",
            "--api-ssl-key",
            "k",
            "--api-ssl-cert",
            "c",
            "--api-ssl-ca",
            "a",
            "--api-ssl-request-cert",
            "--api-ssl-reject-unauthorized",
            "--client-ssl-key",
            "k",
            "--client-ssl-cert",
            "c",
            "--client-ssl-ca",
            "a",
            "--client-ssl-request-cert",
            "--client-ssl-reject-unauthorized",
        ]);
        let flags = flags.unwrap();
        assert!(flags.host_routing && flags.api_ssl_reject_unauthorized);
        assert_eq!((flags.port, flags.port_of_api()), (8000, 8001));
    }

    #[test]
    fn the_last_of_several_counts() {
        let flags = read(&[
            "--port",
            "1",
            "--port=7",
            "--custom-header",
            "X-A: 1",
            "--custom-header= x-a : 2 ",
            "--custom-header",
            "B:c:d",
        ])
        .unwrap();
        assert_eq!((flags.port, flags.port_of_api()), (7, 8));
        let fields: Vec<_> = flags
            .custom_headers()
            .into_iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        assert_eq!(fields, ["b=c:d", "x-a=2"]);
        assert_eq!(read(&["--socket", "/x"]).unwrap().port_of_api(), 8001);
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_a_hint() {
        for (args, hint) in [
            (&["--prot", "1"][..], "--port"),
            (&["--api-prot=1"], "--api-port"),
            (&["--nonsense"], "unexpected argument"),
            (&["stray"], "unexpected argument"),
            (&["--port", "70000"], "70000"),
            (&["--custom-header", "x"], "colon"),
            (&["--custom-header", ": x"], "colon"),
            (&["--custom-header", "Content-Length: 1"], "proxy's"),
            (&["--error-target", "http://a", "--error-path", "/x"], "cannot be used with"),
            (&["--socket", "/x", "--port", "1"], "cannot be used with"),
            (&["--redirect-port", "80"], "--ssl-cert"),
            (&["--ssl-key", "k"], "--ssl-cert"),
            (&["--storage-backend", "x"], "memory"),
            (&["--ssl-allow-rc4"], "RC4"),
            (&["--protocol-rewrite", "gopher"], "https"),
            (&["--log-level", "loud"], "debug"),
            (&["--trusted-proxy", "::/0", "--trusted-proxy", "nginx"], "nginx"),
        ] {
            let said = read(args).unwrap_err();
            assert!(!said.asked && said.text.contains(hint), "{args:?}: {}", said.text);
        }
        assert!(read(&["--help"]).unwrap_err().asked && read(&["-V"]).unwrap_err().asked);
    }
}
