//! Datagrams by the batch: one `recvmmsg(2)` in, one `sendmmsg(2)` out.
//!
//! Owns the buffers and the kernel's message headers. A `RecvBatch` is filled, walked and filled again; a `SendBatch`
//! is written slot by slot and sent. Buffers are allocated once; pages never touched cost nothing. It never looks at
//! what a datagram says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams taken or sent by one system call. Measured: beyond 32 nothing is gained, and answers wait longer.
pub const BATCH: usize = 32;

/// Octets between two buffers beyond their size, so that the first lines of all buffers do not fall into the same
/// set of the processor's cache (which repeats every 4,096 octets).
const STAGGER: usize = 320;

/// Milliseconds we wait for room in a full send buffer before datagrams are given up. Long enough for the kernel to
/// drain a burst, short enough that a dead interface does not hold a worker.
const SEND_WAIT_MS: i32 = 10;

/// Room for the control messages of one datagram: packet information and a timestamp.
const CONTROL_WORDS: usize = 16;
const CONTROL_OCTETS: usize = CONTROL_WORDS * size_of::<u64>();

/// The address of ours that a datagram was sent to, to answer from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddr {
    /// The address.
    pub ip: IpAddr,
    /// The interface it came in by.
    pub interface: u32,
}

/// One datagram of a `RecvBatch`.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Its octets.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// Where it was sent to; only from sockets opened with `pktinfo`.
    pub local: Option<LocalAddr>,
    /// When the kernel received it, in microseconds since 1970; only from sockets opened with `timestamps`.
    pub received_unix_us: Option<u64>,
    /// It was longer than the buffer: the rest is lost.
    pub truncated: bool,
}

struct Buffers {
    octets: Vec<u8>,
    size: usize,
}

impl Buffers {
    fn new(size: usize) -> Buffers {
        Buffers { octets: vec![0; (size + STAGGER) * BATCH], size }
    }

    fn slot(&mut self, i: usize) -> &mut [u8] {
        let start = i * (self.size + STAGGER);
        &mut self.octets[start..start + self.size]
    }
}

fn headers() -> Box<[libc::mmsghdr]> {
    // SAFETY: all-zero bytes are valid mmsghdrs: null pointers and zero lengths.
    (0..BATCH).map(|_| unsafe { std::mem::zeroed() }).collect()
}

fn iovecs() -> Box<[libc::iovec]> {
    (0..BATCH).map(|_| libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }).collect()
}

fn names() -> Box<[libc::sockaddr_storage]> {
    // SAFETY: all-zero bytes are a valid sockaddr_storage of family AF_UNSPEC.
    (0..BATCH).map(|_| unsafe { std::mem::zeroed() }).collect()
}

/// A batch of received datagrams.
pub struct RecvBatch {
    buffers: Buffers,
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    control: Box<[[u64; CONTROL_WORDS]]>,
    count: usize,
}

impl RecvBatch {
    /// Room for `BATCH` datagrams of up to `size` octets each.
    pub fn new(size: usize) -> RecvBatch {
        RecvBatch {
            buffers: Buffers::new(size),
            headers: headers(),
            iovecs: iovecs(),
            names: names(),
            control: vec![[0; CONTROL_WORDS]; BATCH].into_boxed_slice(),
            count: 0,
        }
    }

    /// Takes what is waiting, at most `BATCH` datagrams, and returns how many. The datagrams of the last call are gone.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits; else what `recvmmsg(2)` reports.
    pub fn recv(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        for i in 0..BATCH {
            let slot = self.buffers.slot(i);
            self.iovecs[i] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = self.control[i].as_mut_ptr().cast();
            header.msg_controllen = CONTROL_OCTETS;
            header.msg_flags = 0;
        }
        // SAFETY: each header points at a buffer, a name and a control area that live in `self`, do not move during
        // the call and are as long as stated; the kernel writes nowhere else.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        self.count = (n as usize).min(BATCH);
        Ok(self.count)
    }

    /// Datagrams taken by the last `recv`.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the last `recv` took nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The datagram at `i`; `None` beyond the last, and for one whose sender is neither IPv4 nor IPv6.
    pub fn get(&self, i: usize) -> Option<Datagram<'_>> {
        if i >= self.count {
            return None;
        }
        let header = self.headers.get(i)?;
        let start = i * (self.buffers.size + STAGGER);
        let len = (header.msg_len as usize).min(self.buffers.size);
        let mut datagram = Datagram {
            bytes: self.buffers.octets.get(start..start + len)?,
            peer: from_storage(self.names.get(i)?)?,
            local: None,
            received_unix_us: None,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        };
        if header.msg_hdr.msg_controllen > 0 {
            read_control(&header.msg_hdr, &mut datagram);
        }
        Some(datagram)
    }
}

fn read_control(header: &libc::msghdr, datagram: &mut Datagram<'_>) {
    // SAFETY: the kernel filled `msg_controllen` octets of the control area the header points at, which is alive.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return only headers that lie wholly inside the control area.
        let (level, kind) = unsafe { ((*at).cmsg_level, (*at).cmsg_type) };
        // SAFETY: the data follows the header inside the control area; unaligned reads need no alignment.
        let data = unsafe { libc::CMSG_DATA(at) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the kernel writes a whole in_pktinfo for this type.
                let info = unsafe { std::ptr::read_unaligned(data.cast::<libc::in_pktinfo>()) };
                let ip = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                datagram.local = Some(LocalAddr { ip: IpAddr::V4(ip), interface: info.ipi_ifindex as u32 });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the kernel writes a whole in6_pktinfo for this type.
                let info = unsafe { std::ptr::read_unaligned(data.cast::<libc::in6_pktinfo>()) };
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                datagram.local = Some(LocalAddr { ip: IpAddr::V6(ip), interface: info.ipi6_ifindex });
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: the kernel writes a whole timespec for this type.
                let ts = unsafe { std::ptr::read_unaligned(data.cast::<libc::timespec>()) };
                datagram.received_unix_us = Some(ts.tv_sec as u64 * 1_000_000 + ts.tv_nsec as u64 / 1_000);
            }
            _ => {}
        }
        // SAFETY: `at` is a header of this control area; the result is null or another one.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
}

/// What became of a `SendBatch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams the kernel took.
    pub sent: usize,
    /// Datagrams it refused: no route, a full buffer, a firewall.
    pub failed: usize,
}

/// A batch of datagrams to send.
pub struct SendBatch {
    buffers: Buffers,
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    control: Box<[[u64; CONTROL_WORDS]]>,
    lens: [usize; BATCH],
    peers: [Option<(SocketAddr, Option<LocalAddr>)>; BATCH],
    count: usize,
}

impl SendBatch {
    /// Room for `BATCH` datagrams of up to `size` octets each.
    pub fn new(size: usize) -> SendBatch {
        SendBatch {
            buffers: Buffers::new(size),
            headers: headers(),
            iovecs: iovecs(),
            names: names(),
            control: vec![[0; CONTROL_WORDS]; BATCH].into_boxed_slice(),
            lens: [0; BATCH],
            peers: [None; BATCH],
            count: 0,
        }
    }

    /// The next free buffer to write into, `None` when the batch is full. Nothing is queued before `commit`.
    pub fn slot(&mut self) -> Option<&mut [u8]> {
        if self.count >= BATCH { None } else { Some(self.buffers.slot(self.count)) }
    }

    /// Queues the first `len` octets of the buffer last returned by `slot`, from `local` if given.
    pub fn commit(&mut self, len: usize, peer: SocketAddr, local: Option<LocalAddr>) {
        if self.count < BATCH {
            self.lens[self.count] = len.min(self.buffers.size);
            self.peers[self.count] = Some((peer, local));
            self.count += 1;
        }
    }

    /// Datagrams queued.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether no further datagram fits.
    pub fn is_full(&self) -> bool {
        self.count >= BATCH
    }

    /// Sends all that is queued and empties the batch. A datagram the kernel refuses is skipped and counted: what
    /// cannot reach one client must not hold the others' answers.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> Sent {
        let count = std::mem::take(&mut self.count);
        for i in 0..count {
            let Some((peer, local)) = self.peers[i] else {
                continue;
            };
            let len = self.lens[i];
            let slot = self.buffers.slot(i);
            self.iovecs[i] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: len };
            let name_len = to_storage(peer, &mut self.names[i]);
            let control_len = local.map_or(0, |l| write_control(l, &mut self.control[i]));
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = name_len;
            header.msg_iov = &raw mut self.iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control =
                if control_len == 0 { std::ptr::null_mut() } else { self.control[i].as_mut_ptr().cast() };
            header.msg_controllen = control_len;
            header.msg_flags = 0;
        }
        let mut done = 0;
        let mut result = Sent::default();
        while done < count {
            let Some(rest) = self.headers.get_mut(done..count) else {
                break;
            };
            // SAFETY: each header points at a buffer, a name and a control area that live in `self`, do not move
            // during the call and are as long as stated; the kernel only reads them, and writes msg_len.
            let n = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            if n > 0 {
                result.sent += n as usize;
                done += n as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if wait_writable(socket) => {}
                io::ErrorKind::WouldBlock => {
                    result.failed += count - done;
                    return result;
                }
                _ => {
                    result.failed += 1;
                    done += 1;
                }
            }
        }
        result
    }
}

fn wait_writable(socket: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd, and the count says one.
    unsafe { libc::poll(&mut poll, 1, SEND_WAIT_MS) > 0 }
}

fn write_control(local: LocalAddr, area: &mut [u64; CONTROL_WORDS]) -> usize {
    *area = [0; CONTROL_WORDS];
    let (level, kind, size) = match local.ip {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>()),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>()),
    };
    let header = area.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the area is 8-aligned and has 128 octets, more than CMSG_SPACE of either structure (at most 40), so the
    // header and the data written lie inside it; CMSG_LEN, CMSG_SPACE and CMSG_DATA only compute.
    unsafe {
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size as libc::c_uint) as usize;
        let data = libc::CMSG_DATA(header);
        match local.ip {
            IpAddr::V4(ip) => std::ptr::write_unaligned(
                data.cast(),
                libc::in_pktinfo {
                    ipi_ifindex: 0, // the route decides; only the source address is ours to choose
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(ip).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                },
            ),
            IpAddr::V6(ip) => std::ptr::write_unaligned(
                data.cast(),
                libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    // a link-local source means nothing without its interface
                    ipi6_ifindex: if ip.is_unicast_link_local() { local.interface } else { 0 },
                },
            ),
        }
        libc::CMSG_SPACE(size as libc::c_uint) as usize
    }
}

fn from_storage(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let at: *const libc::sockaddr_storage = storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says so, and sockaddr_storage is large enough and aligned for every family.
            let sin = unsafe { &*at.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(sin.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(sin.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says so, and sockaddr_storage is large enough and aligned for every family.
            let sin6 = unsafe { &*at.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(sin6.sin6_addr.s6_addr);
            let port = u16::from_be(sin6.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, sin6.sin6_flowinfo, sin6.sin6_scope_id)))
        }
        _ => None,
    }
}

fn to_storage(addr: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    let at: *mut libc::sockaddr_storage = storage;
    match addr {
        SocketAddr::V4(v4) => {
            let sin = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large enough and aligned for every family.
            unsafe { at.cast::<libc::sockaddr_in>().write(sin) };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            let sin6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: sockaddr_storage is large enough and aligned for every family.
            unsafe { at.cast::<libc::sockaddr_in6>().write(sin6) };
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{SocketOptions, udp_listener};
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn wait(batch: &mut RecvBatch, socket: &UdpSocket) -> usize {
        loop {
            match batch.recv(socket.as_fd()) {
                Ok(n) => return n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn round_trip(address: &str, ask: &str, expect: IpAddr) {
        let o = SocketOptions { pktinfo: true, timestamps: true, ..SocketOptions::default() };
        let server = udp_listener(address.parse().unwrap(), &o).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind((if expect.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).unwrap();
        for i in 0..3u8 {
            client.send_to(&[i; 5], (ask, port)).unwrap();
        }
        let mut batch = RecvBatch::new(512);
        let mut out = SendBatch::new(512);
        let mut seen = 0;
        while seen < 3 {
            for i in 0..wait(&mut batch, &server) {
                let d = batch.get(i).unwrap();
                assert_eq!(d.bytes, [seen as u8; 5]);
                assert_eq!(d.peer, client.local_addr().unwrap());
                assert_eq!(d.local.unwrap().ip, expect);
                assert!(d.received_unix_us.unwrap() > 1_000_000);
                assert!(!d.truncated);
                out.slot().unwrap()[..2].copy_from_slice(b"ok");
                out.commit(2, d.peer, d.local);
                seen += 1;
            }
        }
        assert_eq!(out.send(server.as_fd()), Sent { sent: 3, failed: 0 });
        assert!(out.is_empty());
        let mut buffer = [0; 16];
        let (n, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..n], from.ip()), (&b"ok"[..], expect));
    }

    #[test]
    fn answers_leave_from_the_address_asked() {
        round_trip("0.0.0.0:0", "127.0.0.5", "127.0.0.5".parse().unwrap());
        if UdpSocket::bind("[::1]:0").is_ok() {
            round_trip("[::]:0", "::1", "::1".parse().unwrap());
        }
    }

    #[test]
    fn one_unreachable_client_does_not_hold_the_others() {
        let server = udp_listener("127.0.0.1:0".parse().unwrap(), &SocketOptions::default()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut out = SendBatch::new(64);
        for peer in ["192.0.2.1:53".parse().unwrap(), client.local_addr().unwrap()] {
            out.slot().unwrap()[0] = 7;
            out.commit(1, peer, None);
        }
        // 127.0.0.1 cannot speak to another network: the kernel refuses the first.
        assert_eq!(out.send(server.as_fd()), Sent { sent: 1, failed: 1 });
        let mut buffer = [0; 4];
        assert_eq!(client.recv(&mut buffer).unwrap(), 1);
    }

    #[test]
    fn a_long_datagram_is_marked_and_a_full_batch_says_so() {
        let server = udp_listener("127.0.0.1:0".parse().unwrap(), &SocketOptions::default()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[1; 100], server.local_addr().unwrap()).unwrap();
        let mut batch = RecvBatch::new(64);
        assert_eq!(wait(&mut batch, &server), 1);
        assert!(batch.get(0).unwrap().truncated);
        assert!(batch.get(1).is_none());
        let mut out = SendBatch::new(8);
        while out.slot().is_some() {
            out.commit(1, client.local_addr().unwrap(), None);
        }
        assert!(out.is_full());
        assert_eq!(out.send(server.as_fd()).sent, BATCH);
    }
}
