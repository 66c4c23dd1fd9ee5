"""Programs that reach for a network: addresses, names, sockets of the host."""

from __future__ import annotations

import os

from tests.support.prelude import answer
from tests.support.probes import Attack, one_of

REFUSED = one_of("EACCES", "EPERM", "ENOSYS", "gaierror", "ENOENT")


def connect(*addresses: tuple[str, int]) -> str:
    """Connect to any of these addresses."""
    import socket

    for host, port in addresses:
        if answer(lambda host=host, port=port: socket.create_connection((host, port), 2).close()) == "succeeded":
            return "connected"
    return "refused"


def listen() -> str:
    """Offer a port of one's own."""
    import socket

    def offer() -> None:
        with socket.socket() as made:
            made.bind(("127.0.0.1", 0))
            made.listen()

    return answer(offer)


def resolve() -> str:
    """Ask for a name."""
    import socket

    return answer(socket.getaddrinfo, "localhost", 80)


def connect_path(path: str) -> str:
    """Connect to a socket in the file system."""
    import socket

    def reach() -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.connect(path)

    return answer(reach)


def connect_abstract(name: str) -> str:
    """Connect to a socket with an abstract name, which no mount hides."""
    import socket

    def reach() -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.connect("\0" + name)

    return answer(reach)


def known_sockets(root: str) -> str:
    """Connect to the sockets by which hosts are taken over."""
    import socket

    paths = [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/dbus/system_bus_socket",
    ]
    paths += [os.environ.get("SSH_AUTH_SOCK", "/nonexistent"), "/run/systemd/private", "/run/user/0/bus"]

    def reach(path: str) -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.connect(path)

    found = [root + path for path in paths]
    reached = [path for path in found if answer(reach, path) == "succeeded" or os.path.exists(path)]
    return f"reached: {reached}" if reached else "refused"


def send_to(name: str) -> str:
    """Send to an address through the one kind of socket that there is."""
    import socket

    left, right = socket.socketpair()
    made = answer(left.sendto, b"x", 0, "\0" + name)
    left.close()
    right.close()
    return made


def interfaces() -> str:
    """Make an interface, and list those that there are, and the routes."""
    import fcntl
    import socket

    def make() -> None:
        with socket.socket() as made:
            fcntl.ioctl(made, 0x89A0, b"canary\0")  # SIOCBRADDBR

    answer(make)
    with open("/proc/self/net/dev") as file:
        names = [line.split(":")[0].strip() for line in file.readlines()[2:]]
    with open("/proc/self/net/route") as file:
        routes = len(file.readlines()) - 1
    return "none" if set(names) <= {"lo"} and routes <= 0 else "some"


def inherited() -> str:
    """Look for a socket among the descriptors that were left open."""
    import stat

    kinds = []
    for descriptor in range(300):
        try:
            kinds.append(stat.S_IFMT(os.fstat(descriptor).st_mode))
        except OSError:
            continue
    return "a socket" if stat.S_IFSOCK in kinds else "none"


EVERYWHERE = (("127.0.0.1", 80), ("::1", 80), ("172.17.0.1", 2375), ("169.254.169.254", 80), ("10.0.0.1", 53))

ATTACKS = (
    Attack(
        "network.addresses",
        connect,
        one_of("refused"),
        one_of("connected"),
        lambda w: (("127.0.0.1", w.port), *EVERYWHERE),
        lambda w: (("127.0.0.1", w.port),),
    ),
    Attack("network.addresses", listen, REFUSED, one_of("succeeded")),
    Attack("network.addresses", interfaces, one_of("none"), one_of("some"), is_bounded=True),
    Attack("network.names", resolve, REFUSED, one_of("succeeded")),
    Attack("network.sockets", connect_path, REFUSED, one_of("succeeded"), lambda w: (w.socket_path,)),
    Attack("network.sockets", connect_abstract, REFUSED, one_of("succeeded"), lambda w: (w.abstract_name,)),
    Attack(
        "network.sockets",
        known_sockets,
        one_of("refused"),
        one_of("reached"),
        lambda w: ("",),
        lambda w: (w.a_root_with_an_engine(),),
    ),
    Attack("network.sockets", send_to, REFUSED, one_of("EISCONN"), lambda w: (w.abstract_name,)),
    Attack("network.sockets", inherited, one_of("none"), one_of("a socket")),
)
