//! Who listens on a port, asked of the kernel by `sock_diag(7)`: only listening sockets are looked through, where
//! `/proc/net/tcp` would print every connection of the machine.

use std::{
    io,
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

/// Address and uid of each socket that listens on this port.
pub(super) fn listening(port: u16) -> io::Result<Vec<(IpAddr, u32)>> {
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
fn take(answer: &[u8], port: u16, found: &mut Vec<(IpAddr, u32)>) -> io::Result<bool> {
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
fn one(body: &[u8], port: u16) -> Option<Option<(IpAddr, u32)>> {
    let body = body.get(..BODY)?;
    let address: IpAddr = match i32::from(body[0]) {
        nix::libc::AF_INET => {
            Ipv4Addr::from(<[u8; 4]>::try_from(&body[8..12]).expect("four bytes")).into()
        }
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(&body[8..24]).expect("sixteen bytes")).into(),
    };
    let uid = u32::from_ne_bytes(body[64..68].try_into().expect("four bytes"));
    Some((body[4..6] == port.to_be_bytes()).then_some((address, uid)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn listeners_of_both_families_are_found_and_no_others() {
        let me = nix::unistd::getuid().as_raw();
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = four.local_addr().unwrap().port();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        // A connection is no listener.
        let _visitor = std::net::TcpStream::connect(four.local_addr().unwrap()).unwrap();
        assert_eq!(listening(port).unwrap(), [(IpAddr::from([127, 0, 0, 1]), me)]);
        if let Ok(six) = TcpListener::bind("[::1]:0") {
            let port = six.local_addr().unwrap().port();
            assert_eq!(listening(port).unwrap(), [(Ipv6Addr::LOCALHOST.into(), me)]);
        }
        let gone = other.local_addr().unwrap().port();
        drop(other);
        assert_eq!(listening(gone).unwrap(), []);
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
