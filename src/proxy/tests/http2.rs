//! HTTP/2 from browsers (RFC 9113) and WebSockets over it (RFC 8441).

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, client::Builder, ext::Protocol};
use http::{HeaderMap, Request, Response, StatusCode};
use jovis_actors::domain::Seconds;
use tokio::task::JoinHandle;

use super::{
    secure::{Raw, block_on, browse, connect, fields, frame, proxy, proxy_to, set},
    support::{Backend, Visitor, quick, wait_until},
};
use crate::proxy::drain::Phase;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A client's connection.
struct Browser {
    send: h2::client::SendRequest<Bytes>,
    end: JoinHandle<Result<(), h2::Error>>,
}

impl Browser {
    async fn new(address: SocketAddr) -> Self {
        let (send, end) = browse(address, &Builder::new()).await;
        Self { send, end }
    }

    /// Begins a request without a body.
    async fn ask(&self, request: Request<()>) -> Result<Response<RecvStream>, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        send.send_request(request, true)?.0.await
    }

    /// A whole answer: its status, its fields and its body.
    async fn get(&self, request: Request<()>) -> Result<(StatusCode, HeaderMap, Bytes), h2::Error> {
        let (parts, mut body) = self.ask(request).await?.into_parts();
        let whole = read(&mut body).await?;
        Ok((parts.status, parts.headers, whole.into()))
    }

    /// Opens a WebSocket.
    async fn open(
        &self,
        path: &str,
    ) -> Result<(Response<RecvStream>, h2::SendStream<Bytes>), h2::Error> {
        let mut send = self.send.clone().ready().await?;
        while !send.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let request = request("CONNECT", path)
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "v1.kernel.websocket.jupyter.org")
            .header("origin", "https://a");
        let (answer, out) = send.send_request(request.body(()).unwrap(), false)?;
        Ok((answer.await?, out))
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://a:8443{path}"))
}

fn get(path: &str) -> Request<()> {
    request("GET", path).body(()).unwrap()
}

/// Did the connection end without a complaint? (The client may have had something to say after the end.)
fn is_polite(end: Result<(), h2::Error>) -> bool {
    end.is_ok() || end.is_err_and(|error| error.is_io())
}

/// Reads a body to its end.
async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend(piece);
    }
    Ok(whole)
}

/// Reads so many bytes.
async fn take(body: &mut RecvStream, size: usize) -> Vec<u8> {
    let mut whole = Vec::new();
    while whole.len() < size {
        let piece = body.data().await.expect("not the end").unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        whole.extend(piece);
    }
    whole
}

/// Sends it as fast as the other side lets us.
async fn send(out: &mut h2::SendStream<Bytes>, mut bytes: Bytes, end: bool) {
    while !bytes.is_empty() {
        out.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
        let piece = bytes.split_to(room.min(bytes.len()));
        out.send_data(piece, end && bytes.is_empty()).unwrap();
    }
}

#[test]
fn requests_by_http2_go_on_as_http1() {
    let backend = Backend::says(OK);
    let proxy = proxy_to(&backend);
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        for _ in 0..20 {
            let request = request("GET", "/user/%61//x%2Fy%20?q=%2e&r")
                .header("cookie", "a=b")
                .header("cookie", "c=d")
                .header("te", "trailers")
                .header("x-forwarded-for", "9.9.9.9");
            let (status, headers, body) = browser.get(request.body(()).unwrap()).await.unwrap();
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"ok"[..]));
            assert!(!headers.contains_key("connection"), "{headers:?}");
            assert_eq!(headers["strict-transport-security"], "max-age=31536000");
            assert_eq!(headers["content-length"], "2");
        }
    });
    assert_eq!(*backend.connections.lock().unwrap(), 1);
    let head = backend.seen()[0].to_lowercase();
    assert!(head.starts_with("get /user/%61//x%2fy%20?q=%2e&r http/1.1\r\n"), "{head}");
    for there in [
        "\r\nhost: a:8443\r\n",
        "\r\ncookie: a=b; c=d\r\n",
        "\r\nx-forwarded-for: 9.9.9.9,127.0.0.1\r\n",
        "\r\nx-forwarded-proto: https\r\n",
        "\r\nx-forwarded-host: a:8443\r\n",
        "\r\nx-forwarded-port: 8443\r\n",
    ] {
        assert_eq!(head.matches(there).count(), 1, "{there} in {head}");
    }
    assert!(head.contains("\r\nte: trailers\r\nconnection: te\r\n"), "{head}");
    for gone in ["upgrade", "transfer-encoding", "content-length", "http2"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
}

#[test]
fn the_visitor_chooses_the_protocol() {
    let backend = Backend::says(OK);
    let proxy = proxy_to(&backend);
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = connect(proxy.address, offered).unwrap();
        let agreed = stream.conn.alpn_protocol().map(|name| std::str::from_utf8(name).unwrap());
        assert_eq!(agreed, chosen, "{offered:?}");
    }
    assert!(connect(proxy.address, &["spdy/3"]).is_err());
    // Without TLS nothing can be chosen: HTTP/2 is refused there in HTTP/1.1, and nothing is served.
    proxy.shared.tls.store(None);
    let mut visitor = proxy.visit();
    visitor.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let answer = visitor.all();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(backend.seen(), Vec::<String>::new());
}

/// What answers an attempt: the status where HPACK says it in one byte, or the frame that ends the stream.
fn outcome(raw: &mut Raw, stream: u32) -> &'static str {
    match raw.hear_of(stream) {
        Some(answer) if answer.kind == Raw::HEADERS => match answer.payload[0] {
            0x88 => "200",
            0x8C => "400",
            0x8D => "404",
            _ => "another status",
        },
        Some(answer) if answer.kind == Raw::RST_STREAM => "reset",
        Some(answer) if answer.kind == Raw::GOAWAY => "goaway",
        None => "end",
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_request_gets_no_further() {
    const START: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/user/a/x")];
    let backend = Backend::says(OK);
    let proxy = proxy_to(&backend);
    let with = |more: &[(&str, &str)]| fields(&[&START, more].concat());
    let start = |name: &str, value: Option<&str>| {
        let changed = START.iter().filter_map(|(it, was)| {
            if *it == name { value.map(|value| (*it, value)) } else { Some((*it, *was)) }
        });
        fields(&changed.collect::<Vec<_>>())
    };
    let good = with(&[]);
    let corpus = [
        // Fields of a connection of HTTP/1.1.
        (with(&[("connection", "close")]), "reset"),
        (with(&[("connection", "x-gone"), ("x-gone", "1")]), "reset"),
        (with(&[("transfer-encoding", "chunked")]), "reset"),
        (with(&[("upgrade", "websocket")]), "reset"),
        (with(&[("keep-alive", "5")]), "reset"),
        (with(&[("proxy-connection", "close")]), "reset"),
        (with(&[("te", "gzip")]), "reset"),
        // What breaks out of a field, or is none.
        (with(&[("x", "a\r\nevil: 1")]), "goaway"),
        (with(&[("x", "a\nevil: 1")]), "goaway"),
        (with(&[("x", "a\0b")]), "goaway"),
        (with(&[("x\r\nevil", "1")]), "goaway"),
        (with(&[("x evil", "1")]), "goaway"),
        (with(&[("x:", "1")]), "goaway"),
        (with(&[("Upper", "1")]), "goaway"),
        (with(&[("", "1")]), "goaway"),
        (with(&[("x", " a")]), "400"),
        (with(&[("x", "a ")]), "400"),
        // Pseudo-header fields.
        (with(&[(":path", "/user/a/y")]), "reset"),
        (with(&[(":status", "200")]), "reset"),
        (with(&[(":unknown", "x")]), "goaway"),
        (fields(&[&[("x", "1")][..], &START].concat()), "reset"),
        (start(":method", None), "reset"),
        (start(":scheme", None), "reset"),
        (start(":path", None), "reset"),
        (start(":path", Some("")), "reset"),
        (start(":path", Some("user/a/x")), "reset"),
        (start(":path", Some("/user/a/ x")), "reset"),
        (start(":path", Some("/user/a/../b")), "400"),
        (start(":path", Some("/user/a/%2e%2E/b")), "400"),
        (start(":path", Some("/user/a/%00")), "400"),
        (start(":path", Some("*")), "404"),
        (start(":method", Some("G ET")), "goaway"),
        (start(":method", Some("TRACE")), "another status"),
        (start(":scheme", Some("ftp")), "400"),
        // Where to.
        (start(":authority", None), "400"),
        (start(":authority", Some("u@a")), "400"),
        (start(":authority", Some("a, b")), "reset"),
        (start(":authority", Some("a/b")), "reset"),
        (with(&[("host", "b")]), "400"),
        (with(&[("host", "a"), ("host", "a")]), "400"),
        // Lengths.
        (with(&[("content-length", "3")]), "reset"),
        (with(&[("content-length", "-1")]), "reset"),
        (with(&[("content-length", "0x0")]), "reset"),
        (with(&[("content-length", "0"), ("content-length", "0")]), "400"),
        (with(&[("content-length", "0"), ("content-length", "1")]), "reset"),
        // Tunnels that we don't give.
        (fields(&[(":method", "CONNECT"), (":authority", "a:22")]), "another status"),
        (
            fields(
                &[&[(":method", "CONNECT"), (":protocol", "connect-udp")], &START[1..]].concat(),
            ),
            "another status",
        ),
        (with(&[(":protocol", "websocket")]), "reset"),
    ];
    let flags = Raw::END_STREAM | Raw::END_HEADERS;
    for (head, expected) in corpus {
        let shown = head.escape_ascii().to_string();
        let mut raw = Raw::new(proxy.address);
        raw.say(Raw::HEADERS, flags, 1, &head).unwrap();
        let outcome = outcome(&mut raw, 1);
        assert_eq!(outcome, expected, "{shown}");
        assert_eq!(backend.seen(), Vec::<String>::new(), "{shown}");
        if !matches!(outcome, "goaway" | "end") {
            // The fault of one stream is not that of another.
            raw.say(Raw::HEADERS, flags, 3, &good).unwrap();
            assert_eq!(self::outcome(&mut raw, 3), "200", "{shown}");
            assert!(backend.heads.lock().unwrap().pop().is_some(), "{shown}");
        }
    }
    // One name in both places is one name.
    let mut raw = Raw::new(proxy.address);
    raw.say(Raw::HEADERS, flags, 1, &with(&[("host", "A")])).unwrap();
    assert_eq!(outcome(&mut raw, 1), "200");
    assert_eq!(
        backend.heads.lock().unwrap().pop().unwrap().to_lowercase().matches("\r\nhost: ").count(),
        1
    );
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_never_arrives_whole() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        let body = visitor.all();
        this.heads.lock().unwrap().push(format!("body {body}"));
    });
    let proxy = proxy_to(&backend);
    let head = |length: &str| {
        fields(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/user/a/x"),
            ("content-length", length),
        ])
    };
    for body in ["abc", "abcdef"] {
        let mut raw = Raw::new(proxy.address);
        raw.say(Raw::HEADERS, Raw::END_HEADERS, 1, &head("5")).unwrap();
        wait_until("the backend has the head", || backend.seen().len() == 1);
        raw.say(Raw::DATA, Raw::END_STREAM, 1, body.as_bytes()).unwrap();
        assert_eq!(outcome(&mut raw, 1), "reset", "{body}");
        wait_until("the backend has the end", || backend.seen().len() == 2);
        let seen = std::mem::take(&mut *backend.heads.lock().unwrap());
        assert!(seen[0].to_lowercase().contains("content-length: 5\r\n"), "{seen:?}");
        assert!(seen[1].len() < "body abcde".len(), "{seen:?}");
    }
}

#[test]
fn bodies_pass_both_ways_by_http2() {
    const SIZE: usize = 5 << 20;
    let backend = Backend::new(|visitor, this| {
        let head = this.head(visitor).unwrap().to_lowercase();
        let chunked = head.contains("transfer-encoding: chunked\r\n");
        assert!(chunked != head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
        let mut whole = Vec::new();
        let mut piece = vec![0; 1 << 16];
        while whole.len() < SIZE || chunked && !whole.ends_with(b"\r\n0\r\n\r\n") {
            let size = visitor.0.read(&mut piece).unwrap();
            whole.extend_from_slice(&piece[..size]);
        }
        if chunked {
            let whole = String::from_utf8_lossy(&whole).into_owned();
            assert!(!whole.contains("x-trailer"));
            visitor.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in [&b"x"[..]; 100] {
                visitor.say(format!("{:x}\r\n", piece.len()));
                visitor.say([piece, b"\r\n"].concat());
            }
            visitor.say("0\r\nX-Trailer: 1\r\n\r\n");
        } else {
            visitor.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
            visitor.say(whole);
        }
    });
    let proxy = proxy_to(&backend);
    let whole: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        let post = request("POST", "/user/a/up").header("content-length", SIZE);
        let mut sender = browser.send.clone().ready().await.unwrap();
        let (answer, mut out) = sender.send_request(post.body(()).unwrap(), false).unwrap();
        send(&mut out, whole.clone().into(), true).await;
        let (parts, mut body) = answer.await.unwrap().into_parts();
        assert_eq!(parts.headers["content-length"], SIZE.to_string());
        assert!(read(&mut body).await.unwrap() == whole);
        // Without a length. Trailers that nobody has announced are nobody's; back they come to all.
        let post = request("PUT", "/user/a/up").body(()).unwrap();
        let mut sender = browser.send.clone().ready().await.unwrap();
        let (answer, mut out) = sender.send_request(post, false).unwrap();
        send(&mut out, whole.clone().into(), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-trailer", "1".parse().unwrap());
        out.send_trailers(trailers).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(read(&mut body).await.unwrap(), [b'x'; 100]);
        assert_eq!(body.trailers().await.unwrap().unwrap()["x-trailer"], "1");
    });
}

#[test]
fn trailers_pass_both_ways_by_http2() {
    let backend = Backend::new(|visitor, this| {
        let head = this.head(visitor).unwrap().to_lowercase();
        for line in ["trailer: x-sum\r\n", "te: trailers\r\n", "transfer-encoding: chunked\r\n"] {
            assert!(head.contains(line), "{line} in {head}");
        }
        let body = visitor.until("\r\n\r\n");
        this.heads.lock().unwrap().push(body);
        visitor.say(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\nX-Sum: 3\r\nCookie: a=b\r\n\r\n",
        );
        // Not used again.
        assert_eq!(visitor.all(), "");
    });
    let proxy = proxy_to(&backend);
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        for _ in 0..2 {
            let post = request("POST", "/user/a/x").header("te", "trailers");
            let post = post.header("trailer", "x-sum, authorization").body(()).unwrap();
            let mut sender = browser.send.clone().ready().await.unwrap();
            let (answer, mut out) = sender.send_request(post, false).unwrap();
            send(&mut out, b"abc"[..].into(), false).await;
            let mut trailers = HeaderMap::new();
            for (name, value) in [("x-sum", "1"), ("authorization", "x"), ("x-other", "y")] {
                trailers.insert(name, value.parse().unwrap());
            }
            out.send_trailers(trailers).unwrap();
            let (parts, mut body) = answer.await.unwrap().into_parts();
            assert!(!parts.headers.contains_key("connection"));
            assert_eq!(read(&mut body).await.unwrap(), b"ok");
            let trailers = body.trailers().await.unwrap().unwrap();
            let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
            assert_eq!(sums, ["2", "3"]);
            assert_eq!(trailers.len(), 2);
        }
    });
    let seen = backend.seen();
    assert_eq!(seen[1], "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n");
    assert_eq!((seen.len(), *backend.connections.lock().unwrap()), (4, 2));
}

#[test]
fn a_cut_answer_is_a_reset() {
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
    {
        let backend = Backend::new(move |visitor, this| {
            if this.head(visitor).unwrap().contains("/whole") {
                return visitor.say(OK);
            }
            visitor.say(format!("HTTP/1.1 200 OK\r\n{head}"));
        });
        let proxy = proxy_to(&backend);
        block_on(async {
            let browser = Browser::new(proxy.address).await;
            let mut body = browser.ask(get("/user/a/cut")).await.unwrap().into_body();
            let error = read(&mut body).await.unwrap_err();
            assert!(error.is_reset() && error.is_remote(), "{error}");
            // The connection has other streams.
            assert_eq!(&browser.get(get("/user/a/whole")).await.unwrap().2[..], b"ok");
        });
    }
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let backend = Backend::new(|visitor, this| {
        while let Some(head) = this.head(visitor) {
            visitor.say(match head.split(' ').nth(1).unwrap() {
                "/user/a/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/user/a/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                "/user/a/early" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                }
                _ if head.starts_with("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
                _ => OK,
            });
        }
    });
    let proxy = proxy_to(&backend);
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        let table = [
            ("HEAD", "/user/a/x", 200, Some("7"), ""),
            ("GET", "/user/a/204", 204, None, ""),
            ("GET", "/user/a/304", 304, Some("7"), ""),
            ("GET", "/user/a/early", 200, Some("2"), "ok"),
            ("HEAD", "/user/a/%00", 400, None, ""),
            ("HEAD", "/_chp_healthz", 200, None, ""),
            ("GET", "/_chp_healthz", 200, Some("15"), "{\"status\":\"OK\"}"),
        ];
        for (method, path, status, length, text) in table {
            let request = request(method, path).body(()).unwrap();
            let (got, headers, body) = browser.get(request).await.unwrap();
            assert_eq!((got.as_u16(), &body[..]), (status, text.as_bytes()), "{method} {path}");
            let said = headers.get("content-length").map(|it| it.to_str().unwrap());
            if length.is_some() || status == 204 {
                assert_eq!(said, length, "{method} {path}");
            }
        }
    });
}

#[test]
fn a_slow_reader_holds_up_nobody_and_fills_no_memory() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = Backend::new(move |visitor, this| {
        while let Some(head) = this.head(visitor) {
            if !head.contains("/big") {
                visitor.say(OK);
                continue;
            }
            visitor.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while visitor.0.write_all(&[0; 1 << 16]).is_ok() {
                count.fetch_add(1 << 16, SeqCst);
            }
        }
    });
    let proxy = proxy_to(&backend);
    block_on(async {
        let (send, end) = browse(
            proxy.address,
            Builder::new().initial_window_size(100_000).initial_connection_window_size(10_000_000),
        )
        .await;
        let browser = Browser { send, end };
        let mut stalled = Vec::new();
        for _ in 0..4 {
            stalled.push(browser.ask(get("/user/a/big")).await.unwrap().into_body());
        }
        let mut before = usize::MAX;
        while before != sent.load(SeqCst) {
            before = sent.load(SeqCst);
            assert_eq!(&browser.get(get("/user/a/x")).await.unwrap().2[..], b"ok");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        // The sockets' buffers, and little of ours.
        assert!(before < 4 * (12 << 20), "{before}");
        assert_eq!(take(&mut stalled[3], 3_000_000).await.len() / 3_000_000, 1);
    });
}

#[test]
fn a_slow_body_costs_its_stream_only() {
    let backend = Backend::new(|visitor, this| {
        while let Some(head) = this.head(visitor) {
            if head.starts_with("POST") {
                // It never answers before the body's end.
                visitor.all();
                return;
            }
            visitor.say(OK);
        }
    });
    let proxy = proxy_to(&backend);
    set(&proxy, |settings| settings.body_timeout = Duration::from_millis(300));
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        let post = request("POST", "/user/a/up").header("content-length", 10).body(()).unwrap();
        let mut sender = browser.send.clone().ready().await.unwrap();
        let (answer, mut out) = sender.send_request(post, false).unwrap();
        send(&mut out, Bytes::from_static(b"abc"), false).await;
        assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_REQUEST);
        assert_eq!(&browser.get(get("/user/a/x")).await.unwrap().2[..], b"ok");
    });
}

#[test]
fn each_stream_counts_as_a_connection() {
    let go = Arc::new(AtomicUsize::new(0));
    let told = go.clone();
    let backend = Backend::new(move |visitor, this| {
        while let Some(head) = this.head(visitor) {
            if head.contains("/ws") {
                accept(visitor, &head);
                visitor.all();
                return;
            }
            wait_until("it is told to go on", || told.load(SeqCst) > 0);
            visitor.say(OK);
        }
    });
    let proxy = proxy_to(&backend);
    set(&proxy, |settings| (settings.trusts_loopback, settings.most_connections) = (false, 5));
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        let (tunnel, _out) = browser.open("/user/a/ws").await.unwrap();
        let asking = || async { browser.get(get("/user/a/x")).await.unwrap().0.as_u16() };
        let watching = async {
            while backend.seen().len() < 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The connection itself, a tunnel, three requests: that is all.
            assert_eq!(asking().await, 429);
            assert!(connect(proxy.address, &["h2"]).is_err());
            go.store(1, SeqCst);
        };
        let all = tokio::join!(asking(), asking(), asking(), watching);
        assert_eq!((all.0, all.1, all.2), (200, 200, 200));
        assert_eq!(asking().await, 200);
        drop(tunnel);
    });
}

/// Opens the tunnel as RFC 6455 wants it.
fn accept(visitor: &mut Visitor, head: &str) {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let both = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.unwrap());
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, both.as_bytes());
    let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    visitor.say(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org\r\n\r\nhello"
    ));
}

/// Says what it hears, after `hello`.
fn echo(visitor: &mut Visitor, this: &Backend) {
    while let Some(head) = this.head(visitor) {
        if !head.contains("/ws") {
            visitor.say(OK);
            continue;
        }
        accept(visitor, &head);
        let mut piece = vec![0; 1 << 16];
        while let Ok(size @ 1..) = visitor.0.read(&mut piece) {
            visitor.say(&piece[..size]);
        }
        return visitor.say("bye");
    }
}

#[test]
fn a_websocket_runs_over_a_stream() {
    let backend = Backend::new(echo);
    let proxy = proxy_to(&backend);
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        let (answer, mut out) = browser.open("/user/a/ws?x=1").await.unwrap();
        let (parts, mut back) = answer.into_parts();
        assert_eq!(parts.status, StatusCode::OK);
        assert_eq!(parts.headers["sec-websocket-protocol"], "v1.kernel.websocket.jupyter.org");
        for gone in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
            assert!(!parts.headers.contains_key(gone), "{:?}", parts.headers);
        }
        assert_eq!(take(&mut back, 5).await, b"hello");
        // Any bytes, in any pieces, others beside them; and it is use of the server.
        assert!(proxy.shared.activity.take().is_empty());
        let whole: Bytes = (0..300_000).map(|at| u8::try_from(at % 256).unwrap()).collect();
        for size in [1, 100, 300_000] {
            let piece = whole.slice(..size);
            let sending = send(&mut out, piece.clone(), false);
            let (_, heard) = tokio::join!(sending, take(&mut back, size));
            assert!(heard == piece);
            assert_eq!(&browser.get(get("/user/a/x")).await.unwrap().2[..], b"ok");
        }
        assert_eq!(proxy.shared.activity.take().len(), 1);
        // One side may end and hear the other out.
        out.send_data(Bytes::new(), true).unwrap();
        assert_eq!(read(&mut back).await.unwrap(), b"bye");
    });
    let head = backend.seen()[0].to_lowercase();
    assert!(head.starts_with("get /user/a/ws?x=1 http/1.1\r\n"), "{head}");
    for there in [
        "\r\nhost: a:8443\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\nsec-websocket-key: ",
        "\r\norigin: https://a\r\n",
    ] {
        assert_eq!(head.matches(there).count(), 1, "{there} in {head}");
    }
}

#[test]
fn a_tunnel_that_breaks_on_one_side_ends_on_the_other() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let backend = Backend::new(move |visitor, this| {
        let head = this.head(visitor).unwrap();
        accept(visitor, &head);
        if head.contains("/short") {
            return;
        }
        visitor.all();
        count.fetch_add(1, SeqCst);
    });
    let proxy = proxy_to(&backend);
    block_on(async {
        let browser = Browser::new(proxy.address).await;
        let (answer, _out) = browser.open("/user/a/ws/short").await.unwrap();
        assert_eq!(read(&mut answer.into_body()).await.unwrap(), b"hello");
        let (answer, mut out) = browser.open("/user/a/ws").await.unwrap();
        out.send_reset(h2::Reason::CANCEL);
        drop(answer);
        while ended.load(SeqCst) < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The connection itself.
        let (answer, out) = browser.open("/user/a/ws").await.unwrap();
        browser.end.abort();
        while ended.load(SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop((answer, out));
    });
    wait_until("nobody is counted any more", || proxy.shared.crowd.count() == 0);
}

#[test]
fn a_backend_that_opens_no_tunnel_gives_none() {
    const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
    let table = [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned(), 302),
        // A success that is none would be taken for a tunnel.
        (OK.to_owned(), 502),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 502),
        (format!("{UPGRADE}Upgrade: websocket\r\n\r\n"), 502),
        (format!("{UPGRADE}Upgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\n"), 502),
        (format!("{UPGRADE}Upgrade: h2c\r\n\r\n"), 502),
    ];
    for (answer, status) in table {
        let said = answer.clone();
        let backend = Backend::new(move |visitor, this| {
            this.head(visitor);
            visitor.say(&said);
        });
        let proxy = proxy_to(&backend);
        block_on(async {
            let browser = Browser::new(proxy.address).await;
            let (got, _out) = browser.open("/user/a/ws").await.unwrap();
            assert_eq!(got.status(), status, "{answer}");
            // Not even where we answer ourselves.
            let (got, _out) = browser.open("/_chp_healthz").await.unwrap();
            assert!(!got.status().is_success());
        });
    }
}

#[test]
fn an_idle_connection_is_told_to_go_and_a_tunnel_is_not_idle() {
    let backend = Backend::new(echo);
    let section = crate::config::sections::Proxy {
        keep_alive_timeout: Seconds::try_from(0.3).unwrap(),
        ..quick()
    };
    let proxy = proxy(&section, &backend);
    block_on(async {
        let idle = Browser::new(proxy.address).await;
        let with_tunnel = Browser::new(proxy.address).await;
        assert_eq!(&idle.get(get("/user/a/x")).await.unwrap().2[..], b"ok");
        let (answer, mut out) = with_tunnel.open("/user/a/ws").await.unwrap();
        let mut back = answer.into_body();
        assert_eq!(take(&mut back, 5).await, b"hello");
        assert!(is_polite(idle.end.await.unwrap()));
        send(&mut out, Bytes::from_static(b"there?"), false).await;
        assert_eq!(take(&mut back, 6).await, b"there?");
    });
}

#[test]
fn half_a_head_has_its_time_by_http2_too() {
    let backend = Backend::says(OK);
    let proxy = proxy_to(&backend);
    let mut raw = Raw::new(proxy.address);
    raw.say(Raw::HEADERS, 0, 1, &fields(&[(":method", "GET")])).unwrap();
    raw.ends();
    let mut raw = Raw::new(proxy.address);
    let whole = frame(Raw::HEADERS, Raw::END_HEADERS, 1, &fields(&[(":method", "GET")]));
    raw.write(&whole[..15]).unwrap();
    raw.ends();
    // Nor is the time for the first request endless, whatever else is said.
    let mut raw = Raw::new(proxy.address);
    raw.say(Raw::PING, 0, 0, &[0; 8]).unwrap();
    raw.ends();
}

#[test]
fn who_leaves_takes_no_more_streams_and_finishes_those_there_are() {
    let go = Arc::new(AtomicUsize::new(0));
    let told = go.clone();
    let backend = Backend::new(move |visitor, this| {
        while this.head(visitor).is_some() {
            visitor.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
            wait_until("it is told to go on", || told.load(SeqCst) > 0);
            visitor.say("k");
        }
    });
    for phase in [Phase::Retiring, Phase::Draining] {
        go.store(0, SeqCst);
        let proxy = proxy_to(&backend);
        block_on(async {
            let (browser, idle) =
                (Browser::new(proxy.address).await, Browser::new(proxy.address).await);
            let mut body = browser.ask(get("/user/a/x")).await.unwrap().into_body();
            assert_eq!(take(&mut body, 1).await, b"o");
            proxy.shared.phase.send_replace(phase);
            assert!(is_polite(idle.end.await.unwrap()));
            // After GOAWAY a client asks nothing more there.
            while browser.ask(get("/user/a/y")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            go.store(1, SeqCst);
            assert_eq!(take(&mut body, 1).await, b"k");
            assert!(is_polite(browser.end.await.unwrap()));
        });
        wait_until("all have left", || proxy.shared.crowd.count() == 0);
    }
}
