"""Events of hooks, parsed into events of guests."""

from ..libvirt.status_directories import NETWORKS, OLD_NETWORKS
from ..libvirt.xml import parse_domain, parse_networks
from ..store import files, spool
from ..store.records import GuestEvent
from ..store.spool import HookEvent
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.guests import Guest

_STARTED = {"start": "starting", "started": "started", "reconnect": "reconnected"}


def waiting(state: State) -> list[tuple[str, GuestEvent]]:
    """All events that wait, the oldest first, with their files: the hooks' and the
    service's. For a holder of the lock, because the XML of a network is written to the
    state directory.

    An event without meaning is removed, and an unreadable file is set aside: neither
    blocks the events behind it.
    """
    found = state.guest_events()
    for file, event in spool.waiting(state.path):
        if event is None:
            state.set_aside(file)
            continue
        try:
            found.append((file, read_event(state, event)))
        except VfwError as error:
            state.problems.append(f"{show(event.name)} {event.operation}: {error}")
            files.remove(f"{state.path}/{file}")
        except (OSError, MemoryError):
            raise  # not a fault of the event: its file stays
        except Exception as error:  # noqa: BLE001 - whatever it is
            # This is a defect of ours, which would hit every later event, too.
            what = f"{show(event.name)} {event.operation}"
            state.problems.append(f"{what}: {error!r}")
            state.set_aside(file)
    return sorted(found, key=lambda one: one[1].stamp)


def read_event(state: State, event: HookEvent) -> GuestEvent:
    """The guest event of a hook's event. Raises VfwError if the XML is not one.

    The XML of a network hook is written to the state directory, because libvirt writes
    its own file only after the hook has ended.
    """
    if event.driver == "network":
        data = b"" if event.operation == "stopped" else event.data
        if event.operation != "stopped" and not (data and parse_networks(data)):
            raise VfwError("the XML describes no network")
        if event.operation != "updated" or _is_active(state, event.name):
            state.note_network(event.name, data)
        return GuestEvent("network", Guest("network", event.name, "", []), event.stamp)
    if event.operation in _STARTED:
        if event.operation != "start":
            state.note_started(event.driver)
        guest = parse_domain(event.data, event.driver)
        guest.name = event.name
        return GuestEvent(_STARTED[event.operation], guest, event.stamp)
    return GuestEvent("stopped", Guest(event.driver, event.name, "", []), event.stamp)


def _is_active(state: State, name: str) -> bool:
    """Whether an updated network is active: libvirt calls the hook after a change of an
    inactive one's definition, too. Where libvirt's files are not to be seen, it is
    taken for active."""
    places = [place for place in (NETWORKS, OLD_NETWORKS) if files.exists(place)]
    known = any(files.exists(f"{place}/{name}.xml") for place in places)
    return known or not places or bool(state.data(f"networks/{files.file_name(name)}"))
