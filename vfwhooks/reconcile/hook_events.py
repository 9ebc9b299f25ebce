"""What hooks were told, made into what it means for us: events of guests."""

from ..libvirt.xml import parse_domain, parse_networks
from ..store import files, spool
from ..store.records import GuestEvent
from ..store.spool import HookEvent
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.guests import Guest

_STARTED = {"start": "started", "started": "started", "reconnect": "reconnected"}


def waiting(state: State) -> list[tuple[str, GuestEvent]]:
    """All that has not been carried out, the oldest first, with the files: what hooks
    were told, and what the service has found. Told with the lock held, since what a
    hook was told of a network is left in the state directory.

    What says nothing is gone, and what cannot be read is set aside: neither stands in
    the way of what comes behind it.
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
            raise  # no fault of the event's: it stays
        except Exception as error:  # noqa: BLE001 - whatever it is
            # A defect of ours, which would meet everybody who comes behind it, too.
            what = f"{show(event.name)} {event.operation}"
            state.problems.append(f"{what}: {error!r}")
            state.set_aside(file)
    return sorted(found, key=lambda one: one[1].stamp)


def read_event(state: State, event: HookEvent) -> GuestEvent:
    """The event of a guest. Raises VfwError for XML that is none.

    What a network hook was told is left in the state directory, because libvirt writes
    its own file only when the hook has ended.
    """
    if event.driver == "network":
        data = b"" if event.operation == "stopped" else event.data
        if data and not parse_networks(data):
            raise VfwError("the XML describes no network")
        if not data and event.operation != "stopped":
            raise VfwError("the XML describes no network")
        state.note_network(event.name, data)
        return GuestEvent("network", Guest("network", event.name, "", []), event.stamp)
    if event.operation in _STARTED:
        if event.operation != "start":
            state.note_started(event.driver)
        guest = parse_domain(event.data, event.driver)
        guest.name = event.name
        return GuestEvent(_STARTED[event.operation], guest, event.stamp)
    return GuestEvent("stopped", Guest(event.driver, event.name, "", []), event.stamp)
