"""A libvirtd that may not execute what is in a directory, though it sees that it could.

That is how SELinux refuses: `access` says yes, and `execve` fails. Here the kernel asks
a process of ours before anything in the directory is executed (fanotify), which says no
to libvirtd and yes to everybody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .box import wait_until
from .host import HOOKS, Host

_PID = "/run/lab/refuse.pid"
_REFUSE = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
CONTENT, CLOEXEC, ADD, EXEC, CHILDREN = 0x4, 0x1, 0x1, 0x40000, 0x8000000
ALLOW, DENY = 1, 2
fd = libc.fanotify_init(CONTENT | CLOEXEC, os.O_RDONLY)
mask = ctypes.c_uint64(EXEC | CHILDREN)
if fd < 0 or libc.fanotify_mark(fd, ADD, mask, -100, sys.argv[1].encode()) < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
open(sys.argv[2], "w").write(f"{os.getpid()}\\n")
event = struct.Struct("=IBBHQii")
while True:
    data = os.read(fd, 4096)
    for at in range(0, len(data), event.size):
        *_, file, pid = event.unpack_from(data, at)
        who = os.readlink(f"/proc/{pid}/exe")
        answer = DENY if who.endswith("/libvirtd") else ALLOW
        os.write(fd, struct.pack("=iI", file, answer))
        os.close(file)
"""


@contextmanager
def refusing(host: Host, directory: str = HOOKS) -> Iterator[None]:
    """For as long as the block takes."""
    host.write("/run/lab/refuse.py", _REFUSE)
    words = f"setsid /usr/bin/python3 /run/lab/refuse.py {directory} {_PID}"
    host.run(["sh", "-c", f"{words} >/run/lab/refuse.log 2>&1 &"])
    wait_until(lambda: host.read(_PID), lambda: host.read("/run/lab/refuse.log"), 10)
    try:
        yield
    finally:
        host.run(["sh", "-c", f"kill $(cat {_PID}) && rm {_PID}"])
