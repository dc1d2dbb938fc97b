//! The PROXY protocol, versions 1 and 2, in front of everything else that a balancer sends
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>): whom it speaks for. Strict: what is not exactly a
//! header is refused. Pure; [`super::listen`] reads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// It is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault;

/// What the bytes so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// At least so many more bytes belong to it.
    More(usize),
    /// It is complete, and speaks for this address; none: for the balancer itself, or for somebody without one.
    Whole(Option<IpAddr>),
}

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The shortest header of all: `PROXY UNKNOWN` and a line's end.
const SHORTEST: usize = 15;
/// The longest of version 1, in the specification's own count.
const LONGEST_LINE: usize = 107;
/// Most bytes of addresses and of what else a balancer tells in version 2.
const LONGEST_BLOCK: usize = 2048;

/// Reads what there is. Never asks for more than belongs to the header: what follows is somebody else's.
pub(super) fn read(bytes: &[u8]) -> Result<Header, Fault> {
    let same = SIGNATURE.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    if same == bytes.len().min(SIGNATURE.len()) && !bytes.is_empty() {
        return version_2(bytes);
    }
    version_1(bytes)
}

/// A line: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`.
fn version_1(bytes: &[u8]) -> Result<Header, Fault> {
    let begun = b"PROXY ".iter().zip(bytes).all(|(a, b)| a == b);
    let inner = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if !begun || inner.contains(&b'\n') {
        return Err(Fault);
    }
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        // One byte at a time, once it may end with any.
        let more = SHORTEST.saturating_sub(bytes.len()).max(1);
        let ends_wrong =
            bytes.ends_with(b"\n") || inner.strip_suffix(b"\r").unwrap_or(inner).contains(&b'\r');
        return if ends_wrong || bytes.len() + more > LONGEST_LINE {
            Err(Fault)
        } else {
            Ok(Header::More(more))
        };
    };
    let line = std::str::from_utf8(line).map_err(|_| Fault)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // What stands behind it has no meaning.
        ["PROXY", "UNKNOWN", ..] => Ok(Header::Whole(None)),
        ["PROXY", family, from, to, from_port, to_port] => {
            let (from, to) = (from.parse().map_err(|_| Fault)?, to.parse().map_err(|_| Fault)?);
            let fits = matches!(
                (family, from, to),
                ("TCP4", IpAddr::V4(_), IpAddr::V4(_)) | ("TCP6", IpAddr::V6(_), IpAddr::V6(_))
            );
            if fits && is_port(from_port) && is_port(to_port) {
                Ok(Header::Whole(Some(from)))
            } else {
                Err(Fault)
            }
        }
        _ => Err(Fault),
    }
}

/// A number in its one way to write it.
fn is_port(text: &str) -> bool {
    let plain = text == "0" || !text.starts_with('0');
    plain && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Sixteen bytes and a block of known length.
fn version_2(bytes: &[u8]) -> Result<Header, Fault> {
    let Some((front, block)) = bytes.split_first_chunk::<16>() else {
        // Not all of it yet; what there is of it must be right.
        if bytes.get(12).is_some_and(|byte| byte & 0xF0 != 0x20) {
            return Err(Fault);
        }
        return Ok(Header::More(16 - bytes.len()));
    };
    let (command, family) = (front[12], front[13]);
    let length = usize::from(u16::from_be_bytes([front[14], front[15]]));
    if !matches!(command, 0x20 | 0x21) || length > LONGEST_BLOCK || block.len() > length {
        return Err(Fault);
    }
    // Bytes of addresses that the family has: two, with their ports.
    let addresses = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(Fault),
    };
    // LOCAL: the balancer asks for itself, whatever addresses it tells.
    let local = command == 0x20;
    if !local && length < addresses {
        return Err(Fault);
    }
    if block.len() < length {
        return Ok(Header::More(length - block.len()));
    }
    let from = match family {
        // Datagrams (0x12, 0x22) do not come here.
        0x11 => block.first_chunk::<4>().map(|from| IpAddr::from(Ipv4Addr::from(*from))),
        0x21 => block.first_chunk::<16>().map(|from| IpAddr::from(Ipv6Addr::from(*from))),
        0x00 | 0x31 => None,
        _ if local => None,
        _ => return Err(Fault),
    };
    Ok(Header::Whole(from.filter(|_| !local)))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, block].concat()
    }

    /// Reads as the listener does: no byte more than asked for. How many were left over.
    fn read_from(bytes: &[u8]) -> Result<(Option<IpAddr>, usize), Fault> {
        let mut had = 0;
        loop {
            match read(&bytes[..had])? {
                Header::Whole(from) => return Ok((from, bytes.len() - had)),
                Header::More(more) => {
                    assert!(more > 0);
                    had += more;
                    if had > bytes.len() {
                        return Err(Fault);
                    }
                }
            }
        }
    }

    #[test]
    fn headers_are_read_to_their_last_byte() {
        let v6 = [&[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 20]].concat();
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 4, 1, 187];
        let table: [(Vec<u8>, Option<&str>); 12] = [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), Some("192.0.2.1")),
            (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 65535\r\n".to_vec(), Some("0.0.0.0")),
            (b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ::1 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("192.0.2.1")),
            (v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 9]].concat()), Some("192.0.2.1")),
            (v2(0x21, 0x21, &v6), Some("2001:db8::1")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ];
        for (header, from) in table {
            let from = from.map(|from| from.parse::<IpAddr>().unwrap());
            let shown = header.escape_ascii().to_string();
            for rest in [&b""[..], b"\x16\x03\x01", b"\r\n", b"PROXY UNKNOWN\r\n"] {
                let bytes = [&header, rest].concat();
                assert_eq!(read_from(&bytes), Ok((from, rest.len())), "{shown}");
            }
            for short in 0..header.len() {
                assert!(
                    matches!(read(&header[..short]), Ok(Header::More(_))),
                    "{short} of {shown}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let block = [192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 4, 1, 187];
        let table: [Vec<u8>; 30] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaa".to_vec(),
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n".to_vec(),
            b"PROXY TCP4 192.0.2.1\r192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY UNKNOWNS\r\n".to_vec(),
            [b"PROXY UNKNOWN ", &[b'x'; 100][..], b"\r\n"].concat(),
            b"\r\n\r\n\0\r\nQUIT\r\n\r\n".to_vec(),
            v2(0x11, 0x11, &block),
            v2(0x22, 0x11, &block),
            v2(0x2F, 0x11, &block),
            v2(0x21, 0x41, &block),
            v2(0x21, 0x12, &block),
            v2(0x21, 0x11, &block[..11]),
            v2(0x21, 0x21, &block),
            v2(0x21, 0x11, &[0; LONGEST_BLOCK + 1]),
        ];
        for bytes in table {
            assert_eq!(read_from(&bytes), Err(Fault), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            begin in prop_oneof![
                Just(b"".to_vec()), Just(b"PROXY ".to_vec()), Just(b"PROXY TCP4 ".to_vec()), Just(SIGNATURE.to_vec())
            ],
            rest in vec(any::<u8>(), 0..300),
        ) {
            let bytes = [begin, rest].concat();
            for end in 0..bytes.len() {
                if let Ok(Header::More(more)) = read(&bytes[..end]) {
                    prop_assert!(more > 0 && end + more <= 16 + LONGEST_BLOCK);
                }
            }
        }
    }
}
