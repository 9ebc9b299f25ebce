"""A service of the host itself: a process of the box that listens, with a name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .box import wait_until
from .host import Host

SCRIPT = """
import socket, sys
name, protocol, address, port, only_ipv6 = sys.argv[1:]
open("/proc/self/comm", "w").write(name)
family = socket.AF_INET6 if ":" in address else socket.AF_INET
is_tcp = protocol == "tcp"
sock = socket.socket(family, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_ipv6))
sock.bind((address, int(port)))
if is_tcp:
    sock.listen()
open(f"/run/{name}.up", "w")
while True:
    if is_tcp:
        client = sock.accept()[0]
        client.recv(4096)
        client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + name.encode())
        client.close()
    else:
        sock.sendto(name.encode(), sock.recvfrom(4096)[1])
"""


@contextmanager
def serving(
    host: Host,
    name: str,
    port: int,
    address: str = "0.0.0.0",
    protocol: str = "tcp",
    only_ipv6: bool = False,
) -> Iterator[int]:
    """A process called `name` that answers there, until the block ends; its number."""
    host.write("/run/service.py", SCRIPT)
    words = f"{name} {protocol} {address} {port} {int(only_ipv6)}"
    command = f"setsid /usr/bin/python3 /run/service.py {words}"
    pid = host.run(["sh", "-c", f"{command} >/run/{name}.log 2>&1 & echo $!"]).strip()
    try:
        log = f"/run/{name}.log"
        wait_until(host.path(f"/run/{name}.up").exists, lambda: host.read(log))
        yield int(pid)
    finally:
        # Its socket is gone when it is: its parent is the box's init, which reaps it.
        host.call(["kill", pid])
        wait_until(lambda: not host.path(f"/proc/{pid}/fd/0").exists(), "its end")
        host.run(["rm", "-f", f"/run/{name}.up"])
