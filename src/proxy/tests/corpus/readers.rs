//! Who reads back what leaves us. Nothing here is shared with the proxy.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// A message, as its readers understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Method, or status.
    pub(super) first: String,
    /// Target, or nothing.
    pub(super) second: String,
    /// Names in lower case, values trimmed.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Fields behind the body.
    pub(super) trailers: Vec<(String, String)>,
    /// Did it come to its end?
    pub(super) complete: bool,
}

impl Message {
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(it, _)| it == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// Reads the first message. `Ok(None)`: its head is not complete. `head_only`: an answer to `HEAD`. `ended`: nothing
/// more comes, and no reset.
pub(super) fn strict(
    bytes: &[u8],
    request: bool,
    head_only: bool,
    ended: bool,
) -> Result<Option<(Message, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(None) };
    let head = bytes[..end].iter().map(|byte| char::from(*byte)).collect::<String>();
    let mut lines = head.split("\r\n");
    let start: Vec<_> = lines.next().unwrap_or("").splitn(3, ' ').collect();
    let [a, b, c] = start[..] else { return Err(format!("first line {start:?}")) };
    let (first, second, version) = if request { (a, b, c) } else { (b, "", a) };
    let status = first.parse::<u16>().ok();
    if version != "HTTP/1.1" && (request || version != "HTTP/1.0")
        || request && c.contains(' ')
        || !request && status.is_none_or(|it| !(100..600).contains(&it))
        || head.chars().any(|it| it.is_control() && !"\r\n\t".contains(it) && it < '\u{80}')
    {
        return Err(format!("first line {start:?}"));
    }
    let fields = lines.map(field).collect::<Result<_, _>>()?;
    let mut message = Message {
        first: first.to_owned(),
        second: second.to_owned(),
        fields,
        body: Vec::new(),
        trailers: Vec::new(),
        complete: true,
    };
    let lengths = message.all("content-length");
    let codings = message.all("transfer-encoding");
    if lengths.len() + codings.len() > 1 || codings.iter().any(|it| *it != "chunked") {
        return Err(format!("framing of {message:?}"));
    }
    let rest = &bytes[end + 4..];
    let none = head_only || matches!(status, Some(204 | 304)) && !request;
    let used = match (lengths.first(), codings.first()) {
        _ if none => 0,
        (Some(length), _) => {
            let length: usize = length.parse().map_err(|_| format!("length {length}"))?;
            message.complete = rest.len() >= length;
            message.body = rest[..length.min(rest.len())].to_vec();
            message.body.len()
        }
        (_, Some(_)) => {
            let (body, mut used, mut complete) = chunks(rest)?;
            if complete {
                (message.trailers, used, complete) = trailers(rest, used)?;
            }
            (message.body, message.complete) = (body, complete);
            used
        }
        _ if request => 0,
        _ => {
            (message.body, message.complete) = (rest.to_vec(), ended);
            rest.len()
        }
    };
    Ok(Some((message, end + 4 + used)))
}

/// Name and value of a line.
fn field(line: &str) -> Result<(String, String), String> {
    let wrong = || format!("line {line:?}");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let token = |it: char| it.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(it);
    let control = |it: char| it.is_control() && it != '\t' && it < '\u{80}';
    if name.is_empty() || !name.chars().all(token) || value.contains(control) {
        return Err(wrong());
    }
    Ok((name.to_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

/// The fields from there on, where they end, and are they complete?
type Trailers = (Vec<(String, String)>, usize, bool);

fn trailers(bytes: &[u8], mut at: usize) -> Result<Trailers, String> {
    let mut read = Vec::new();
    loop {
        let Some(end) = bytes[at..].windows(2).position(|it| it == b"\r\n") else {
            return Ok((read, bytes.len(), false));
        };
        let line: String = bytes[at..at + end].iter().map(|byte| char::from(*byte)).collect();
        at += end + 2;
        if line.is_empty() {
            return Ok((read, at, true));
        }
        read.push(field(&line)?);
    }
}

/// A chunked body up to its trailers: content, where they begin, and is it complete? No extensions leave us.
fn chunks(bytes: &[u8]) -> Result<(Vec<u8>, usize, bool), String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|it| it == b"\r\n") else {
            return Ok((body, bytes.len(), false));
        };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let plain = !line.is_empty() && line.bytes().all(|it| it.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| plain);
        let size = size.ok_or(format!("size of a chunk {line:?}"))?;
        at += end + 2;
        let data = &bytes[at..];
        if size == 0 {
            return Ok((body, at, true));
        }
        if data.len() < size + 2 {
            body.extend_from_slice(&data[..size.min(data.len())]);
            return Ok((body, bytes.len(), false));
        }
        if &data[size..size + 2] != b"\r\n" {
            return Err(format!("end of a chunk {}", data[size..].escape_ascii()));
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
}

/// A stream to be read.
pub(super) struct Stream {
    pub(super) request: bool,
    pub(super) bytes: Vec<u8>,
    /// Of the requests that were asked, for answers.
    pub(super) methods: Vec<String>,
    /// Ended by a reset: no clean end.
    pub(super) cut: bool,
}

impl Stream {
    /// All messages in it, by our own reader.
    pub(super) fn strict(&self) -> Result<Vec<Message>, String> {
        let (mut rest, mut read) = (&self.bytes[..], Vec::new());
        let mut methods = self.methods.iter();
        while !rest.is_empty() {
            let method = methods.next();
            if !self.request && method.is_none() {
                return Err(format!("an answer too many: {}", rest.escape_ascii()));
            }
            let head_only = method.is_some_and(|it| it == "HEAD");
            let Some((message, used)) = strict(rest, self.request, head_only, !self.cut)? else {
                break;
            };
            rest = &rest[used..];
            read.push(message);
        }
        Ok(read)
    }
}

/// Has h11 and llhttp read these, and holds both against our own reading.
pub(super) fn read_back(streams: &[Stream]) {
    let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    let asked: Vec<_> = streams
        .iter()
        .map(|it| {
            let kind = if it.request { "requests" } else { "answers" };
            json!({"kind": kind, "bytes": hex(&it.bytes), "methods": it.methods, "cut": it.cut})
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/proxy/tests/corpus/readers.py");
    let python = "/opt/jovis/env/bin/python";
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Python of the tests, see .ci/install");
    let mut stdin = child.stdin.take().unwrap();
    let text = serde_json::to_vec(&asked).unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(&text));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let read: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read.len(), streams.len());
    for (stream, read) in streams.iter().zip(read) {
        let shown = stream.bytes.escape_ascii();
        let ours = stream.strict().unwrap_or_else(|error| panic!("{error} in {shown}"));
        // llhttp reads trailers, aiohttp does not tell of them.
        for (reader, tells) in [("h11", true), ("llhttp", false)] {
            let told = |it: &Message| {
                let trailers = if tells { it.trailers.clone() } else { Vec::new() };
                json!([it.first, it.second, it.fields, hex(&it.body), it.complete, trailers])
            };
            let ours: Vec<_> = ours.iter().map(told).collect();
            assert_eq!(read[reader], json!(ours), "{reader} reads otherwise: {shown}");
        }
    }
}
