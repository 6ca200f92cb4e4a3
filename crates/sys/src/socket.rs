//! Sockets, set up before they are bound as Unbound's options ask.
//!
//! Owns every socket option of listening and upstream sockets. All sockets it makes are non-blocking and closed on
//! exec. It never reads or writes one: batches are `udp`'s, streams are tokio's.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Connections the kernel keeps for us until accepted; Unbound's TCP_BACKLOG.
const TCP_BACKLOG: i32 = 256;

/// The smallest MTU every IPv6 path carries (RFC 8200 section 5): answers are fragmented to it at the source, because
/// a resolver does not remember whose path is narrower.
const IPV6_MIN_MTU: i32 = 1280;

/// IP_PMTUDISC_OMIT (linux/in.h): neither set "don't fragment" nor believe ICMP "fragmentation needed", which anyone
/// can forge to make answers fragment.
const IP_PMTUDISC_OMIT: i32 = 5;

/// What a listening socket is asked for; names are Unbound's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `so-reuseport`: several sockets share one address, one a worker.
    pub reuseport: bool,
    /// `ip-freebind`: bind an address that is not there yet.
    pub freebind: bool,
    /// `ip-transparent`: bind an address that is not ours.
    pub transparent: bool,
    /// `ip-dscp`: 0 to 63; 0 leaves the field alone.
    pub dscp: u8,
    /// `so-rcvbuf` in octets; 0 is the system's default. Without the right to go beyond it the system grants what its own limit
    /// (`net.core.rmem_max`) allows.
    pub rcvbuf: u32,
    /// `so-sndbuf` in octets; 0 is the system's default.
    pub sndbuf: u32,
    /// `tcp-mss` in octets; 0 is the system's default.
    pub tcp_mss: u32,
    /// `do-udp`: open a UDP socket on the address.
    pub udp: bool,
    /// `do-tcp`: open a TCP socket on the address.
    pub tcp: bool,
    /// `interface-automatic`: learn each datagram's destination and answer from it.
    pub pktinfo: bool,
    /// `sock-queue-timeout` is set: learn when the kernel received each datagram.
    pub timestamps: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            reuseport: true,
            freebind: false,
            transparent: false,
            dscp: 0,
            rcvbuf: 0,
            sndbuf: 0,
            tcp_mss: 0,
            udp: true,
            tcp: true,
            pktinfo: false,
            timestamps: false,
        }
    }
}

/// A UDP socket bound to `addr`.
///
/// # Errors
/// What the kernel says of the address (`AddrInUse`, `AddrNotAvailable`, `PermissionDenied`) or of an option.
pub fn udp_listener(addr: SocketAddr, o: &SocketOptions) -> io::Result<UdpSocket> {
    let socket = new_socket(addr, Type::DGRAM, Protocol::UDP)?;
    common(&socket, addr, o)?;
    // Buffers beyond the system's limit need a privilege (the FORCE form); without it the kernel gives what it may.
    if o.rcvbuf > 0 && set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, o.rcvbuf as i32).is_err() {
        socket.set_recv_buffer_size(o.rcvbuf as usize)?;
    }
    if o.sndbuf > 0 && set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, o.sndbuf as i32).is_err() {
        socket.set_send_buffer_size(o.sndbuf as usize)?;
    }
    adjust_udp(&socket, addr, o)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// A TCP socket bound to `addr` and listening.
///
/// # Errors
/// As `udp_listener`.
pub fn tcp_listener(addr: SocketAddr, o: &SocketOptions) -> io::Result<TcpListener> {
    let socket = new_socket(addr, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?; // a restart must not wait for connections in TIME_WAIT
    common(&socket, addr, o)?;
    if o.tcp_mss > 0 {
        set(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, o.tcp_mss as i32)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

/// What kind of socket a descriptor handed over by a service manager is.
#[derive(Debug)]
pub enum Inherited {
    /// A bound UDP socket.
    Udp(UdpSocket),
    /// A listening TCP socket.
    Tcp(TcpListener),
}

/// Duplicates a descriptor handed over (systemd's LISTEN_FDS), so that each worker owns one; the original stays open.
///
/// # Errors
/// `InvalidInput` if it is not a UDP or TCP socket of IPv4 or IPv6; `BadFileDescriptor` and the like from the kernel.
pub fn inherit(fd: i32, o: &SocketOptions) -> io::Result<Inherited> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: fcntl with integers only; an invalid descriptor is an error, not undefined.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` was just made by the kernel and nobody else owns it.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(copy) });
    let addr = socket.local_addr()?.as_socket().ok_or_else(not_ours)?;
    socket.set_nonblocking(true)?;
    match socket.r#type()? {
        t if t == Type::DGRAM => {
            adjust_udp(&socket, addr, o)?;
            Ok(Inherited::Udp(socket.into()))
        }
        t if t == Type::STREAM && socket.is_listener()? => Ok(Inherited::Tcp(socket.into())),
        _ => Err(not_ours()),
    }
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not a UDP or listening TCP socket")
}

/// A UDP socket bound to a local address and port and connected to `server`, so that the kernel lets only that
/// server's datagrams in and reports its ICMP errors. With `from` unset the kernel picks the address.
///
/// # Errors
/// `AddrInUse` when the port is taken (try another), else what the kernel says of the route.
pub fn upstream_udp(from: Option<IpAddr>, port: u16, server: SocketAddr, dscp: u8) -> io::Result<UdpSocket> {
    let socket = new_socket(server, Type::DGRAM, Protocol::UDP)?;
    set_dscp(&socket, server, dscp)?;
    if server.is_ipv4() {
        omit_path_mtu(&socket);
    }
    socket.bind(&SocketAddr::new(from.unwrap_or_else(|| any(server)), port).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// A TCP socket ready to be connected to `server` by the caller; bound only if `from` is given.
///
/// # Errors
/// What the kernel says of the address or an option.
pub fn upstream_tcp(from: Option<IpAddr>, server: SocketAddr, mss: u32, dscp: u8) -> io::Result<TcpStream> {
    let socket = new_socket(server, Type::STREAM, Protocol::TCP)?;
    set_dscp(&socket, server, dscp)?;
    if mss > 0 {
        set(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, mss as i32)?;
    }
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    Ok(socket.into())
}

fn any(peer: SocketAddr) -> IpAddr {
    match peer {
        SocketAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

fn new_socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind.nonblocking().cloexec(), Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?; // ::0 and 0.0.0.0 are two interfaces in unbound.conf
    }
    Ok(socket)
}

fn common(socket: &Socket, addr: SocketAddr, o: &SocketOptions) -> io::Result<()> {
    if o.reuseport {
        socket.set_reuse_port(true)?;
    }
    if o.freebind {
        socket.set_freebind_v4(true).or_else(|e| if addr.is_ipv6() { socket.set_freebind_v6(true) } else { Err(e) })?;
    }
    if o.transparent {
        if addr.is_ipv6() {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1)?;
        } else {
            set(socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1)?;
        }
    }
    set_dscp(socket, addr, o.dscp)
}

fn adjust_udp(socket: &Socket, addr: SocketAddr, o: &SocketOptions) -> io::Result<()> {
    if addr.is_ipv6() {
        // Best effort: an odd kernel without them still answers, only with fragments lost on narrow paths.
        let _ = set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU, IPV6_MIN_MTU);
        if o.pktinfo {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
    } else {
        omit_path_mtu(socket);
        if o.pktinfo {
            set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
    }
    if o.timestamps {
        set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    }
    Ok(())
}

fn omit_path_mtu(socket: &Socket) {
    if set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, IP_PMTUDISC_OMIT).is_err() {
        let _ = set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT);
    }
}

fn set_dscp(socket: &Socket, addr: SocketAddr, dscp: u8) -> io::Result<()> {
    if dscp == 0 {
        return Ok(());
    }
    let field = i32::from(dscp & 0x3f) << 2; // the two low bits are congestion notification's (RFC 2474)
    if addr.is_ipv6() {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, field)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_TOS, field)
    }
}

fn set(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open, the pointer and length describe one readable i32.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:0";

    #[test]
    fn workers_share_one_address() {
        let o = SocketOptions { dscp: 46, rcvbuf: 1 << 20, sndbuf: 1 << 20, ..SocketOptions::default() };
        let first = udp_listener(LOOPBACK.parse().unwrap(), &o).unwrap();
        let addr = first.local_addr().unwrap();
        let second = udp_listener(addr, &o).unwrap();
        assert_eq!(second.local_addr().unwrap(), addr);
        let tcp = tcp_listener(LOOPBACK.parse().unwrap(), &o).unwrap();
        assert!(tcp_listener(tcp.local_addr().unwrap(), &o).is_ok());
    }

    #[test]
    fn without_reuseport_the_second_is_refused() {
        let o = SocketOptions { reuseport: false, ..SocketOptions::default() };
        let first = udp_listener(LOOPBACK.parse().unwrap(), &o).unwrap();
        let e = udp_listener(first.local_addr().unwrap(), &o).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn freebind_binds_what_is_not_there() {
        let absent: SocketAddr = "192.0.2.77:0".parse().unwrap();
        assert!(udp_listener(absent, &SocketOptions::default()).is_err());
        let o = SocketOptions { freebind: true, ..SocketOptions::default() };
        assert!(udp_listener(absent, &o).is_ok());
        assert!(tcp_listener(absent, &o).is_ok());
    }

    #[test]
    fn an_inherited_descriptor_is_recognised() {
        let o = SocketOptions::default();
        let udp = UdpSocket::bind(LOOPBACK).unwrap();
        let tcp = TcpListener::bind(LOOPBACK).unwrap();
        assert!(matches!(inherit(udp.as_raw_fd(), &o), Ok(Inherited::Udp(_))));
        assert!(matches!(inherit(tcp.as_raw_fd(), &o), Ok(Inherited::Tcp(_))));
        assert!(inherit(-1, &o).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(inherit(file.as_raw_fd(), &o).is_err());
    }

    #[test]
    fn an_upstream_socket_hears_only_its_server() {
        let server = UdpSocket::bind(LOOPBACK).unwrap();
        let other = UdpSocket::bind(LOOPBACK).unwrap();
        let ours = upstream_udp(None, 0, server.local_addr().unwrap(), 0).unwrap();
        let addr = ours.local_addr().unwrap();
        other.send_to(b"forged", addr).unwrap();
        server.send_to(b"true", addr).unwrap();
        ours.set_nonblocking(false).unwrap();
        let mut buffer = [0; 16];
        let n = ours.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"true");
    }
}
