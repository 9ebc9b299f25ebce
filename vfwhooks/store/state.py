"""The state directory: events that wait, records of guests, notes on the firewall.

Files are small and about one thing each, so an event reads only those of its guest.
They are written by rename, and none outlives a boot. An unreadable file is set aside,
and a full sync makes its content anew; it is never fatal.

    lock                 only its holder changes the files below and the kernel
    asking/PID, gone/    processes that ask libvirtd; guests stopped meanwhile (asking)
    cuts/STAMP           entries whose connections have not been cut yet, with a + for
                         each try
    members/NETWORK/     the guests that need the network's entries (see references)
    spool/STAMP-PID.1    an event that a hook has written and that waits (see spool)
    intents/STAMP-PID    an event that the service has found and that waits
    doorbell, deaf       the service's socket for hooks; a hook has rung in vain
    guests/DRIVER/NAME   a running guest, or a network, and its entries (see records)
    claims/NAME          the ports that stay rejected for a guest, running or not
    addresses/ADDRESS    the guest at this address; or the one with these shared ports
    contested            what a guest wants and another one has (see port_owners)
    daemons/PID          a libvirt daemon that has called our daemon hook, and when
    localnet/BRIDGE      the value of its route_localnet before we changed it
    vmark/INTERFACE      the value of its src_valid_mark before we changed it
    ways/VALUE           the routing table that this value of a mark stands for
    networks/NAME        the XML that a network hook got; empty: it was stopped
    taken                ports that foreign DNAT rules take (see foreign_ports)
    base                 the backend in use and its notes on the base ruleset
    full, working        (exist) a full sync is wanted; a holder is or was at work
    late                 (exists) a hook has waited for the lock in vain
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
# In the order of their making: if the last one exists, all exist. New ones go to the
# end.
_DIRECTORIES = (
    *("addresses", "aside", "asking", "cuts", "gone", "guests"),
    *(f"guests/{driver}" for driver in DRIVERS),
    *("intents", "spool", "members", "networks", "tmp", "claims", "localnet"),
    "daemons",
    *("vmark", "ways"),
)
MADE_LAST = _DIRECTORIES[-1]


class State:
    """The state directory; the first event after a boot makes it. Raises VfwError if it
    belongs to another user, or another user may write to it."""

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
        """Make the directories unless they exist. With `is_sure`, the last one stands
        for all; without it, each is checked, since one may have been removed."""
        if is_sure and files.exists(f"{self.path}/{MADE_LAST}"):
            return
        for name in ("", *_DIRECTORIES):
            try:
                posix.mkdir(f"{self.path}/{name}", 0o700)
            except FileExistsError:
                pass

    def lock(self, until: float = float("inf")) -> Lock:
        """Wait for the lock until the time `until` (monotonic). Raises OutOfTime."""
        return Lock(f"{self.path}/lock", until)

    def read(self, name: str) -> str:
        """A file's text; '' if there is no file, or something else in its place."""
        return _text(self.data(name))

    def data(self, name: str) -> bytes:
        """A file's bytes; b"" if there is no file, or something else in its place."""
        try:
            return self._data(name) or b""
        except ValueError:
            self.set_aside(name)
            return b""

    def write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all."""
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
        """Put another compiled configuration in force."""
        self._write("compiled", data)

    def taken(self) -> bytes:
        """The noted ports of foreign DNAT rules (see foreign_ports)."""
        return self.data("taken")

    def put_taken(self, data: bytes) -> bool:
        """Note the ports of foreign DNAT rules; True if they have changed."""
        if data == self.taken():
            return False
        if data:
            self._write("taken", data)
        else:
            self.remove("taken")
        return True

    def remove(self, name: str) -> bool:
        """Remove a file; False if there was none. Anything else in its place is set
        aside."""
        try:
            return files.remove(f"{self.path}/{name}")
        except IsADirectoryError:
            self.set_aside(name)
            return True

    def names(self, directory: str) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(posix.listdir(f"{self.path}/{directory}"))

    def try_again(self, name: str) -> str:
        """Note another try in the name of a file; the new name, or '' if two tries have
        not ended."""
        if name.endswith("++"):
            return ""
        posix.rename(f"{self.path}/{name}", f"{self.path}/{name}+")
        return f"{name}+"

    def ask_full(self, why: str = "") -> None:
        """Ask the next holder of the lock for a full sync; the log gives the reason."""
        self.write("full", why)

    def is_full_asked(self) -> bool:
        return files.exists(f"{self.path}/full")

    def take_full(self) -> bool:
        """Whether a full sync was asked for; removes the mark.

        The mark goes before the sync: a mark that is set meanwhile counts for the next
        sync.
        """
        return self.remove("full")

    def base(self) -> dict[str, str]:
        """The backend in use, and its notes on the base ruleset."""
        return parse_base(self.read("base"))

    def keep_base(self, base: dict[str, str]) -> None:
        """Write down the backend in use and its notes."""
        self.write("base", "".join(f"{word} {rest}\n" for word, rest in base.items()))

    def begin(self) -> bool:
        """Note that a holder of the lock is at work; True if an earlier one did not
        finish."""
        was = files.exists(f"{self.path}/working")
        try:
            self.write("working", "")
        except OSError as error:
            self.problems.append(f"{self.path}: {error.strerror}")
        return was

    def end(self, guest_events: list[str]) -> None:
        """Remove the events, which have been carried out, and the mark of `begin`."""
        for name in guest_events:
            self.remove(name)
        self.remove("working")

    def note(self, guest_event: GuestEvent) -> str:
        """Write an event of the service's, before anything is waited for; its file."""
        name = f"intents/{guest_event.stamp:020d}-{posix.getpid()}"
        self.write(name, guest_event.text())
        return name

    def note_network(self, name: str, data: bytes) -> None:
        """Keep the XML that a network hook got; empty if the network was stopped."""
        self._write(f"networks/{files.file_name(name)}", data)

    def note_started(self, driver: str) -> None:
        """Note that this libvirt has the operation `started`: hooks ignore `start` from
        now on."""
        if not files.exists(f"{self.path}/started-{driver}"):
            self.write(f"started-{driver}", "")

    def guest_events(self) -> list[tuple[str, GuestEvent]]:
        """The service's events that wait, the oldest first, with their files."""
        found = []
        for name in self.names("intents"):
            try:
                text = _text(self._data(f"intents/{name}") or b"")
                found.append((f"intents/{name}", parse_guest_event(text)))
            except (ValueError, IndexError):
                self.set_aside(f"intents/{name}")
        return found

    def record(self, key: Key, has_entries: bool = True) -> Record | None:
        """The record of a guest, with or without its entries; None if there is none."""
        return self._record(record_name(key), has_entries)

    def record_at(self, name: str) -> Record | None:
        """The record in a file that `record_name` names."""
        return self._record(name, has_entries=True)

    def records(self, driver: str = "", has_entries: bool = True) -> list[Record]:
        """The records of all claims, networks and guests, or of one driver; the oldest
        first."""
        places = ["claims", *(f"guests/{one}" for one in DRIVERS)]
        places = [f"guests/{driver}"] if driver else places
        names = [f"{place}/{name}" for place in places for name in self.names(place)]
        found = [self._record(name, has_entries) for name in names]
        return sorted(filter(None, found), key=lambda record: record.since)

    def keep(self, record: Record) -> None:
        """Write the record of a guest."""
        self.write(record_name(record.key), record.text())

    def forget(self, key: Key) -> None:
        """Remove the record: the guest has stopped, and the kernel holds nothing for
        it."""
        self.remove(record_name(key))

    def sweep(self, directory: str) -> None:
        """Remove the files of processes that have ended."""
        for name in self.names(directory):
            if not files.exists(f"/proc/{name}"):
                self.remove(f"{directory}/{name}")

    def _data(self, name: str) -> bytes | None:
        """A file's content; None for no file. Raises ValueError for a directory or a
        link; links are not followed."""
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
        """Move an unreadable file to aside/ for a look, and ask for a full sync."""
        aside = f"aside/{files.file_name(name)}"
        try:
            posix.rename(f"{self.path}/{name}", f"{self.path}/{aside}")
        except FileNotFoundError:
            return  # another process has done so
        except OSError:
            # A rename cannot put a directory over another file, nor a file over a
            # directory.
            aside = f"aside/{time.monotonic_ns():020d}"
            posix.rename(f"{self.path}/{name}", f"{self.path}/{aside}")
        self.write("full", f"{name} cannot be read")
        said = f"{self.path}/{name} cannot be read and is now {aside}"
        self.problems.append(f"{said}: run vfwhooks apply, which asks libvirtd")


def parse_base(text: str) -> dict[str, str]:
    """The backend in use and its notes, from the text of the file `base`."""
    words = (line.partition(" ") for line in text.split("\n"))
    return {word: rest for word, _, rest in words if word}


def record_name(key: Key) -> str:
    """The file of a record; the gates look for guests only in guests/."""
    driver, name = key
    place = "claims" if driver == "claim" else f"guests/{driver}"
    return f"{place}/{files.file_name(name)}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def member_name(key: Key) -> str:
    """The name of a guest's file in a directory for guests of all drivers."""
    return f"{key[0]}.{files.file_name(key[1])}"
