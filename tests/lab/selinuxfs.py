"""A stand-in for selinuxfs: a loaded policy as the files that a kernel makes of it.

The kernel here has no SELinux. `build` makes the plain files anywhere; `selinux` mounts
all of it in a host, where every process may ask it as it would the kernel: `access` and
`create` take one question for each time they are opened, answer on the same descriptor,
and refuse with EINVAL what the policy does not know. Nothing is enforced, and the type
of the file system is another: libselinux and libvirtd take the host for one without.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .box import PATH
from .cache import LabError
from .fuse import Server, mount
from .host import Host
from .policies import Policy

PLACE = "/sys/fs/selinux"
# What else is in /sys/fs stays where it is: systemd wants its control groups there.
_COVER = """\
set -eu
mkdir /run/lab/sysfs
mount -t tmpfs -o mode=755 lab /run/lab/sysfs
for each in /sys/fs/*; do
    mkdir "/run/lab/sysfs/${each##*/}"
    mount --rbind "$each" "/run/lab/sysfs/${each##*/}"
done
mkdir -p /run/lab/sysfs/selinux
mount --move /run/lab/sysfs /sys/fs
rmdir /run/lab/sysfs
"""
_UNCOVER = "umount -l /sys/fs"
_RESPOND = (
    "import sys; sys.path[:0] = ['/srv/vfwhooks/tests']; "
    "from lab.selinuxfs import respond; respond()"
)


def build(root: Path, policy: Policy) -> None:
    """The plain files of a policy's selinuxfs under a root. Who asks there has to be
    given `policy.answer`: a file cannot answer."""
    for name, text in policy.files().items():
        path = root / PLACE[1:] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Loaded:
    """The policy that a host has loaded."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def change(self, policy: Policy) -> None:
        """Loads another one; whoever asks from here on is answered by it."""
        to, back = _streams(self._process)
        pickle.dump(policy, to)
        to.flush()
        if back.readline() != b"loaded\n":
            raise LabError(f"selinuxfs: {self._process.communicate()[1].decode()}")

    def close(self) -> None:
        """Ends who answers."""
        self._process.communicate(timeout=20)


@contextmanager
def selinux(host: Host, policy: Policy) -> Iterator[Loaded]:
    """A host that has the policy loaded, for a `with` block. A systemd that is to see
    it is started inside of that."""
    host.run(["sh", "-c", _COVER])
    spaces = ["--mount", "--uts", "--ipc", "--pid", f"--net={host.box.netns}"]
    process = subprocess.Popen(
        [
            *("nsenter", "--target", str(host.box.pid), *spaces, "--"),
            *("/usr/bin/python3", "-I", "-c", _RESPOND),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
    )
    loaded = Loaded(process)
    try:
        loaded.change(policy)
        yield loaded
    finally:
        host.run(["sh", "-c", _UNCOVER])
        loaded.close()


def _streams(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


class _Selinuxfs:
    """What the file system shows of the policy that is loaded now."""

    def __init__(self, policy: Policy) -> None:
        self.load(policy)

    def load(self, policy: Policy) -> None:
        """Another one from here on."""
        self._files = policy.files()
        self._asked = {
            name: lambda question, name=name: policy.answer(name, question)
            for name in ("access", "create")
        }

    def files(self) -> Mapping[str, str]:
        return self._files

    def asked(self) -> Mapping[str, Callable[[str], str]]:
        return self._asked


def respond() -> None:
    """Mounts selinuxfs here and answers; policies come on the standard input, one after
    the other, and with its end we end."""
    tree = _Selinuxfs(pickle.load(sys.stdin.buffer))
    server = Server(mount(PLACE, "/run/lab/fuse"), tree)

    def follow() -> None:
        while True:
            print("loaded", flush=True)
            try:
                tree.load(pickle.load(sys.stdin.buffer))
            except EOFError:
                os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    server.serve()
