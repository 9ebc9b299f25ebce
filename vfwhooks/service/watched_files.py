"""The files that the service watches, and the meaning of a change."""

from collections.abc import Sequence
from posixpath import dirname, islink, realpath

from ..host.inotify import (
    ATTRIB,
    CLOSE_WRITE,
    CREATE,
    DELETE,
    MODIFY,
    MOVED_FROM,
    MOVED_TO,
    Inotify,
)
from ..store import files
from ..store.state import MADE_LAST
from . import hook
from .guest_cache import PLACES

CONFIG, LEASE, RECORD, STATE = "config", "lease", "record", "state"
FULL, LATE, ASIDE, DIRECTORY = "full", "late", "aside", "directory"
STATUS, DEAF, DAEMON = "status", "deaf", "daemon"
SHORT = (
    "inotify watches no more directories: changed files are seen once a minute; raise "
    "the sysctl fs.inotify.max_user_watches"
)
_WRITTEN = CLOSE_WRITE | MOVED_TO
_CHANGED = _WRITTEN | MOVED_FROM | CREATE | DELETE | ATTRIB


class Watched:
    """The files of a state directory, of a configuration, of directories with leases,
    and of libvirt's `status` directories, which are all in one directory.

    The meanings: CONFIG, LEASE (a file beside lease files), RECORD (of a guest), STATUS
    (a file beside status files), STATE (a directory was made anew), FULL (a full sync
    is wanted), LATE (a hook waited for the lock in vain), DEAF (a hook rang in vain),
    ASIDE (a record could not be read), DAEMON (a libvirt daemon has come up), DIRECTORY
    (news of its files may have been lost).
    """

    def __init__(
        self,
        state: str,
        config: str,
        leases: list[str],
        status: Sequence[str] = (),
        daemons: Sequence[str] = (),
    ) -> None:
        self._inotify = Inotify()
        self._state = state
        self._config = config
        self._drop_ins = f"{dirname(config)}/forwards.d"
        self._targets: set[str] = set()
        self._leases = leases
        self._status = status
        self._daemons = daemons
        self._libvirts = {dirname(path) for path in status}
        self._made_anew = {state, f"{state}/{MADE_LAST}", *self._libvirts, *status}
        self.guests = [f"{state}/{place}" for place in PLACES]
        # The meaning of a change, by file; and by the directory of a file.
        self._files = {
            f"{state}/full": FULL,
            f"{state}/late": LATE,
            f"{state}/{hook.DEAF}": DEAF,
            **dict.fromkeys(daemons, DAEMON),
        }
        self._places = {
            **dict.fromkeys(status, STATUS),
            **dict.fromkeys(leases, LEASE),
            **dict.fromkeys(self.guests, RECORD),
            f"{state}/aside": ASIDE,
        }

    def fileno(self) -> int:
        return self._inotify.fileno()

    def listen(self) -> set[str]:
        """Watch every directory that exists; returns those that were not watched so
        far.

        A directory that comes later is found by its parent, or by the next call. Sets
        `is_short` if some that exist cannot be watched.
        """
        self._inotify.is_short = False
        self._targets = self._links()
        return {
            path for path, mask in self._directories() if self._inotify.add(path, mask)
        }

    @property
    def is_short(self) -> bool:
        return self._inotify.is_short

    def read(self) -> dict[str, set[str]]:
        """The paths that changed since the last time, by the meaning of the change."""
        news: dict[str, set[str]] = {}
        for path in self._inotify.read():
            for kind in self._kinds(path):
                news.setdefault(kind, set()).add(path)
        return news

    def has_news(self) -> bool:
        """Whether any of these files, or another one of the state directory, has
        changed since the last time."""
        return any(
            dirname(path) == self._state or self._kinds(path)
            for path in self._inotify.read()
        )

    def _directories(self) -> list[tuple[str, int]]:
        """The directories, each with the inotify events that count there."""
        directory = dirname(self._config)
        return [
            (dirname(directory), CREATE | MOVED_TO),
            (directory, _CHANGED),
            (self._drop_ins, _CHANGED),
            *((dirname(target), _CHANGED) for target in self._targets),
            # dnsmasq keeps the file open.
            *((path, _WRITTEN | MODIFY) for path in self._leases),
            (dirname(self._state), CREATE | MOVED_TO),
            (self._state, _WRITTEN | CREATE),
            (f"{self._state}/aside", MOVED_TO),
            *((path, _WRITTEN | DELETE) for path in self.guests),
            *((dirname(path), CREATE | MOVED_TO) for path in self._libvirts),
            *((path, CREATE | MOVED_TO) for path in self._libvirts),
            *((path, _WRITTEN | MOVED_FROM | DELETE) for path in self._status),
            # A daemon keeps its pid file open, and locked.
            *((dirname(path), CREATE | MODIFY) for path in self._daemons),
        ]

    def _links(self) -> set[str]:
        """The files to which forwards.yaml, and files in forwards.d, are links."""
        names = files.names(self._drop_ins)
        paths = [self._config, *(f"{self._drop_ins}/{name}" for name in names)]
        return {realpath(path) for path in paths if islink(path)}

    def _kinds(self, path: str) -> list[str]:
        """The meanings of a change of this path, a file or a directory."""
        where = dirname(path)
        directories = *self._leases, *self.guests, *self._status
        kinds = [DIRECTORY] if path in directories else []
        kind = self._files.get(path) or self._places.get(where)
        if kind:
            kinds.append(kind)
        elif path in self._made_anew:
            kinds.append(STATE)
        if self._is_config(path, where):
            kinds.append(CONFIG)
        return kinds

    def _is_config(self, path: str, where: str) -> bool:
        files_of_it = self._config, *self._targets
        directories = self._drop_ins, *map(dirname, files_of_it)
        return path in (*files_of_it, *directories) or where == self._drop_ins
