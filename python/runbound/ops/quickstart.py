"""`runbound run --quickstart`: a resolver to look at, with nothing to write first.

Owns the example configuration it makes (in ./.runbound, so that it can be read and copied), the question whom this
machine can reach (the root of the Internet, else its own resolvers), and the lab's process when it reaches nobody. It
must never touch an existing installation: other ports, own state, own folder.
"""

import contextlib
import os
import secrets
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from runbound.errors import RunboundError
from runbound.state.directory import API_KEY_NAME, FILE_MODE, StateDirectory

FOLDER: Final = ".runbound"
FILE: Final = "runbound.conf"
DNS_PORT: Final = 5335
RESOLV_CONF: Final = "/etc/resolv.conf"
MAX_SERVERS: Final = 3
"""Servers taken from resolv.conf, as the C library does."""
PROBE_SECONDS: Final = 0.25
"""How long those servers may take to answer one question. Part of the time to the first answer, so short."""
GRACE_SECONDS: Final = 0.03
"""How much longer to wait for the others once one has answered."""
LAB_READY_SECONDS: Final = 10.0
PR_SET_PDEATHSIG: Final = 1
SIGTERM: Final = 15

ROOT_SERVERS: Final = ("198.41.0.4", "199.7.91.13", "193.0.14.129", "2001:7fd::1")
"""A, D and K: enough to see whether the root can be reached (RFC 9609)."""
ROOT_ANCHORS: Final = (
    ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
)
"""The root's, as IANA publishes them: behind a forwarder for everything they have to be named."""
LAB_FOLDER: Final = "lab"
LAB_ROOT: Final = "127.18.0.1"
"""Where the lab's first root server is on a machine without a network namespace."""
LAB_RESOLVER: Final = "127.18.0.53"
DOMAIN: Final = 53
"""The port of every name server: a delegation names none."""

_ROOT_NS: Final = b"\0" + struct.pack("!HH", 2, 1)
"""The question of the probe: the name servers of the root, which every resolver knows."""
_OPT_DO: Final = b"\0" + struct.pack("!HHIH", 41, 1232, 0x8000, 0)
_RRSIG: Final = struct.pack("!HH", 46, 1)


class Plan(msgspec.Struct, frozen=True):
    """What the quickstart decided."""

    config_path: str
    folder: str
    """The folder as a person standing here would write it."""
    port: int
    found: "Found"


class Found(msgspec.Struct, frozen=True):
    """Whom this machine can ask. Without anything here it recurses from the root."""

    servers: tuple[str, ...] = ()
    """Its resolvers that answered, when the root cannot be reached."""
    signed: bool = True
    """Whether those hand out signatures."""
    lab_port: int | None = None
    """The port of the lab that stands in; 53 when it can be walked from its root."""


class Lab:
    """The lab's process. It ends with us, however we end."""

    def __init__(self, port: int, folder: str) -> None:
        address = LAB_RESOLVER if port == DOMAIN else "127.0.0.1"
        words = ["--address", address, "--port", str(port), "--folder", os.path.join(folder, LAB_FOLDER)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runbound.lab", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is ours to handle: what is in flight to the lab may still finish
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # no thread runs yet
        )

    def wait_ready(self) -> bool:
        """Waits until the lab says that it listens; False if it ended or takes too long."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(LAB_READY_SECONDS):
                return False
        return b"ready" in self._process.stdout.readline()

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def prepare(port: int = DNS_PORT, api_port: int | None = None, folder: str = FOLDER) -> Plan:
    """Looks whom it can ask and writes the configuration. Nothing listens yet.

    Raises RunboundError if the folder cannot be used, another quickstart runs in it, or the port is taken.
    """
    roots, resolvers = Probe(ROOT_SERVERS, recursive=False), Probe(system_servers())
    shown, folder = folder, os.path.abspath(folder)
    state = StateDirectory.open(folder)
    try:
        _must_be_free(port)
        found = _found(roots, resolvers)
        path = os.path.join(folder, FILE)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(configuration(port, api_port, found, folder))
    except OSError as error:
        raise RunboundError(f"quickstart: cannot write {error.filename}: {error.strerror}") from error
    finally:
        state.close()
    return Plan(path, shown, port, found)


def _found(roots: "Probe", resolvers: "Probe") -> Found:
    if roots.answered():
        return Found()
    if servers := resolvers.answered():
        return Found(tuple(servers), signed=resolvers.signed)
    return Found(lab_port=DOMAIN if _lab_can_be_walked() else _free_port())


def configuration(port: int, api_port: int | None, found: Found, folder: str) -> str:
    """The text of the example configuration."""
    lab = os.path.join(folder, LAB_FOLDER)
    more = []
    if found.lab_port is not None:
        more.append(f'    trust-anchor-file: "{lab}/root.key"   # of the lab: trust it nowhere else')
    if found.lab_port == DOMAIN:
        more.append(f'    root-hints: "{lab}/root.hints"')
    if found.servers and found.signed:
        more += [f'    trust-anchor: "{anchor}"' for anchor in ROOT_ANCHORS]
    if not found.signed:
        more.append(
            '    module-config: "iterator"   # the servers below leave out signatures: nothing can be validated'
        )
    forward = [f"    forward-addr: {server}" for server in found.servers]
    if found.lab_port not in (None, DOMAIN):
        forward.append(f"    forward-addr: 127.0.0.1@{found.lab_port}   # the lab that comes with runbound")
    api = [] if api_port is None else [f"    api-port: {api_port}"]
    return "\n".join(
        [
            "# Made by `runbound run --quickstart` at each start: copy it before you edit it.",
            "server:",
            f"    interface: 127.0.0.1@{port}",
            '    username: ""              # stay who you are: no port here needs root',
            "    use-syslog: no",
            '    state-dir: "."',
            *api,
            "    do-not-query-localhost: no",
            "    ede: yes                  # say why, when there is no answer",
            "    # A name of your own, and one that is blocked.",
            '    local-zone: "home.arpa." static',
            '    local-data: "runbound.home.arpa. 3600 IN A 192.0.2.53"',
            '    local-data: "runbound.home.arpa. 3600 IN AAAA 2001:db8::53"',
            "    local-data: 'runbound.home.arpa. 3600 IN TXT \"it works\"'",
            '    local-zone: "ads.example." always_nxdomain',
            *more,
            *(
                ["forward-zone:", '    name: "."', *forward]
                if forward
                else ["# All other names are looked up from the root down, and signatures are validated."]
            ),
            "",
        ]
    )


def hints(plan: Plan, api_urls: Iterable[str]) -> str:
    """What to try, printed once the resolver answers."""
    found = plan.found
    if found.lab_port is not None:
        source = "from the lab (this machine reaches neither the Internet nor a resolver)"
    elif found.servers:
        source = f"asked of {', '.join(found.servers)}; again, from the cache"
    else:
        source = "found from the root down; again, from the cache"
    lines = [
        "",
        f"runbound answers on 127.0.0.1 port {plan.port}. Try:",
        "",
        f"  dig @127.0.0.1 -p {plan.port} runbound.home.arpa        # local data",
        f"  dig @127.0.0.1 -p {plan.port} www.example.com           # {source}",
        f"  dig @127.0.0.1 -p {plan.port} banner.ads.example        # blocked",
    ]
    if found.lab_port is not None:
        lines += [
            f"  dig @127.0.0.1 -p {plan.port} www.signed.lab +dnssec    # signed and validated: the flag ad",
            f"  dig @127.0.0.1 -p {plan.port} www.expired.broken        # signed too long ago: refused, and why",
            f"  dig @127.0.0.1 -p {plan.port} www.moved.alias.lab       # a DNAME, and the CNAME made of it",
            f"  dig @127.0.0.1 -p {plan.port} www.slow.lab              # takes its time; again, from the cache",
            "  runbound lab --list                                # every zone of the lab, and what it teaches",
        ]
    elif found.signed:
        lines += [
            f"  dig @127.0.0.1 -p {plan.port} iana.org +dnssec          # signed and validated: the flag ad",
            f"  dig @127.0.0.1 -p {plan.port} dnssec-failed.org         # signed wrongly: refused, and why",
        ]
    key = os.path.join(plan.folder, API_KEY_NAME)
    for url in api_urls:
        lines += [
            f"  curl {url}/health",
            f'  curl -H "Authorization: Bearer $(cat {key})" {url}/stats',
        ]
    conf = os.path.join(plan.folder, FILE)
    if api_urls:
        lines += [
            f"  runbound explain -c {conf} www.example.com   # every step, and the chain of trust",
            f"  runbound upstreams -c {conf}                 # whom it asks, how fast and how well they are",
        ]
    lines += ["", f"Its configuration is {conf}. Ctrl-C stops it.", ""]
    return "\n".join(lines)


def system_servers(path: str = RESOLV_CONF) -> list[str]:
    """The name servers of resolv.conf, in order. One on loopback is somebody else's: ours listens on no port 53."""
    found: list[str] = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for text in file:
                words = text.split()
                if len(words) > 1 and words[0] == "nameserver" and "%" not in words[1]:
                    found.append(words[1])
    except OSError:
        return []
    return found[:MAX_SERVERS]


class Probe:
    """One real question to each server at once. The packets leave when it is made, `answered` collects.

    `recursive`: the servers are to be resolvers; otherwise they are to speak for the root.
    """

    def __init__(self, servers: Sequence[str], port: int = DOMAIN, *, recursive: bool = True) -> None:
        self._servers = servers
        self._recursive = recursive
        self.signed = True
        """After `answered`: whether all of those that did gave signatures."""
        self._deadline = time.monotonic() + PROBE_SECONDS
        self._waiting: dict[socket.socket, tuple[str, bytes]] = {}
        flags = 0x0100 if recursive else 0
        for server in servers:
            channel = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
            query_id = secrets.token_bytes(2)
            try:
                channel.setblocking(False)
                channel.connect((server, port))
                channel.send(query_id + struct.pack("!HHHHH", flags, 1, 0, 0, 1) + _ROOT_NS + _OPT_DO)
            except (OSError, ValueError):
                channel.close()
                continue
            self._waiting[channel] = (server, query_id)

    def answered(self) -> list[str]:
        """The servers that answered as they should, in the order of the list."""
        good: set[str] = set()
        deadline = self._deadline
        with selectors.DefaultSelector() as selector:
            for waiting in self._waiting:
                selector.register(waiting, selectors.EVENT_READ, waiting)
            while self._waiting and (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    channel: socket.socket = key.data
                    server, query_id = self._waiting.pop(channel)
                    selector.unregister(channel)
                    if self._is_good(channel, query_id):
                        good.add(server)
                        deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
                    channel.close()
        for waiting in self._waiting:
            waiting.close()
        self._waiting.clear()
        return [server for server in self._servers if server in good]

    def _is_good(self, channel: socket.socket, query_id: bytes) -> bool:
        """Whether the reply is that of a resolver with the Internet behind it, or of a root server.

        That is: our id and question, recursion or authority, no error.

        A walled-off network's server says NXDOMAIN even of the root, and some networks answer in the root's place, with
        recursion: forwarding to the one, or recursing behind the other, would answer nothing.
        """
        try:
            reply = channel.recv(4096)
        except OSError:
            return False
        if len(reply) < 12 + len(_ROOT_NS) or reply[:2] != query_id or reply[12 : 12 + len(_ROOT_NS)] != _ROOT_NS:
            return False
        flags = int.from_bytes(reply[2:4], "big")
        response, authority, cut, recursion, rcode = (flags & bit for bit in (0x8000, 0x0400, 0x0200, 0x0080, 0x000F))
        right = bool(recursion) if self._recursive else bool(authority) and not recursion
        if not (response and right and rcode == 0):
            return False
        self.signed &= bool(cut) or _RRSIG in reply
        return True


def _free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, for UDP and TCP, at this moment."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


def _lab_can_be_walked() -> bool:
    """Whether the lab's servers can have port 53 on their own addresses, as every delegation implies."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        try:
            for channel in (tcp, udp):
                channel.bind((LAB_ROOT, DOMAIN))
        except OSError:
            return False
    return True


def _must_be_free(port: int) -> None:
    """Looks whether the port is taken. Our own sockets would not notice: they share a port with another runbound's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.bind(("127.0.0.1", port))
        except OSError as error:
            raise RunboundError(
                f"quickstart: cannot listen on 127.0.0.1 port {port}: {error.strerror}",
                fix="stop who listens there, or choose another with --port",
            ) from error


def _die_with_parent() -> None:
    """In the child, before exec: SIGTERM when the parent ends, even by SIGKILL."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
