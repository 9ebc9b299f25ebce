"""hooks/: sh files that let Python start for our events, and always succeed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from unit.builders import CHECKOUT, RECORDED
from vfwhooks.store.files import file_name

HOOKS = CHECKOUT / "hooks"
DRIVERS = ("daemon", "libxl", "lxc", "network", "qemu")
GUESTS = ("libxl", "lxc", "qemu")
# Stands in for the package: writes down what it was given, and does nothing else.
RECORDER = """
import sys
def main(argv):
    at = __file__.rpartition('/')[0]
    with open(at + '/stdin', 'wb') as file:
        file.write(sys.stdin.buffer.read())
    with open(at + '/argv', 'w', errors='surrogateescape') as file:
        file.write('\\0'.join(argv))
"""


class Called(NamedTuple):
    """What came of a call: Python's arguments (None: it was not started), its standard
    input, what was logged, the hook's own status, and all that it printed."""

    argv: list[str] | None
    stdin: bytes
    log: str
    status: int
    output: bytes


def installed(root: Path, hook: str = RECORDER, shell: str = "/bin/sh") -> Path:
    """The hooks with this hook.py of the service's beside them, a logger, a state."""
    shutil.copytree(HOOKS, root / "hooks")
    for path in (root / "hooks").iterdir():
        path.write_text(path.read_text().replace("#!/bin/sh", f"#!{shell}", 1))
    for directory in (
        "vfwhooks/service",
        "bin",
        "state/guests/qemu",
        "state/guests/lxc",
    ):
        (root / directory).mkdir(parents=True)
    for package in ("vfwhooks", "vfwhooks/service"):
        (root / package / "__init__.py").write_text("")
    (root / "vfwhooks/service/hook.py").write_text(hook)
    logger = root / "bin" / "logger"
    logger.write_text(f'#!/bin/sh\necho "$*" >>{root}/log\n')
    logger.chmod(0o755)
    return root


def call(
    root: Path, driver: str, *arguments: str, stdin: bytes = b"", hooks: str = "hooks"
) -> Called:
    """Call a hook as libvirt does, and wait for the logger that it leaves behind."""
    all_ended, its = os.pipe()
    # Who runs the tests under nohup, or behind its back, has these ignored.
    heeds = ("/usr/bin/env", "--default-signal=HUP,INT")
    done = subprocess.run(
        [*heeds, root / hooks / driver, *(os.fsencode(word) for word in arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env={
            "HOME": "/",
            "LC_ALL": "C",
            "PATH": str(root / "bin"),
            "VFWHOOKS_STATE": str(root / "state"),
        },
        pass_fds=(its,),
    )
    os.close(its)
    os.read(all_ended, 1)
    os.close(all_ended)
    package, log = root / "vfwhooks/service", root / "log"
    argv, given = package / "argv", package / "stdin"
    return Called(
        os.fsdecode(argv.read_bytes()).split("\0") if argv.exists() else None,
        given.read_bytes() if given.exists() else b"",
        log.read_text() if log.exists() else "",
        done.returncode,
        done.stdout,
    )


def test_the_hooks_are_those_of_the_drivers() -> None:
    """One for each that libvirt calls, and nothing else."""
    found = sorted(path.name for path in HOOKS.iterdir())

    assert found == sorted(DRIVERS)


def test_the_hooks_of_guests_differ_in_their_driver_alone() -> None:
    """One text, shared by copying: libvirt's confinement lets no hook source a file."""
    texts = {name: (HOOKS / name).read_text() for name in GUESTS}

    same = {
        text.replace(f"\ndriver={name}\n", "\ndriver=\n")
        for name, text in texts.items()
    }

    assert len(same) == 1
    assert all(f"\ndriver={name}\n" in text for name, text in texts.items())


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_shape_of_a_hook(driver: str) -> None:
    """A real sh file of some 40 lines that says whose it is, and ends well."""
    path = HOOKS / driver
    lines = path.read_text().split("\n")

    checked = subprocess.run(["dash", "-n", path], capture_output=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, b"")
    assert (lines[0], lines[1][:12], lines[-2:]) == (
        "#!/bin/sh",
        "# vfwhooks: ",
        ["exit 0", ""],
    )
    assert len(lines) <= 43
    assert not path.is_symlink()


@pytest.mark.parametrize("driver", [*GUESTS, "network"])
def test_where_the_package_is(driver: str) -> None:
    """install.sh writes the installed path into this line; without that they find the
    package beside themselves, in a checkout as when installed."""
    text = (HOOKS / driver).read_text()

    assert text.count("\nlib=${0%/*}/..\n") == 1
    assert (HOOKS.parent / "vfwhooks/service/hook.py").exists()


def test_the_hooks_mode_in_the_repository() -> None:
    """0755: everybody reads and executes; only its owner need be able to write."""
    modes = {name: (HOOKS / name).stat().st_mode & 0o7755 for name in DRIVERS}

    assert modes == dict.fromkeys(DRIVERS, 0o755)


# Which operations start Python: on a host that has seen nothing; once `started` has
# been seen; for a guest that is recorded. Words of libvirt's that are in no list: none.
GUEST_EVENTS = {
    "prepare": "---",
    "start": "y-y",
    "started": "yyy",
    "stopped": "yyy",
    "release": "--y",
    "reconnect": "yyy",
    "migrate": "---",
    "restore": "---",
    "attach": "---",
    "": "---",
}


@pytest.mark.parametrize("driver", GUESTS)
@pytest.mark.parametrize(("operation", "starts"), GUEST_EVENTS.items())
@pytest.mark.parametrize("seen", ["nothing", "started", "record"])
def test_events_of_guests(
    tmp_path: Path, driver: str, operation: str, starts: str, seen: str
) -> None:
    """Python starts for events that change something, and for no other."""
    root = installed(tmp_path)
    (root / "state" / "guests" / "libxl").mkdir()
    if seen == "started":
        (root / "state" / f"started-{driver}").write_text("")
    elif seen == "record":
        (root / "state" / "guests" / driver / "web1").write_text("")

    found = call(root, driver, "web1", operation, "begin", "-", stdin=b"<domain/>")

    is_ours = starts[["nothing", "started", "record"].index(seen)] == "y"
    argv = [driver, "web1", operation] if is_ours else None
    stdin = b"<domain/>" if is_ours else b""
    assert found == Called(argv, stdin, "", 0, b"")


@pytest.mark.parametrize("driver", GUESTS)
def test_what_another_driver_has_seen(tmp_path: Path, driver: str) -> None:
    """Marks and records are each driver's own."""
    root = installed(tmp_path)
    for other in {*GUESTS, "network"} - {driver}:
        (root / "state" / f"started-{other}").write_text("")
        (root / "state" / "guests" / other).mkdir(exist_ok=True)
        (root / "state" / "guests" / other / "web1").write_text("")

    found = [
        call(root, driver, "web1", operation, "end", "-").argv
        for operation in ("release", "start")
    ]

    assert found == [None, [driver, "web1", "start"]]


@pytest.mark.parametrize(
    ("operation", "is_ours"),
    [
        ("start", False),
        ("started", True),
        ("stopped", True),
        ("updated", True),
        ("plugged", False),
        ("unplugged", False),
        ("port-created", False),
        ("port-deleted", False),
        ("prepare", False),
        ("release", False),
        ("", False),
    ],
)
def test_events_of_networks(tmp_path: Path, operation: str, is_ours: bool) -> None:
    """A network that comes, goes or changes; not an interface, by any of the words that
    libvirt has had for that."""
    xml = b"<hookData>\n  <network/>\n</hookData>\n"

    found = call(
        installed(tmp_path), "network", "default", operation, "-", "-", stdin=xml
    )

    argv = ["network", "default", operation] if is_ours else None
    assert found == Called(argv, xml if is_ours else b"", "", 0, b"")


@pytest.mark.parametrize("name", ["network-port-created", "network-port-deleted"])
def test_an_interface(tmp_path: Path, name: str) -> None:
    """It ends in the gate, also where the guest is recorded: libvirt's own files are
    followed."""
    root = installed(tmp_path)
    (root / "state" / "guests" / "qemu" / "web1").write_text("")
    xml = (RECORDED / "libvirt-9.0" / f"{name}.xml").read_bytes()
    operation = name.partition("-")[2]

    found = call(root, "network", "default", operation, "begin", "-", stdin=xml)

    assert found == Called(None, b"", "", 0, b"")


NAMES = [
    "web1",
    "my web",
    " web",
    "a\tb",
    "a\x7fb",
    "50%",
    "a/b",
    ".hidden",
    "..",
    "",
    "a&b",
    'we"b',
    "we\\b",
    "$(id)",
    "a*",
    "-n",
    "bü",
    "ü" * 60,
    "x" * 60,
    "x" * 61,
    "x" * 240,
    "x" * 241,
    "ü" * 200,
]


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash --posix"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("driver", GUESTS)
def test_the_release_of_a_guest_of_any_name(
    tmp_path: Path, driver: str, name: str, shell: str
) -> None:
    """What `stopped` has left undone is done at `release`, whatever the name is."""
    root = installed(tmp_path, shell=shell)
    (root / "state" / "guests" / driver).mkdir(exist_ok=True)
    (root / "state" / "guests" / driver / file_name(name)).write_text("")

    found = call(root, driver, name, "release", "end", "-")

    assert found.argv == [driver, name, "release"]


@pytest.mark.parametrize("name", ["web2", "web", "we*", "[w]eb1", "-n", "bü", "x" * 60])
def test_the_release_of_a_guest_that_has_nothing(tmp_path: Path, name: str) -> None:
    """It ends in the gate, whoever else is recorded."""
    root = installed(tmp_path)
    (root / "state" / "guests" / "qemu" / "web1").write_text("")

    found = call(root, "qemu", name, "release", "end", "-")

    assert found == Called(None, b"", "", 0, b"")


def test_a_host_that_has_no_state(tmp_path: Path) -> None:
    """Before the first event nobody is recorded, and nothing is looked for."""
    root = installed(tmp_path)
    shutil.rmtree(root / "state")

    found = [
        call(root, "qemu", "web1", "release").argv,
        call(root, "qemu", "web1", "start").argv,
    ]

    assert found == [None, ["qemu", "web1", "start"]]


@pytest.mark.parametrize("operation", ["start", "reload", "shutdown"])
def test_events_of_the_daemon(tmp_path: Path, operation: str) -> None:
    """libvirt rebuilds nothing before its hook has ended: a mark is all there is."""
    root = installed(tmp_path)

    found = call(root, "daemon", "-", operation, "begin", "SIGHUP")

    assert (found, (root / "state" / "full").exists()) == (
        Called(None, b"", "", 0, b""),
        True,
    )


def test_events_of_the_daemon_on_a_host_without_a_state(tmp_path: Path) -> None:
    """There is nothing to look at anew, and no directory is made."""
    root = installed(tmp_path)
    shutil.rmtree(root / "state")

    found = call(root, "daemon", "-", "start", "begin", "-")

    assert (found.status, (root / "state").exists()) == (0, False)


def test_events_of_the_daemon_on_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    """It succeeds all the same."""
    root = installed(tmp_path)
    (root / "state" / "full").mkdir()

    found = call(root, "daemon", "-", "start", "begin", "-")

    assert found == Called(None, b"", "", 0, b"")


BROKEN = {
    "a syntax error": ("def main(:", 1),
    "an exception": ("raise OSError('no')", 1),
    "exit 3": ("import sys\ndef main(argv):\n    sys.exit(3)", 3),
    "kill -9": (
        "import posix\ndef main(argv):\n    posix.kill(posix.getpid(), 9)",
        137,
    ),
    "no main": ("", 1),
    "text": ("def main(argv):\n    print('<domain/>', flush=True); 1 / 0", 1),
    "bytes": ("import posix\nposix.write(1, b'x' * 9999)\nposix._exit(5)", 5),
    "SIGTERM": (
        "import posix\ndef main(argv):\n"
        "    posix.kill(posix.getppid(), 15); posix._exit(6)",
        None,
    ),
    "SIGHUP": (
        "import posix\ndef main(argv):\n"
        "    posix.kill(posix.getppid(), 1); posix._exit(6)",
        None,
    ),
    "SIGINT": (
        "import posix\ndef main(argv):\n"
        "    posix.kill(posix.getppid(), 2); posix._exit(6)",
        None,
    ),
}


@pytest.mark.parametrize("driver", [*GUESTS, "network"])
@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash --posix"])
def test_a_broken_package(tmp_path: Path, driver: str, what: str, shell: str) -> None:
    """libvirt hears success and nothing else; syslog hears what happened, and the watch
    that something was left undone."""
    hook, number = BROKEN[what]
    root = installed(tmp_path, hook, shell)

    found = call(root, driver, "web1", "started", "begin", "-")

    words = f"{driver} web1 started: hook failed, status {number}"
    log = f"-t vfwhooks -p daemon.err {words}\n" if number else ""
    assert found == Called(None, b"", log, 0, b"")
    assert (root / "state/full").exists() is bool(number)


def test_a_broken_package_and_no_state(tmp_path: Path) -> None:
    """Where nothing can be marked, nothing is said of that either."""
    root = installed(tmp_path, BROKEN["a syntax error"][0])
    shutil.rmtree(root / "state")

    found = call(root, "qemu", "web1", "started", "begin", "-")

    log = "-t vfwhooks -p daemon.err qemu web1 started: hook failed, status 1\n"
    assert found == Called(None, b"", log, 0, b"")


@pytest.mark.parametrize("what", ["package", "hook", "logger", "everything"])
def test_a_package_that_is_not_there(tmp_path: Path, what: str) -> None:
    """Half removed in the middle of an upgrade, or no logger: success all the same."""
    root = installed(tmp_path)
    if what in ("package", "everything"):
        shutil.rmtree(root / "vfwhooks")
    if what == "hook":
        (root / "vfwhooks/service/hook.py").unlink()
    if what in ("logger", "everything"):
        (root / "bin" / "logger").unlink()
        (root / "vfwhooks/service/hook.py").unlink(missing_ok=True)

    found = call(root, "qemu", "web1", "started", "begin", "-")

    failed = "-t vfwhooks -p daemon.err qemu web1 started: hook failed, status 1\n"
    log = failed if what in ("package", "hook") else ""
    assert found == Called(None, b"", log, 0, b"")


def test_python_is_not_there(tmp_path: Path) -> None:
    """The gate looks for it itself; what it does not find, syslog hears of."""
    root = installed(tmp_path)
    hook = root / "hooks" / "qemu"
    text = hook.read_text()
    hook.write_text(text.replace("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PATH=/nowhere"))

    found = call(root, "qemu", "web1", "started", "begin", "-")

    log = "-t vfwhooks -p daemon.err qemu web1 started: hook failed, status 127\n"
    assert (found, hook.read_text() != text) == (Called(None, b"", log, 0, b""), True)


def test_the_callers_path_is_not_pythons(tmp_path: Path) -> None:
    """A python3 that stands in the caller's PATH is not run."""
    root = installed(tmp_path)
    (root / "bin" / "python3").write_text("#!/bin/sh\nexit 7\n")
    (root / "bin" / "python3").chmod(0o755)

    found = call(root, "qemu", "web1", "started", "begin", "-")

    assert (found.argv, found.log) == (["qemu", "web1", "started"], "")


def test_the_environment_changes_nothing(tmp_path: Path) -> None:
    """Nobody's PYTHONPATH or start-up file reaches a hook that runs as root."""
    root = installed(tmp_path)
    (root / "elsewhere/vfwhooks/service").mkdir(parents=True)
    (root / "elsewhere" / "vfwhooks/service/hook.py").write_text("raise SystemExit(9)")
    (root / "elsewhere" / "sitecustomize.py").write_text("raise SystemExit(9)")

    done = subprocess.run(
        [root / "hooks" / "qemu", "web1", "started"],
        env={
            "PATH": str(root / "bin"),
            "PYTHONPATH": str(root / "elsewhere"),
            "PYTHONSTARTUP": str(root / "elsewhere" / "sitecustomize.py"),
            "ENV": str(root / "elsewhere" / "sitecustomize.py"),
            "VFWHOOKS_STATE": str(root / "state"),
        },
        cwd=root / "elsewhere",
        stdin=subprocess.DEVNULL,
        check=False,
    )

    argv = (root / "vfwhooks/service/argv").read_text().split("\0")
    assert (done.returncode, argv) == (0, ["qemu", "web1", "started"])


@pytest.mark.parametrize(
    "name",
    ["a b", "-c", "$(id)", "`id`", "a;b", "*", "we'b\"", "ü\udcff", "a\nb", "%s"],
)
@pytest.mark.parametrize("driver", ["qemu", "network"])
def test_a_name_is_one_word(tmp_path: Path, driver: str, name: str) -> None:
    """Whatever a guest or a network is called, no shell reads it."""
    found = call(installed(tmp_path), driver, name, "started", "begin", "-")

    assert found == Called([driver, name, "started"], b"", "", 0, b"")


@pytest.mark.parametrize("arguments", [[], ["web1"], ["", ""], ["web1", "started"] * 9])
def test_any_number_of_arguments(tmp_path: Path, arguments: list[str]) -> None:
    """Also those that no libvirt gives."""
    root = installed(tmp_path)

    found = [call(root, driver, *arguments)[2:] for driver in DRIVERS]

    assert found == [("", 0, b"")] * 5


def test_standard_input_may_stay_unread(tmp_path: Path) -> None:
    """570 KB of XML that nobody reads: no broken pipe reaches libvirt."""
    xml = b"<domain>\n" + b"<x/>\n" * 114_000 + b"</domain>\n"

    found = call(
        installed(tmp_path), "qemu", "web1", "prepare", "begin", "-", stdin=xml
    )

    assert found == Called(None, b"", "", 0, b"")


def test_standard_input_may_be_closed(tmp_path: Path) -> None:
    """A caller without one."""
    root = installed(tmp_path)
    hook = f'exec "{root}/hooks/qemu" web1 started begin - <&-'

    done = subprocess.run(
        ["/bin/sh", "-c", hook],
        env={"PATH": str(root / "bin"), "VFWHOOKS_STATE": str(root / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("driver", [*GUESTS, "network"])
def test_the_hooks_of_a_wheel(tmp_path: Path, driver: str) -> None:
    """They lie in the package, and find it there."""
    root = installed(tmp_path)
    (root / "hooks").rename(root / "vfwhooks" / "hooks")

    found = call(root, driver, "web1", "started", hooks="vfwhooks/hooks")

    assert found == Called([driver, "web1", "started"], b"", "", 0, b"")
