"""doctor: guests that libvirt and our records disagree on; the rest: tests/e2e."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from unit.builders import (
    MAC,
    OTHER_MAC,
    OTHER_UUID,
    UUID,
    forward,
    fresh_state,
    guest,
    guest_forwards,
    nic,
    place,
    record,
)
from vfwhooks.config.compiler import compile_file
from vfwhooks.config.forwards import GuestForwards
from vfwhooks.diagnosis.doctor import (
    _bridged,
    _cables_to_ourselves,
    _in_force,
    _looked_at,
    _rights,
    _watch,
    check_config,
)
from vfwhooks.diagnosis.doctor_guests import (
    check_named_twice,
    check_records,
    check_strangers,
)
from vfwhooks.installation.service_process import find_service
from vfwhooks.libvirt.client import Answer
from vfwhooks.store.records import Record
from vfwhooks.values.errors import VfwError
from vfwhooks.values.findings import OK, Finding
from vfwhooks.values.guests import Guest

APPLY = "run: vfwhooks apply"


def found(directory: Path, recorded: list[Guest], *running: Guest) -> list[str]:
    """What is said when these are recorded, and libvirt's qemu driver has those; web1
    and a UUID stand in forwards.yaml."""
    state = fresh_state(directory)
    for one in recorded:
        state.keep(record(one))
    answer = Answer(running, ("qemu",))
    return [str(f) for f in check_records(state, {"web1", OTHER_UUID}, answer)]


def test_guests_that_all_agree_on(tmp_path: Path) -> None:
    """Recorded and running; and one that forwards.yaml does not name."""
    other = guest("other", "", [nic(OTHER_MAC)])

    assert found(tmp_path, [guest()], guest(), other) == []


def test_guests_that_are_not_recorded(tmp_path: Path) -> None:
    """By name and by UUID."""
    other = guest("other", OTHER_UUID, [nic(OTHER_MAC)])

    assert found(tmp_path, [], guest(), other) == [
        f"wrong  web1 runs and is not forwarded to; {APPLY}",
        f"wrong  other runs and is not forwarded to; {APPLY}",
    ]


def test_guests_that_do_not_run(tmp_path: Path) -> None:
    """Of drivers that did not answer nothing is known."""
    container = guest("box", driver="lxc")

    assert found(tmp_path, [guest(), container]) == [
        f"wrong  web1 does not run and is still recorded; {APPLY}"
    ]


def test_a_guest_that_was_renamed(tmp_path: Path) -> None:
    """Told by its UUID, and once."""
    assert found(tmp_path, [guest()], guest("web\x1b2")) == [
        f"wrong  web1 is called web\\x1b2 now; rename it in forwards.yaml, then {APPLY}"
    ]


def test_another_guest_of_the_same_name(tmp_path: Path) -> None:
    """Defined anew while nobody was told."""
    assert found(tmp_path, [guest()], guest(uuid=OTHER_UUID)) == [
        f"wrong  web1 is another guest than recorded; {APPLY}"
    ]


def test_two_guests_with_one_mac(tmp_path: Path) -> None:
    """On one network; on two networks nobody is confused."""
    twin = guest("twin", "", [nic(MAC), nic(OTHER_MAC)])
    far = guest("far", "", [nic(OTHER_MAC, network="lab")])

    assert found(tmp_path, [guest()], guest(uuid=UUID), twin, far) == [
        f"wrong  twin and web1 have one MAC, {MAC}; give each its own"
    ]


def test_a_guest_that_libvirt_does_not_have() -> None:
    """A name that is misspelt in forwards.yaml forwards nothing, and nobody says so."""
    known = {"web1", OTHER_UUID, "x", UUID}

    said = [str(f) for f in check_strangers({"web1", "wbe2\x1b", UUID}, known)]

    what = "forwards.yaml names wbe2\\x1b, and libvirt has no such guest"
    assert said == [f"note   {what}; virsh list --all shows who there is"]


def test_a_guest_that_stands_in_the_file_twice() -> None:
    """Under its name and its UUID: a note, with both places."""
    web1 = replace(guest_forwards("web1"), place=place(2, 3))
    again = replace(guest_forwards(UUID), place=place(9, 3))

    said = [str(f) for f in check_named_twice([web1, again], {("web1", UUID)})]

    where = "web1, which stands in forwards.yaml:2:3 already"
    what = f"{UUID} is {where}: one guest; write it once"
    assert said == [f"note   forwards.yaml:9:3: {what}"]


def test_a_libvirtd_that_does_not_answer(tmp_path: Path) -> None:
    """Nothing is said of guests."""
    said = [str(f) for f in check_records(fresh_state(tmp_path), set(), None)]

    what = "libvirtd does not answer: guests are those that the hooks have recorded"
    assert said == [f"note   {what}"]


def test_the_configuration(tmp_path: Path) -> None:
    """Good, with one mistake, with two."""
    path = tmp_path / "forwards.yaml"
    said: list[str] = []
    for text in ("guests: {}\n", "guests: [\n", "guests: {a: [x, y]}\n"):
        path.write_text(text)
        said += map(str, check_config(str(path), str(tmp_path)))

    assert said == [
        f"ok     {path}",
        f"wrong  {path} has a problem; run: vfwhooks check",
        f"wrong  {path} has 2 problems; run: vfwhooks check",
    ]


def test_a_configuration_that_is_gone(tmp_path: Path) -> None:
    """It is not well because there is nothing to find fault with."""
    state, path = fresh_state(tmp_path), tmp_path / "forwards.yaml"
    path.write_text("guests: {}\n")
    compile_file(path, state)
    path.unlink()

    said = list(map(str, check_config(str(path), state.path)))

    assert said == [f"wrong  {path} has a problem; run: vfwhooks check"]


def test_who_may_write_to_the_files(tmp_path: Path) -> None:
    """The directories, and each file that is read."""
    path, more = tmp_path / "forwards.yaml", tmp_path / "forwards.d"
    more.mkdir(0o755)
    names = path, more / "10-a.yaml", more / "passed-over"
    for one in names:
        one.write_text("guests: {}\n")
        one.chmod(0o664)
    tmp_path.chmod(0o755)

    said = list(map(str, _rights(str(path))))

    assert said == [
        f"wrong  {one} can be written by others than root; "
        f"run: chown root {one} && chmod go-w {one}"
        for one in names[:2]
    ]


def test_cables(tmp_path: Path) -> None:
    """An interface whose other end is a port of a bridge; what else the kernel has
    among its interfaces is none."""
    for name, own, other in (("peth0", 2, 3), ("vif0.0", 3, 2), ("eth0", 4, 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ifindex").write_text(f"{own}\n")
        (tmp_path / name / "iflink").write_text(f"{other}\n")
    (tmp_path / "vif0.0" / "brport").mkdir()
    (tmp_path / "bonding_masters").write_text("bond0\n")

    assert _cables_to_ourselves(tmp_path) == ["peth0"]


NOTE = (
    "note   br_netfilter is on: a guest does not reach itself through the host; "
    "where it must, write hairpin: true for it in forwards.yaml"
)


def bridged(root: Path, written: list[GuestForwards], *running: Record) -> list[str]:
    """What is said of a host with br_netfilter on, where vnet0 is in no hairpin mode
    and vnet1 is, by hand."""
    setting = root / "proc/sys/net/bridge/bridge-nf-call-iptables"
    setting.parent.mkdir(parents=True, exist_ok=True)
    setting.write_text("1\n")
    for number in (0, 1):
        port = root / f"sys/class/net/vnet{number}/brport"
        port.mkdir(parents=True, exist_ok=True)
        (port / "hairpin_mode").write_text(f"{number}\n")
    return [str(f) for f in _bridged(written, list(running), str(root))]


def test_guests_that_do_not_reach_themselves(tmp_path: Path) -> None:
    """One of those that run and are forwarded to is enough; one that is to be in
    hairpin mode, or has been set by hand, does not count."""
    entries = ["dnat 4 * tcp 80 80 192.168.122.10 80"]
    without, by_hand = record(entries=entries), record(entries=entries)
    by_hand.guest.nics = [nic(device="vnet1"), nic(device="")]
    with_it, idle = record(entries=entries), record()
    with_it.hairpins = [("vnet0", "virbr0", 0)]

    found = [
        bridged(tmp_path, [], without, with_it),
        bridged(tmp_path, [], idle, with_it, by_hand),
    ]

    assert found == [[NOTE], []]


def test_guests_that_would_not_reach_themselves(tmp_path: Path) -> None:
    """While none runs, it is said of those in the file."""
    without = guest_forwards("web1", forward())
    with_it = replace(without, hairpin=place())

    found = [
        bridged(tmp_path, written, record())
        for written in ([], [with_it], [with_it, without])
    ]

    assert found == [[], [], [NOTE]]


def test_a_bridge_that_iptables_does_not_see(tmp_path: Path) -> None:
    """Without br_netfilter a guest reaches itself."""
    said = list(_bridged([guest_forwards("web1", forward())], [], str(tmp_path)))

    assert said == []


def test_a_part_that_fails() -> None:
    """What was found before is told, and that a tool has failed; who is not root hears
    that only root may look."""

    def fails(error: Exception) -> Iterator[Finding]:
        yield Finding(OK, "a-b", "c", "it is well")
        raise error

    said = [str(one) for one in _looked_at("bans", lambda: fails(VfwError("nft: no")))]
    with pytest.raises(PermissionError):
        list(_looked_at("bans", lambda: fails(PermissionError())))

    assert said == [
        "ok     it is well",
        "wrong  bans: this could not be looked at: nft: no",
    ]


def test_a_broken_file_is_not_applied(tmp_path: Path) -> None:
    """To mend it is the one cure; apply would refuse it."""
    state, path = fresh_state(tmp_path), tmp_path / "forwards.yaml"
    path.write_text("guests: {web1: [80]}\n")
    compile_file(path, state)
    said = []
    for text in ("guests: {web1: [81]}\n", "guests: [\n"):
        path.write_text(text)
        said.append([str(one) for one in _in_force(state, str(path))])

    assert said == [[f"wrong  {path} is not in force as it is; {APPLY}"], []]


def test_a_service_that_does_not_run(tmp_path: Path) -> None:
    """Where there is no systemd, the cure is none of its commands."""
    said = [str(one) for one in _watch(str(tmp_path))]
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    said += [str(one) for one in _watch(str(tmp_path))]

    what = "wrong  watch does not run and no hook is laid: no guest is forwarded to; "
    assert said == [
        f"{what}start: vfwhooks watch",
        f"{what}run: systemctl enable --now vfwhooks",
    ]


@pytest.mark.parametrize(
    ("network", "found"), [("net:[1]", 7), ("net:[2]", 0), ("", 7)]
)
def test_a_service_of_a_container(tmp_path: Path, network: str, found: int) -> None:
    """It changes the rules of its own network alone; where nobody may look whose it is,
    it is the host's."""
    for process, its in (("self", "net:[1]"), ("7", network)):
        directory = tmp_path / "proc" / process
        (directory / "ns").mkdir(parents=True)
        if its:
            (directory / "ns/net").symlink_to(its)
    line = b"python3\0-c\0from vfwhooks.service.daemon import main\0"
    (tmp_path / "proc/7/cmdline").write_bytes(line)

    assert find_service(str(tmp_path)) == found
