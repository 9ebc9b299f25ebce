"""doctor: guests that libvirt and our records disagree on; the rest: tests/e2e."""

from __future__ import annotations

from pathlib import Path

from unit.builders import (
    MAC,
    OTHER_MAC,
    OTHER_UUID,
    UUID,
    fresh_state,
    guest,
    nic,
    record,
)
from vfwhooks.compiler import compile_file
from vfwhooks.doctor import _cables_to_ourselves, _guests, _strangers, check_config
from vfwhooks.libvirtd import Answer
from vfwhooks.model import Guest

APPLY = "run: vfwhooks apply"


def found(directory: Path, recorded: list[Guest], *running: Guest) -> list[str]:
    """What is said when these are recorded, and libvirt's qemu driver has those; web1
    and a UUID stand in forwards.yaml."""
    state = fresh_state(directory)
    for one in recorded:
        state.keep(record(one))
    answer = Answer(running, ("qemu",))
    return [str(f) for f in _guests(state, {"web1", OTHER_UUID}, answer)]


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
    said = [str(f) for f in _strangers({"web1", "wbe2\x1b", UUID}, {"web1", UUID, "x"})]

    what = "forwards.yaml names wbe2\\x1b, and libvirt has no such guest"
    assert said == [f"note   {what}; virsh list --all shows who there is"]


def test_a_libvirtd_that_does_not_answer(tmp_path: Path) -> None:
    """Nothing is said of guests."""
    said = [str(f) for f in _guests(fresh_state(tmp_path), set(), None)]

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
