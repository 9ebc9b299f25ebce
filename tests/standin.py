"""A stand-in for a host: the kernel for real, libvirt's part as it was recorded.

For tests that need thousands of events: no libvirtd and no guest runs. What libvirt
leaves on disk and in netfilter is put there by hand, and the hooks (or the code behind
them) are called as libvirtd would. Everything happens in namespaces of a child process;
the default paths of the product are used and lie on file systems of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import json
import os
import pickle
import re
import socket
import stat
import subprocess
import sys
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from typing_extensions import ParamSpec

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
RECORDED = HERE / "unit" / "recorded"
CONFIG = Path("/run/config/forwards.yaml")
STATE = Path("/run/vfwhooks")
BACKENDS = ("nftables", "iptables")
ENVIRONMENT = {
    "HOME": "/",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "VFWHOOKS_CONFIG": str(CONFIG),
}
LIMIT = (
    60.0  # seconds for a hang to show; how long a hook takes is measured, not judged
)
_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000
_NODES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}
P = ParamSpec("P")
T = TypeVar("T")


def alone(function: Callable[P, T]) -> Callable[P, T]:
    """Run a test in a child with network and mounts of its own; its failure is ours,
    and so is what it returns."""

    @functools.wraps(function)
    def inside(*arguments: P.args, **named: P.kwargs) -> T:
        sys.stdout.flush()
        mine, its = os.pipe()
        child = os.fork()
        if child == 0:
            said: tuple[str, str, object] = "", "", None
            try:
                _leave()
                said = "", "", function(*arguments, **named)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
                said = _short(error), traceback.format_exc(), None
            with os.fdopen(its, "wb") as pipe:
                pickle.dump(said, pipe)
            sys.stdout.flush()
            os._exit(0)
        os.close(its)
        with os.fdopen(mine, "rb") as pipe:
            data = pipe.read()
        os.waitpid(child, 0)
        assert data, "the child ended without a word"
        short, trace, result = pickle.loads(data)
        if trace:
            raise AssertionError(f"{short}\n{trace}")
        return result  # type: ignore[no-any-return]  # pickle does not say

    return inside


def _short(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _leave() -> None:
    """Into namespaces where nothing of the machine can be harmed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.environ["VFWHOOKS_CONFIG"] = str(CONFIG)
    run("mount", "--make-rprivate", "/")
    for place in ("/run", "/var/lib"):
        mount_tmpfs(place)
    mount_tmpfs("/dev")
    for name, (major, minor) in _NODES.items():
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
        Path(f"/dev/{name}").chmod(0o666)
    Path("/dev/fd").symlink_to("/proc/self/fd")
    fresh_net()


def fresh_net() -> None:
    """Another network of its own, and nothing on disk: the next stand-in is new."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for place in ("/run", "/var/lib"):
        run("find", place, "-xdev", "-mindepth", "1", "-delete")
    Path("/dev/log").unlink(missing_ok=True)
    run("mount", "-t", "sysfs", "sys", "/sys")
    run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/unix/max_dgram_qlen").write_text("10000")


def mount_tmpfs(place: str, options: str = "mode=755") -> None:
    """An empty file system in memory."""
    run("mount", "-t", "tmpfs", "-o", options, "standin", place)


def run(*argv: str, input: str = "") -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        argv, input=input, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}{done.stdout}"
    return done.stdout


class Guest(NamedTuple):
    """A guest of the stand-in: number N has a MAC and a reservation by it."""

    name: str
    number: int = 10
    driver: str = "qemu"
    network: str = "default"

    @property
    def mac(self) -> str:
        """Its interface's address."""
        return f"52:54:00:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def uuid(self) -> str:
        """Its identity."""
        return f"00000000-0000-4000-8000-{self.number:012x}"

    def xml(self) -> str:
        """The domain as libvirt tells hooks of it at `started`."""
        name = self.name.replace("&", "&amp;").replace("<", "&lt;")
        bridge = "virbr0" if self.network == "default" else "virbr1"
        return (
            f"<domain type='{self.driver}' id='1'>\n  <name>{name}</name>\n"
            f"  <uuid>{self.uuid}</uuid>\n  <devices>\n"
            f"    <interface type='network'>\n      <mac address='{self.mac}'/>\n"
            f"      <source network='{self.network}' bridge='{bridge}'/>\n"
            f"      <target dev='vnet{self.number}'/>\n"
            "    </interface>\n  </devices>\n</domain>\n"
        )


class Called(NamedTuple):
    """What libvirtd sees of a hook."""

    status: int
    stdout: str


QUIET = Called(0, "")


class StandIn:
    """The host: one NAT network, 192.168.122.0/24 and fd00:122::/64, both backends."""

    def __init__(
        self, backend: str, forwards: str = "guests: {}\n", settle: bool = True
    ) -> None:
        self.backend = backend
        self.reserved: dict[str, list[str]] = {}
        CONFIG.parent.mkdir(parents=True, exist_ok=True)
        Path("/run/libvirt/network").mkdir(parents=True, exist_ok=True)
        Path("/var/lib/libvirt/dnsmasq").mkdir(parents=True, exist_ok=True)
        run("ip", "link", "add", "virbr0", "type", "bridge")
        run("ip", "addr", "add", "192.168.122.1/24", "dev", "virbr0")
        run("ip", "addr", "add", "fd00:122::1/64", "dev", "virbr0", "nodad")
        run("ip", "link", "set", "virbr0", "up")
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path(f"/proc/sys/net/{switch}").write_text("1")
        self.open_log()
        self.libvirts_rules()
        self.network()
        self.configure(forwards, settle)

    def open_log(self) -> None:
        """Be the system's log, which nobody reads until `syslog`."""
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.log.bind("/dev/log")
        self.log.setblocking(False)

    def libvirts_rules(self) -> None:
        """libvirt's own rules, as it puts them in when it starts."""
        if self.backend == "nftables":
            text = (RECORDED / "libvirt-11.3" / "ruleset.nft").read_text()
            run("nft", "-f", "-", input=text)
        else:
            text = (RECORDED / "libvirt-9.0" / "ruleset.iptables").read_text()
            run("iptables-restore", "--noflush", input=text)

    def network(self, *guests: Guest) -> None:
        """libvirt's status file of the network, with reservations for these guests."""
        hosts = "".join(
            f"<host mac='{guest.mac}' ip='{address}'/>"
            for guest in guests
            for address in [ipv4(guest)]
        )
        backend = f"<firewall name='fwRemoval' backend='{self.backend}'/>"
        text = (
            f"<networkstatus><network><name>default</name>"
            "<forward mode='nat'/><bridge name='virbr0'/>"
            "<ip address='192.168.122.1' netmask='255.255.255.0'>"
            f"<dhcp>{hosts}</dhcp></ip></network>"
            f"{backend if self.backend == 'nftables' else ''}</networkstatus>"
        )
        put(Path("/run/libvirt/network/default.xml"), text)

    def configure(self, forwards: str, settle: bool = True) -> None:
        """Write forwards.yaml by rename, and let it settle."""
        put(CONFIG, forwards)
        if settle:
            time.sleep(0.25)

    def call(
        self,
        driver: str,
        name: str,
        operation: str,
        xml: str = "",
        limit: float = LIMIT,
    ) -> Called:
        """Call a hook's gate as libvirtd does."""
        done = subprocess.run(
            hook_argv(driver, name, operation),
            input=os.fsencode(xml),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            check=False,
            timeout=limit,
        )
        return Called(done.returncode, done.stdout.decode())

    def start(self, guest: Guest) -> Called:
        """`started` of a guest, by its gate."""
        return self.call(guest.driver, guest.name, "started", guest.xml())

    def stop(self, guest: Guest) -> Called:
        """`stopped` of a guest, by its gate."""
        return self.call(guest.driver, guest.name, "stopped")

    def event(self, driver: str, name: str, operation: str, xml: str = "") -> list[str]:
        """What a hook behind its gate does, in this process; the lines for the log."""
        from vfwhooks.service import hook, hook_without_service
        from vfwhooks.store.lock import Lock

        until = time.monotonic() + LIMIT
        try:
            stamp = time.monotonic_ns()
            hook.put(str(STATE), (driver, name, operation, os.fsencode(xml), stamp))
            lock = Lock(f"{STATE}/lock", until)
            where = str(STATE), str(CONFIG)
            return hook_without_service.carry_out(
                *where, None, lock, until, detach=lambda: None
            )
        finally:
            reap()

    def apply(self, *running: Guest, options: Sequence[str] = ()) -> int:
        """`vfwhooks apply`, where libvirtd says that these guests run; its status."""
        from vfwhooks.cli import main as cli

        sys.modules["libvirt"] = _libvirtd(running)
        self.said = io.StringIO()
        out, errors = contextlib.redirect_stdout, contextlib.redirect_stderr
        with out(self.said), errors(self.said):
            return cli.main(["apply", *options])

    def moved(self, guest: Guest) -> None:
        """`watch` has heard of an address of the guest."""
        from vfwhooks.store.records import GuestEvent
        from vfwhooks.store.state import State
        from vfwhooks.values.guests import Guest as TheirGuest

        them = TheirGuest(guest.driver, guest.name, guest.uuid, [])
        State(str(STATE)).note(GuestEvent("moved", them, time.monotonic_ns()))
        self.watch_looks(False)

    def found(self, guest: Guest) -> None:
        """`watch` has read libvirt's status file of a guest."""
        from vfwhooks.libvirt.xml import parse_domain
        from vfwhooks.store.records import GuestEvent
        from vfwhooks.store.state import State

        them = parse_domain(guest.xml().encode(), guest.driver)
        State(str(STATE)).note(GuestEvent("found", them, time.monotonic_ns()))
        self.watch_looks(False)

    def watch_looks(self, is_full: bool = True) -> None:
        """`watch` has heard of rules that have changed."""
        from vfwhooks.reconcile.reconciler import Reconciler
        from vfwhooks.store.state import State

        reconcile = Reconciler(State(str(STATE)), str(CONFIG))
        reconcile.check(is_full)
        reconcile.close()
        reap()

    def syslog(self) -> list[str]:
        """What has been logged since the last look."""
        found: list[str] = []
        while True:
            try:
                line = self.log.recv(1 << 16).decode(errors="replace")
            except BlockingIOError:
                return found
            found.append(re.sub(r"^<\d+>.*?vfwhooks(?:\[\d+\])?: ", "", line))


def reap() -> None:
    """Clear away children that have ended: a hook leaves its last one to init."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _libvirtd(running: Sequence[Guest]) -> Any:
    """libvirt's library, as far as `apply` asks it."""

    class Domain:
        def __init__(self, guest: Guest) -> None:
            self.guest = guest

        def XMLDesc(self) -> str:  # noqa: N802 - libvirt's name
            return self.guest.xml()

    class Connection:
        def __init__(self, uri: str) -> None:
            self.driver = {"xen": "libxl"}.get(
                uri.partition(":")[0], uri[:4].strip(":")
            )

        def listAllDomains(self, _: int) -> list[Domain]:  # noqa: N802 - libvirt's name
            return [Domain(g) for g in running if g.driver == self.driver]

        def close(self) -> None:
            pass

    module = types.ModuleType("libvirt")
    module.__dict__.update(
        libvirtError=RuntimeError,
        VIR_CONNECT_LIST_DOMAINS_ACTIVE=1,
        registerErrorHandler=lambda *_: None,
        openReadOnly=Connection,
    )
    return module


def hook_argv(driver: str, name: str, operation: str) -> list[str]:
    """A gate with libvirt's arguments."""
    return [str(CHECKOUT / "hooks" / driver), name, operation, "begin", "-"]


def ipv4(guest: Guest) -> str:
    """The address reserved for a guest."""
    return f"192.168.122.{guest.number}"


def wait_for(probe: Callable[[], object]) -> None:
    """Until the probe says so; what hangs is noticed."""
    deadline = time.monotonic() + LIMIT
    while not probe():
        assert time.monotonic() < deadline, "nothing has come of it"
        time.sleep(0.01)


def put(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def kernel(backend: str) -> list[str]:
    """Everything that netfilter holds, without counters and handles, to be compared.

    nf_tables as nft prints it in JSON, its elements in order; for iptables the lines
    of each chain: those of the base chains in their order, which matters.
    """
    if backend == "nftables":
        return _nft_ruleset()
    found: list[str] = []
    for tool in ("iptables-save", "ip6tables-save"):
        lines = re.sub(r"\[\d+:\d+\]", "", run(tool)).split("\n")
        base = [line for line in lines if line.startswith(("-A FORWARD", "-A INPUT"))]
        found += base + sorted(line for line in lines if not line.startswith("#"))
    return found


def nft_json() -> str:
    """What `nft -j list ruleset` prints, by the library behind it: no process."""
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    context = ctypes.c_void_p(library.nft_ctx_new(0))
    library.nft_ctx_output_set_flags(context, 1 << 4)
    library.nft_ctx_buffer_output(context)
    assert library.nft_run_cmd_from_buffer(context, b"list ruleset") == 0
    found: bytes = library.nft_ctx_get_output_buffer(context)
    library.nft_ctx_free(context)
    return found.decode()


def _nft_ruleset() -> list[str]:
    found: list[str] = []
    rules: Counter[str] = Counter()
    for item in json.loads(nft_json())["nftables"]:
        ((kind, about),) = item.items()
        if kind == "metainfo":
            continue
        elements = about.pop("elem", [])
        where = f"{about['family']} {about.get('table')} {about.get('name')}"
        if kind == "rule":
            chain = f"{about['family']} {about['table']} {about['chain']}"
            rules[chain] += 1
            where = f"{chain} {rules[chain]:03}"
        about = json.dumps(_plain(about), sort_keys=True)
        found.append(f"{kind} {where} {about}")
        texts = (json.dumps(_plain(one), sort_keys=True) for one in elements)
        found += [f"element {where} {text}" for text in texts]
    return sorted(found)


def _plain(value: Any) -> Any:
    """JSON of nft's without what changes by itself."""
    if isinstance(value, dict):
        gone = ("handle", "counter", "packets", "bytes")
        return {k: _plain(v) for k, v in value.items() if k not in gone}
    return [_plain(one) for one in value] if isinstance(value, list) else value
