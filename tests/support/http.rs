//! A small blocking HTTP/1.1 client over one `TcpStream` per request: cookies with paths, form posts with the hub's form
//! token, chunked bodies, WebSocket frames. Redirects are followed only on request. It shows what really came over the
//! wire (a refused connection, a reset), which a comfortable client hides; that is why it is our own.

use std::{
    io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use jovis_actors::domain::quote;

use super::{Account, PATIENCE};

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body, chunks joined.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(this, _)| this.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. Panics if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// Where a redirect leads, without scheme and host.
    pub fn location(&self) -> Option<String> {
        let target = self.header("location")?;
        match target.split_once("://") {
            Some((_, rest)) => Some(rest.find('/').map_or("/".into(), |at| rest[at..].into())),
            None => Some(target.to_owned()),
        }
    }

    /// The value of the hidden field `_xsrf` of the page.
    pub fn form_token(&self) -> Option<String> {
        let page = self.text();
        let tags = page.split('<').filter(|tag| tag.starts_with("input"));
        let field = tags.into_iter().find(|tag| tag.contains(r#"name="_xsrf""#))?;
        let value = field.split(r#"value=""#).nth(1)?.split('"').next()?;
        Some(value.replace("&#x3d;", "=").replace("&#61;", "=").replace("&amp;", "&"))
    }

    /// What a person would read of the page: without tags, scripts and styles, blanks run together.
    pub fn words(&self) -> String {
        let mut page = self.text();
        for tag in ["script", "style"] {
            while let Some(from) = page.find(&format!("<{tag}")) {
                let end =
                    page[from..].find(&format!("</{tag}>")).map_or(page.len(), |at| from + at);
                page.replace_range(from..end, "");
            }
        }
        let mut words = String::new();
        let mut inside = false;
        for letter in page.chars() {
            match letter {
                '<' => inside = true,
                '>' => {
                    inside = false;
                    words.push(' ');
                }
                _ if !inside => words.push(letter),
                _ => {}
            }
        }
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[derive(Clone)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

impl Cookie {
    fn bare(&self) -> String {
        self.value.trim_matches('"').to_owned()
    }
}

/// A person's browser: an address and cookies.
#[derive(Clone)]
pub struct Visitor {
    address: SocketAddr,
    cookies: Vec<Cookie>,
    /// How long to wait for each piece of an answer.
    pub patience: Duration,
}

impl Visitor {
    /// A fresh one, for this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, cookies: Vec::new(), patience: PATIENCE }
    }

    /// `GET`. Panics if no answer comes; see [`Visitor::send`].
    pub fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// A form, as a browser posts it.
    pub fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let pairs = form.iter().map(|(name, value)| format!("{name}={}", quote::client(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        self.send("POST", path, &kind, body.as_bytes())
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// A call of the hub's API as the hub's own pages make it: cookies and the form token in a header.
    pub fn api(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let token = self.cookie("_xsrf", "/hub/").unwrap_or_default();
        let headers = [("X-Xsrftoken", token.as_str()), ("Content-Type", "application/json")];
        self.send(method, path, &headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Fills in the login form with this name and password; the answer to the post.
    pub fn sign_in_as(&mut self, name: &str, password: &str) -> Answer {
        let page = self.get("/hub/login");
        assert_eq!(page.status, 200, "the login page: {}", page.words());
        let token = page.form_token().expect("the login page has a form token");
        self.post("/hub/login", &[("_xsrf", &token), ("username", name), ("password", password)])
    }

    /// Signs this user in; panics if that fails.
    pub fn sign_in(&mut self, account: &Account) {
        let answer = self.sign_in_as(&account.name, &account.password);
        assert_eq!(answer.status, 302, "signing in: {}", answer.words());
    }

    /// `GET`, and on through redirects; the last answer and its path.
    pub fn follow(&mut self, path: &str) -> (Answer, String) {
        let mut path = path.to_owned();
        for _ in 0..20 {
            let answer = self.get(&path);
            match answer.location() {
                Some(next) if (300..400).contains(&answer.status) => path = next,
                _ => return (answer, path),
            }
        }
        panic!("twenty redirects, the last to {path}");
    }

    /// Any request. Cookies go along and come back; nothing is repeated and no redirect followed.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut stream = self.begin(method, path, headers, body)?;
        self.finish(&mut stream, method)
    }

    /// Sends a request and comes back without its answer, which [`Visitor::finish`] reads.
    pub fn begin(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        stream.set_nodelay(true)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            head += "Connection: close\r\n";
        }
        let cookies = self.cookies_for(path);
        if !cookies.is_empty() {
            head += &format!("Cookie: {cookies}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method != "GET" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(format!("{head}\r\n").as_bytes())?;
        stream.get_mut().write_all(body)?;
        Ok(stream)
    }

    /// Reads the answer to a request.
    pub fn finish(&mut self, stream: &mut impl BufRead, method: &str) -> io::Result<Answer> {
        let mut answer = read_head(stream)?;
        self.keep_cookies(&answer);
        let bare = method == "HEAD" || matches!(answer.status, 101 | 204 | 304);
        let chunked = answer.header("transfer-encoding").is_some_and(|how| how.contains("chunked"));
        let length =
            answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
        match length {
            _ if bare => {}
            _ if chunked => answer.body = read_chunks(stream)?,
            Some(length) => {
                answer.body = vec![0; length];
                stream.read_exact(&mut answer.body)?;
            }
            None => drop(stream.read_to_end(&mut answer.body)?),
        }
        Ok(answer)
    }

    /// Loses a cookie.
    pub fn forget(&mut self, name: &str) {
        self.cookies.retain(|cookie| cookie.name != name);
    }

    /// Opens a WebSocket.
    pub fn socket(&mut self, path: &str) -> io::Result<Socket> {
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut stream = self.begin("GET", path, &headers, b"")?;
        let answer = self.finish(&mut stream, "GET")?;
        if answer.status != 101 {
            return Err(Error::other(format!("no upgrade: {}", answer.status)));
        }
        Ok(Socket(stream))
    }

    /// The value of a cookie that is set for exactly this path, without the quotes it may stand in.
    pub fn cookie(&self, name: &str, path: &str) -> Option<String> {
        let mut all = self.cookies.iter();
        all.find(|cookie| cookie.name == name && cookie.path == path).map(Cookie::bare)
    }

    /// The values of all cookies, without the quotes they may stand in.
    pub fn cookie_values(&self) -> Vec<String> {
        self.cookies.iter().map(Cookie::bare).collect()
    }

    fn cookies_for(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap_or(path);
        let mut fitting: Vec<&Cookie> =
            self.cookies.iter().filter(|cookie| path.starts_with(&cookie.path)).collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs = fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for (header, line) in &answer.headers {
            if !header.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let (mut path, mut gone) = ("/".to_owned(), value.trim_matches('"').is_empty());
            for part in parts {
                match part.split_once('=') {
                    Some((key, value)) if key.eq_ignore_ascii_case("path") => {
                        value.clone_into(&mut path)
                    }
                    Some((key, "0")) if key.eq_ignore_ascii_case("max-age") => gone = true,
                    _ => {}
                }
            }
            self.cookies.retain(|cookie| cookie.name != name || cookie.path != path);
            if !gone {
                self.cookies.push(Cookie { name: name.to_owned(), value: value.to_owned(), path });
            }
        }
    }
}

/// An open WebSocket: short text frames.
pub struct Socket(BufReader<TcpStream>);

impl Socket {
    /// Sends a text of at most 125 bytes and gives the next one back (the fake server echoes).
    pub fn echo(&mut self, text: &str) -> io::Result<String> {
        self.say(text)?;
        self.hear()
    }

    /// Sends a text of at most 125 bytes.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126);
        let length = length.expect("a test's texts are short");
        // the mask may be anything, also zero
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        self.0.get_mut().write_all(&frame)
    }

    /// The next text.
    pub fn hear(&mut self) -> io::Result<String> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let mut text = vec![0; usize::from(head[1] & 0x7F)];
        self.0.read_exact(&mut text)?;
        String::from_utf8(text).map_err(Error::other)
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the connection ended"));
    }
    Ok(line.trim_end().to_owned())
}

fn read_head(stream: &mut impl BufRead) -> io::Result<Answer> {
    let first = read_line(stream)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other(format!("no status line: {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None if line.is_empty() => return Ok(Answer { status, headers, body: Vec::new() }),
            None => return Err(Error::other(format!("no header: {line:?}"))),
        }
    }
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
            .map_err(|_| Error::other(format!("no chunk size: {line:?}")))?;
        let from = body.len();
        body.resize(from + size, 0);
        stream.read_exact(&mut body[from..])?;
        read_line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}
