//! The process (`spec/proxy.md` 1 and 9): flags, files, signals, certificates, sockets.

use std::{
    fs, io::Write as _, net::SocketAddr, os::unix::net::UnixStream, path::Path, process::Command,
};

use nix::sys::signal::Signal;

use super::stand::{
    Backend, Proxy, Reply, TOKEN, Whose, all, ask, command, hear, ports, rest_request,
};
use crate::support::{PATIENCE, done, wait_until};

/// Output and exit code of a proxy that does not stay.
fn said(whose: Whose, flags: &[&str]) -> (Option<i32>, String) {
    let out = command(whose).args(flags).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    for whose in all() {
        for flags in [
            &["--prot", "1"][..],
            &["--nonsense"],
            &["--custom-header", "nocolon"],
            &["--error-target", "http://a", "--error-path", "/x"],
            &["--redirect-port", "80"],
            &["--socket", "/x", "--port", "1"],
            &["--ssl-key", "/nonexistent", "--ssl-cert", "/nonexistent"],
        ] {
            let (code, text) = said(whose, flags);
            assert_eq!(code, Some(1), "{whose:?} {flags:?}: {text}");
        }
        for flags in [["--version"], ["--help"]] {
            assert_eq!(said(whose, &flags).0, Some(0), "{whose:?} {flags:?}");
        }
    }
    for (flags, hint) in [
        (&["--prot", "1"][..], "--port"),
        (&["--api-tokn", "x"], "unexpected"),
        (&["--storage-backend", "x"], "memory"),
        (&["--ssl-key", "/nonexistent", "--ssl-cert", "/nonexistent"], "--ssl-cert /nonexistent"),
    ] {
        let (_, text) = said(Whose::Ours, flags);
        assert!(text.contains(hint), "{flags:?}: {text}");
    }
}

#[test]
fn it_says_where_it_is_and_leaves_nothing_behind() {
    for whose in all() {
        let backend = Backend::start("b");
        let mut proxy = Proxy::start(whose, &["--pid-file", "{dir}/pid"]);
        proxy.route("/", &backend.url(""));
        let pid = proxy.dir.path().join("pid");
        wait_until("there is a pid file", PATIENCE, || pid.exists());
        assert_eq!(fs::read_to_string(&pid).unwrap(), proxy.child.id().to_string(), "{whose:?}");
        let websocket = super::stand::upgrade(proxy.public, "/ws", "");
        proxy.signal(Signal::SIGTERM);
        // Theirs says 2. For whoever watches over processes an end that was asked for is none to repair.
        let code = if whose == Whose::Ours { 0 } else { 2 };
        assert_eq!(proxy.ended().code(), Some(code), "{whose:?}: {}", proxy.log());
        assert!(!pid.exists(), "{whose:?}");
        drop(websocket);
    }
    let mut proxy = Proxy::start(Whose::Ours, &[]);
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.ended().code(), Some(0));
    assert!(!proxy.log().contains(TOKEN), "{}", proxy.log());
}

#[test]
fn a_port_that_is_taken_is_said() {
    let first = Proxy::start(Whose::Ours, &[]);
    let [api] = ports();
    let port = first.public.port().to_string();
    let flags = ["--ip", "127.0.0.1", "--port", &port, "--api-port", &api.to_string()];
    let (code, text) = said(Whose::Ours, &flags);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
}

/// Keys and certificates: an authority, one for 127.0.0.1 by it, one for a client by it, one by nobody.
fn certificates(dir: &Path) {
    let script = "
        set -e
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -subj /CN=$1 \"${@:2}\"; }
        new ca -x509 -days 2 -out ca.crt -addext basicConstraints=critical,CA:TRUE
        new other -x509 -days 2 -out other.crt -addext subjectAltName=IP:127.0.0.1
        new server -out server.csr
        new client -out client.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext
        for who in server client; do
            openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out $who.crt -extfile ext
        done
        openssl pkey -aes256 -passout pass:x -in server.key -out locked.key
    ";
    done(&Command::new("bash").args(["-c", script]).current_dir(dir).output().unwrap());
}

/// `curl` with this authority; status and body.
fn curl(dir: &Path, args: &[&str]) -> (String, String) {
    let out = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            "--cacert",
            "ca.crt",
            "--write-out",
            "\n%{http_code}",
        ])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn all_sides_have_certificates() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    let (key, cert, ca) = (at("server.key"), at("server.crt"), at("ca.crt"));
    let backend = Backend::start("b");
    for whose in all() {
        // Behind it is another that asks for a certificate, in the place of a user server with internal TLS.
        let inner = Proxy::start(
            Whose::Ours,
            &[
                "--ssl-key",
                &key,
                "--ssl-cert",
                &cert,
                "--ssl-ca",
                &ca,
                "--ssl-request-cert",
                "--ssl-reject-unauthorized",
            ],
        );
        inner.route("/", &backend.url(""));
        let [redirect] = ports();
        let redirect = redirect.to_string();
        let (client_key, client_cert) = (at("client.key"), at("client.crt"));
        let outer = Proxy::start(
            whose,
            &[
                "--ssl-key",
                &key,
                "--ssl-cert",
                &cert,
                "--api-ssl-key",
                &key,
                "--api-ssl-cert",
                &cert,
                "--api-ssl-ca",
                &ca,
                "--api-ssl-request-cert",
                "--api-ssl-reject-unauthorized",
                "--client-ssl-key",
                &client_key,
                "--client-ssl-cert",
                &client_cert,
                "--client-ssl-ca",
                &ca,
                // Theirs needs a module for it that it doesn't load.
                if whose == Whose::Ours { "--redirect-port" } else { "--timeout" },
                &redirect,
            ],
        );
        // The API: not without a certificate, and then with the token.
        let api = format!("https://{}/api/routes/", outer.api);
        let token = format!("Authorization: token {TOKEN}");
        let id = ["--key", "client.key", "--cert", "client.crt"];
        let body = format!("{{\"target\":\"https://{}\"}}", inner.public);
        let post = [&["-H", &token, "-d", &body, &api][..]].concat();
        assert_eq!(curl(dir.path(), &post).0, "000", "{whose:?}");
        assert_eq!(curl(dir.path(), &[&id[..], &post].concat()).0, "201", "{whose:?}");
        let (status, told) = curl(dir.path(), &[&format!("https://{}/x", outer.public)]);
        assert_eq!(status, "200", "{whose:?} {told} {}", outer.log());
        assert!(told.contains("x-forwarded-proto: https,https"), "{whose:?} {told}");
        if whose == Whose::Ours {
            let at: SocketAddr = format!("127.0.0.1:{redirect}").parse().unwrap();
            let reply = ask(at, "GET /x?y HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n");
            let place = format!("https://a:{}/x?y", outer.public.port());
            assert_eq!((reply.status, reply.fields("location")), (301, vec![place]));
        }
    }
    // A target that nobody vouches for is not believed, unless it is to be.
    let other =
        Proxy::start(Whose::Ours, &["--ssl-key", &at("other.key"), "--ssl-cert", &at("other.crt")]);
    other.route("/", &backend.url(""));
    for (flags, status) in
        [(&["--client-ssl-ca", &*ca][..], 503), (&[], 503), (&["--insecure"], 200)]
    {
        let proxy = Proxy::start(Whose::Ours, flags);
        proxy.route("/", &format!("https://{}", other.public));
        assert_eq!(proxy.get("/x", "").status, status, "{flags:?}");
    }
    let (code, text) = said(Whose::Ours, &["--ssl-key", &at("locked.key"), "--ssl-cert", &cert]);
    assert!(code == Some(1) && text.contains("encrypted"), "{text}");
}

#[test]
fn a_new_certificate_is_read_by_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let files = tempfile::tempdir().unwrap();
    let put = |from: &str| {
        for end in ["key", "crt"] {
            fs::copy(dir.path().join(format!("{from}.{end}")), files.path().join(end)).unwrap();
        }
    };
    put("other");
    let proxy =
        Proxy::start_in(Whose::Ours, &["--ssl-key", "{dir}/key", "--ssl-cert", "{dir}/crt"], files);
    let files = proxy.dir.path();
    let trusted =
        || curl(dir.path(), &[&format!("https://{}/_chp_healthz", proxy.public)]).0 == "200";
    assert!(!trusted());
    // What cannot be used changes nothing.
    fs::write(files.join("crt"), "nonsense").unwrap();
    proxy.signal(Signal::SIGHUP);
    wait_until("the old one is kept", PATIENCE, || proxy.log().contains("certificate kept"));
    for end in ["key", "crt"] {
        fs::copy(dir.path().join(format!("server.{end}")), files.join(end)).unwrap();
    }
    proxy.signal(Signal::SIGHUP);
    wait_until("the new one is shown", PATIENCE, trusted);
}

#[test]
fn sockets_in_the_place_of_ports() {
    for whose in all() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        // What a proxy before has left behind is no hindrance to ours.
        if whose == Whose::Ours {
            drop(std::os::unix::net::UnixListener::bind(at("api")).unwrap());
        }
        let mut child = command(whose)
            .arg("--socket")
            .arg(at("public"))
            .arg("--api-socket")
            .arg(at("api"))
            .env("CONFIGPROXY_AUTH_TOKEN", TOKEN)
            .spawn()
            .unwrap();
        wait_until("both sockets are there", PATIENCE, || {
            ["public", "api"].iter().all(|name| UnixStream::connect(at(name)).is_ok())
        });
        let tell = |name: &str, request: &str| {
            let mut stream = UnixStream::connect(at(name)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            Reply::read(&hear(&mut stream))
        };
        let backend = Backend::start("b");
        let body = format!("{{\"target\":\"{}\"}}", backend.url(""));
        let request = rest_request(&format!("token {TOKEN}"), "POST", "/api/routes/a", &body);
        assert_eq!(tell("api", &request).status, 201, "{whose:?}");
        let reply = tell("public", "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(reply.status, 200, "{whose:?} {reply:?}");
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        child.wait().unwrap();
        if whose == Whose::Ours {
            assert!(!at("public").exists() && !at("api").exists());
        }
    }
}
