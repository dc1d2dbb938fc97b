//! Who listens on a port of this machine. Asked of the kernel by `sock_diag(7)`: only listening sockets are looked
//! through. Where that is not allowed, `/proc/net/tcp` and `tcp6` (readable by all) say it too, but print every connection
//! of the machine, which takes milliseconds.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
        setsockopt, socket, sockopt,
    },
    sys::time::TimeVal,
};

/// `SOCK_DIAG_BY_FAMILY`; answers have the same type.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `IPPROTO_TCP`, and `1 << TCP_LISTEN`.
const TCP: u8 = 6;
const LISTENING: u32 = 1 << 10;
/// `struct nlmsghdr`, and `struct inet_diag_msg` behind it.
const HEAD: usize = 16;
const BODY: usize = 72;

/// The listening state in /proc/net/tcp.
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// On which address; unspecified: on all of them.
    pub address: IpAddr,
    /// Whose it is.
    pub uid: u32,
    /// Its number, as in the links of `/proc/PID/fd`.
    pub inode: u64,
}

/// All sockets that listen on this port now, on any address.
pub fn listeners(port: u16) -> Vec<Listener> {
    asked(port).unwrap_or_else(|_| printed(port))
}

fn printed(port: u16) -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| read(&table, port))
        .collect()
}

fn read(table: &str, port: u16) -> Vec<Listener> {
    let one = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, local) = fields.get(1)?.split_once(':')?;
        let here = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        here.then_some(())?;
        let (uid, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
        Some(Listener { address: unhex(address)?, uid, inode })
    };
    table.lines().skip(1).filter_map(one).collect()
}

/// An address as the kernel prints it: each word of its bytes as a number of this machine.
fn unhex(text: &str) -> Option<IpAddr> {
    let word =
        |n: usize| Some(u32::from_str_radix(text.get(8 * n..8 * n + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (n, chunk) in bytes.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(n)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

fn asked(port: u16) -> io::Result<Vec<Listener>> {
    let kernel = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    // The kernel answers at once. Should it not, nobody is to wait for it.
    setsockopt(&kernel, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
    let mut found = Vec::new();
    for family in [nix::libc::AF_INET, nix::libc::AF_INET6] {
        let family = u8::try_from(family).expect("families are small");
        let question = question(family, port);
        let to = NetlinkAddr::new(0, 0);
        sendto(kernel.as_raw_fd(), &question, &to, MsgFlags::empty())?;
        while !take(&answer(&kernel)?, port, &mut found)? {}
    }
    Ok(found)
}

fn question(family: u8, port: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + 56);
    out.extend((HEAD as u32 + 56).to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(DUMP.to_ne_bytes());
    out.extend([0; 8]); // sequence and sender
    out.extend([family, TCP, 0, 0]);
    out.extend(LISTENING.to_ne_bytes());
    out.extend(port.to_be_bytes());
    out.resize(HEAD + 56, 0);
    out
}

fn answer(kernel: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }
}

/// Takes in the messages of an answer. True: it was the last one.
fn take(answer: &[u8], port: u16, found: &mut Vec<Listener>) -> io::Result<bool> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let mut rest = answer;
    while !rest.is_empty() {
        let head = rest.get(..HEAD).ok_or_else(wrong)?;
        let length = u32::from_ne_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let body = rest.get(HEAD..length).ok_or_else(wrong)?;
        match u16::from_ne_bytes([head[4], head[5]]) {
            DONE => return Ok(true),
            ERROR => {
                let code = body.get(..4).ok_or_else(wrong)?;
                let code = i32::from_ne_bytes(code.try_into().expect("four bytes"));
                return Err(io::Error::from_raw_os_error(-code));
            }
            BY_FAMILY => found.extend(one(body, port).ok_or_else(wrong)?),
            _ => {}
        }
        // Messages begin at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// What a message says of a socket, if that listens on this port; `None` if it cannot be read.
fn one(body: &[u8], port: u16) -> Option<Option<Listener>> {
    let body = body.get(..BODY)?;
    let address: IpAddr = match i32::from(body[0]) {
        nix::libc::AF_INET => {
            Ipv4Addr::from(<[u8; 4]>::try_from(&body[8..12]).expect("four bytes")).into()
        }
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(&body[8..24]).expect("sixteen bytes")).into(),
    };
    let number = |at: usize| u32::from_ne_bytes(body[at..at + 4].try_into().expect("four bytes"));
    let listener = Listener { address, uid: number(64), inode: number(68).into() };
    Some((body[4..6] == port.to_be_bytes()).then_some(listener))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn listeners_of_both_families_are_found_and_no_others() {
        use std::os::fd::AsFd as _;
        let all = |socket: &TcpListener| {
            let port = socket.local_addr().unwrap().port();
            assert_eq!(asked(port).unwrap(), printed(port), "both ways say the same");
            listeners(port)
        };
        let this = |socket: &TcpListener| Listener {
            address: socket.local_addr().unwrap().ip(),
            uid: nix::unistd::getuid().as_raw(),
            inode: nix::sys::stat::fstat(socket.as_fd()).unwrap().st_ino,
        };
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        // A connection is no listener.
        let _visitor = std::net::TcpStream::connect(four.local_addr().unwrap()).unwrap();
        assert_eq!(all(&four), [this(&four)]);
        if let Ok(six) = TcpListener::bind("[::1]:0") {
            assert_eq!(all(&six), [this(&six)]);
        }
        let port = four.local_addr().unwrap().port();
        drop(four);
        assert_eq!(listeners(port), []);
    }

    fn at(address: &str, uid: u32, inode: u64) -> Listener {
        Listener { address: address.parse().unwrap(), uid, inode }
    }

    #[test]
    fn a_table_is_read_as_the_kernel_writes_it() {
        let table = "  sl  local_address rem_address   st tx rx tr when retrnsmt   uid\n   \
            0: 0100007F:4E21 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001 0 11\n   \
            1: 0100007F:4E21 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1002 0 1\n   \
            2: 00000000000000000000000001000000:4E21 0:0 0A 0:0 00:0 0  1003 0 13\n";
        if cfg!(target_endian = "little") {
            assert_eq!(read(table, 20_001), [at("127.0.0.1", 1001, 11), at("::1", 1003, 13)]);
        }
        assert_eq!(read(table, 20_002), []);
    }

    #[test]
    fn an_answer_that_is_cut_or_an_error_is_not_taken_for_nobody() {
        let mut found = Vec::new();
        let mut error = question(2, 80);
        error[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        error[HEAD..HEAD + 4].copy_from_slice(&(-13_i32).to_ne_bytes());
        let denied = take(&error, 80, &mut found).unwrap_err();
        assert_eq!(denied.raw_os_error(), Some(13));
        assert!(take(&error[..40], 80, &mut found).is_err());
        assert!(take(&question(2, 80), 80, &mut found).is_err(), "no whole message of a socket");
        assert_eq!(found, []);
    }
}
