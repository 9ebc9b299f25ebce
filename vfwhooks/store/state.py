"""The state directory: what was asked, which guests run, what was applied for each.

One small file a thing, so that an event reads only its own guest's. All is written by
rename, and nothing here outlives a boot. A file that cannot be read is set aside and
its content made anew by a full reconcile; it is never fatal.

    lock                 one holder at a time changes anything below, and the kernel
    asking/PID, gone/    who is asking libvirtd; what stopped meanwhile (see asking)
    cuts/STAMP           entries whose connections have not been cut yet, with a + for
                         each try
    members/NETWORK/     the guests that need the network's entries (see references)
    spool/STAMP-PID.1    what a hook was told, and nobody has carried out (see spool)
    intents/STAMP-PID    what the service has found, and nobody has carried out
    doorbell, deaf       where hooks ring the service; one has rung in vain
    guests/DRIVER/NAME   a running guest, or a network, and its entries (see records)
    claims/NAME          what stays rejected for a guest, whether it runs or not
    addresses/ADDRESS    the guest that is there
    daemons/PID          a daemon of libvirt's that has called our daemon hook, and when
    localnet/BRIDGE      what its route_localnet was before it was ours
    vmark/INTERFACE      what its src_valid_mark was before it was ours
    ways/VALUE           the routing table that this value of a mark stands for
    networks/NAME        what a network hook was told; empty: it was stopped
    taken                ports that DNAT rules of others take (see foreign_ports)
    base                 the backend in use and the marks of its base ruleset
    full, working        (exist) ask for a full sync next; somebody is at work, or was
    late                 (exists) somebody has waited for the lock in vain
    compiled, broken     the last good configuration; why the newest is not good
"""

from __future__ import annotations

import errno
import posix
import stat
import time

from ..values.errors import VfwError
from . import files
from .files import STATE
from .lock import Lock
from .records import GuestEvent, Key, Record, parse_guest_event, parse_record

_KEPT = "/var/lib/vfwhooks"
DRIVERS = ("libxl", "lxc", "network", "qemu")
# In the order they are made: where the last one is, all are. New ones go to the end.
_DIRECTORIES = (
    *("addresses", "aside", "asking", "cuts", "gone", "guests"),
    *(f"guests/{driver}" for driver in DRIVERS),
    *("intents", "spool", "members", "networks", "tmp", "claims", "localnet"),
    "daemons",
    *("vmark", "ways"),
)
MADE_LAST = _DIRECTORIES[-1]


class State:
    """The state directory; it is made by a host's first event after boot."""

    def __init__(self, path: str = STATE) -> None:
        self.path = path
        self.kept = _KEPT if path == STATE else f"{path}/kept"
        self.problems: list[str] = []
        self.make()
        about = posix.lstat(path)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != posix.geteuid():
            raise VfwError(f"{path} is not a directory of ours", "remove it")
        if about.st_mode & 0o022:
            raise VfwError(f"{path} can be written by others", "remove it")

    def make(self, is_sure: bool = True) -> None:
        """Make the directories, unless they are there; each is looked at where it is
        not sure that none was taken away."""
        if is_sure and files.exists(f"{self.path}/{MADE_LAST}"):
            return
        for name in ("", *_DIRECTORIES):
            try:
                posix.mkdir(f"{self.path}/{name}", 0o700)
            except FileExistsError:
                pass

    def lock(self, until: float = float("inf")) -> Lock:
        """Wait for the lock, `until` then (monotonic). Raises OutOfTime."""
        return Lock(f"{self.path}/lock", until)

    def read(self, name: str) -> str:
        """A file's text; '' where there is none, and where what is there is no file."""
        return _text(self.data(name))

    def data(self, name: str) -> bytes:
        """The same as it is on disk."""
        try:
            return self._data(name) or b""
        except ValueError:
            self.set_aside(name)
            return b""

    def write(self, name: str, text: str) -> None:
        """Put a file in place, whole or not at all."""
        self._write(name, text.encode("utf-8", "surrogateescape"))

    def _write(self, name: str, data: bytes) -> None:
        path, temporary = f"{self.path}/{name}", f"tmp/{posix.getpid()}"
        try:
            files.write(path, data, f"{self.path}/{temporary}")
        except IsADirectoryError:
            for one in (name, temporary):
                if files.is_directory(f"{self.path}/{one}"):
                    self.set_aside(one)
            files.write(path, data, f"{self.path}/{temporary}")

    def put_compiled(self, data: bytes) -> None:
        """Have another configuration come into force."""
        self._write("compiled", data)

    def taken(self) -> bytes:
        """What DNAT rules of others take, as it was noted."""
        return self.data("taken")

    def put_taken(self, data: bytes) -> bool:
        """Note what DNAT rules of others take; whether that is news."""
        if data == self.taken():
            return False
        if data:
            self._write("taken", data)
        else:
            self.remove("taken")
        return True

    def remove(self, name: str) -> bool:
        """Remove a file; False where there was none. What is none is set aside."""
        try:
            return files.remove(f"{self.path}/{name}")
        except IsADirectoryError:
            self.set_aside(name)
            return True

    def names(self, directory: str) -> list[str]:
        """The files of a directory, in the order of their names."""
        return sorted(posix.listdir(f"{self.path}/{directory}"))

    def try_again(self, name: str) -> str:
        """Note in a file's name that there is another try at what it says; its name
        from now on, or nothing where two have not come to an end."""
        if name.endswith("++"):
            return ""
        posix.rename(f"{self.path}/{name}", f"{self.path}/{name}+")
        return f"{name}+"

    def ask_full(self, why: str = "") -> None:
        """Have the next holder of the lock do a full sync, and say why."""
        self.write("full", why)

    def is_full_asked(self) -> bool:
        """Whether a full sync has been asked for."""
        return files.exists(f"{self.path}/full")

    def take_full(self) -> bool:
        """Whether a full sync was asked for.

        The mark goes before the work is done: one set meanwhile counts for the next.
        """
        return self.remove("full")

    def base(self) -> dict[str, str]:
        """The backend in use and what it remembers of its base ruleset."""
        return parse_base(self.read("base"))

    def keep_base(self, base: dict[str, str]) -> None:
        """Write down the backend in use and what it remembers."""
        self.write("base", "".join(f"{word} {rest}\n" for word, rest in base.items()))

    def begin(self) -> bool:
        """Note that somebody is at work; whether somebody was, and did not end."""
        was = files.exists(f"{self.path}/working")
        try:
            self.write("working", "")
        except OSError as error:
            self.problems.append(f"{self.path}: {error.strerror}")
        return was

    def end(self, guest_events: list[str]) -> None:
        """The events have been carried out."""
        for name in guest_events:
            self.remove(name)
        self.remove("working")

    def note(self, guest_event: GuestEvent) -> str:
        """Write down what was asked, before anything is waited for; its file."""
        name = f"intents/{guest_event.stamp:020d}-{posix.getpid()}"
        self.write(name, guest_event.text())
        return name

    def note_network(self, name: str, data: bytes) -> None:
        """Keep what a network hook was told; nothing when the network was stopped."""
        self._write(f"networks/{files.file_name(name)}", data)

    def note_started(self, driver: str) -> None:
        """This libvirt has the operation `started`: `start` is not ours any more."""
        if not files.exists(f"{self.path}/started-{driver}"):
            self.write(f"started-{driver}", "")

    def guest_events(self) -> list[tuple[str, GuestEvent]]:
        """All events that were not carried out, the oldest first, with their files."""
        found = []
        for name in self.names("intents"):
            try:
                text = _text(self._data(f"intents/{name}") or b"")
                found.append((f"intents/{name}", parse_guest_event(text)))
            except (ValueError, IndexError):
                self.set_aside(f"intents/{name}")
        return found

    def record(self, key: Key, has_entries: bool = True) -> Record | None:
        """What is known of a running guest, or that without its entries."""
        return self._record(record_name(key), has_entries)

    def records(self, driver: str = "", has_entries: bool = True) -> list[Record]:
        """Every claim, network and running guest, or a driver's; the oldest first."""
        places = ["claims", *(f"guests/{one}" for one in DRIVERS)]
        places = [f"guests/{driver}"] if driver else places
        names = [f"{place}/{name}" for place in places for name in self.names(place)]
        found = [self._record(name, has_entries) for name in names]
        return sorted(filter(None, found), key=lambda record: record.since)

    def keep(self, record: Record) -> None:
        """Write down what is known, and what the kernel may hold, of a guest."""
        self.write(record_name(record.key), record.text())

    def forget(self, key: Key) -> None:
        """The guest does not run any more, and the kernel holds nothing for it."""
        self.remove(record_name(key))

    def sweep(self, directory: str) -> None:
        """Clear away the files of processes that are gone."""
        for name in self.names(directory):
            if not files.exists(f"/proc/{name}"):
                self.remove(f"{directory}/{name}")

    def _data(self, name: str) -> bytes | None:
        """A file's content. Raises ValueError for a directory, and for a link, which
        is not followed."""
        try:
            return files.read(f"{self.path}/{name}")
        except OSError as error:
            if error.errno in (errno.EFBIG, errno.EISDIR, errno.ELOOP):
                raise ValueError(f"{name} is no file") from error
            raise

    def _record(self, name: str, has_entries: bool) -> Record | None:
        try:
            data = self._data(name)
            return None if data is None else parse_record(_text(data), has_entries)
        except (ValueError, IndexError):
            self.set_aside(name)
            return None

    def set_aside(self, name: str) -> None:
        """Keep what cannot be read for a look, and have everything made anew."""
        aside = f"aside/{files.file_name(name)}"
        try:
            posix.rename(f"{self.path}/{name}", f"{self.path}/{aside}")
        except FileNotFoundError:
            return  # somebody else has done so
        except OSError:
            # A directory does not go over what is there, nor anything over it.
            aside = f"aside/{time.monotonic_ns():020d}"
            posix.rename(f"{self.path}/{name}", f"{self.path}/{aside}")
        self.write("full", f"{name} cannot be read")
        said = f"{self.path}/{name} cannot be read and is now {aside}"
        self.problems.append(f"{said}: run vfwhooks apply, which asks libvirtd")


def parse_base(text: str) -> dict[str, str]:
    """The backend in use and what it remembers, as it was written down."""
    words = (line.partition(" ") for line in text.split("\n"))
    return {word: rest for word, _, rest in words if word}


def record_name(key: Key) -> str:
    """The file of a guest's record; what is not in guests/ is no guest to the gates."""
    driver, name = key
    place = "claims" if driver == "claim" else f"guests/{driver}"
    return f"{place}/{files.file_name(name)}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def member_name(key: Key) -> str:
    """The guest's name among files of several drivers' guests."""
    return f"{key[0]}.{files.file_name(key[1])}"
