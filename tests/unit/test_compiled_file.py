"""compiled_file: a file from which a hook reads only its own guest."""

from __future__ import annotations

import os
import posix
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import NAMES, PROPERTY, descriptors
from vfwhooks.config import compiled_file
from vfwhooks.config.compiled_file import Compiled

GUESTS = {
    "web1": ["address 192.168.122.10", "forward * tcp 80 80 80 80 -"],
    "bücher": ["forward * tcp 81 81 81 81 -"],
    "": ["x"],
}
TEXTS = {"own": "table inet vfwhooks\n", "4": "add\nchain\n\n", "iptables6": ""}


def opened(directory: Path, data: bytes) -> Compiled:
    """What `data` reads as."""
    (directory / "compiled").write_bytes(data)
    found = compiled_file.load(str(directory))
    assert found
    return found


def test_lookup(tmp_path: Path) -> None:
    """Each guest's own lines; none for anybody else."""
    config = opened(tmp_path, compiled_file.build("s", TEXTS, GUESTS))

    found = {name: config.lookup(name) for name in (*GUESTS, "web", "web11", "other")}

    assert found == {**GUESTS, "web": [], "web11": [], "other": []}


def test_everything_that_was_put_in(tmp_path: Path) -> None:
    """Guests by name, base rulesets and stamps come back as they were."""
    config = opened(tmp_path, compiled_file.build("a 1\nb 2", TEXTS, GUESTS))

    found = config.guests(), config.base_rulesets(), config.stamps

    assert found == (dict(sorted(GUESTS.items())), TEXTS, "a 1\nb 2")


def test_a_configuration_of_nothing(tmp_path: Path) -> None:
    """A host without guests has a whole configuration too."""
    config = opened(tmp_path, compiled_file.build("", {}, {}))

    found = (
        config.guests(),
        config.base_rulesets(),
        config.stamps,
        config.lookup("web1"),
    )

    assert found == ({}, {}, "", [])


LINES = st.lists(
    st.text(st.characters(exclude_characters="\n", codec="utf-8")), min_size=1
)


@PROPERTY
@given(st.dictionaries(NAMES, LINES, max_size=12), NAMES)
def test_any_guests_are_found(guests: dict[str, list[str]], stamps: str) -> None:
    """Whatever their names are, in whatever buckets they fall."""
    data = compiled_file.build(stamps, TEXTS, guests)
    fd = os.memfd_create("compiled")
    os.write(fd, data)

    config = Compiled(fd)

    found = config.guests(), {n: config.lookup(n) for n in guests}, config.stamps
    config.close()
    assert found == (dict(sorted(guests.items())), guests, stamps)


def test_long_stamps_and_base_rulesets(tmp_path: Path) -> None:
    """What is longer than the first read is read as well."""
    stamps, texts = "s" * 20_000, {"own": "o" * 70_000}

    config = opened(tmp_path, compiled_file.build(stamps, texts, GUESTS))

    found = (
        config.stamps == stamps,
        config.base_rulesets() == texts,
        config.lookup("web1"),
    )
    assert found == (True, True, GUESTS["web1"])


def test_a_lookup_reads_its_own_guest_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside 10,000 other guests not one of them, but for some that share its slot: the
    bytes are counted."""
    guests = {f"guest{n}": ["forward * tcp 80 80 80 80 -"] * 10 for n in range(10_000)}
    whole = compiled_file.build("stamps", TEXTS, {**guests, **GUESTS})
    (tmp_path / "compiled").write_bytes(whole)
    pread, counted = posix.pread, []

    def counting(fd: int, size: int, at: int) -> bytes:
        counted.append(len(pread(fd, size, at)))
        return pread(fd, size, at)

    monkeypatch.setattr(posix, "pread", counting)

    config = compiled_file.load(str(tmp_path))

    found = config.lookup("web1") if config else []
    assert (found, len(whole) > 2 << 20, sum(counted) < 6 << 10) == (
        GUESTS["web1"],
        True,
        True,
    )


def test_no_configuration(tmp_path: Path) -> None:
    """A host that has compiled nothing yet has none."""
    found = compiled_file.load(str(tmp_path))

    assert found is None


DATA = compiled_file.build("stamps", TEXTS, GUESTS)
PLACES = range(5, 49, 11)  # of the numbers in its first line
NUMBERS = b"-000000001", b"0000000000", b"9999999999", b"x000000000"


@pytest.mark.parametrize("size", range(len(DATA)))
def test_a_truncated_configuration_is_none(tmp_path: Path, size: int) -> None:
    """Cut anywhere, it is not taken for a smaller one."""
    (tmp_path / "compiled").write_bytes(DATA[:size])

    found = compiled_file.load(str(tmp_path))

    assert found is None


@pytest.mark.parametrize(
    "data",
    [
        DATA + b"x",
        b"vfw0" + DATA[4:],
        b"vfw2" + bytes(range(16)) + DATA,
        *(DATA[:at] + other + DATA[at + 10 :] for at in PLACES for other in NUMBERS),
    ],
)
def test_a_foreign_configuration_is_none(tmp_path: Path, data: bytes) -> None:
    """Another release's, or what is none at all, is compiled anew."""
    (tmp_path / "compiled").write_bytes(data)

    found = compiled_file.load(str(tmp_path))

    assert found is None


@pytest.mark.parametrize("spoilt", [b"\xff", b"0", b"\t", b"%\t"])
def test_a_damaged_configuration(tmp_path: Path, spoilt: bytes) -> None:
    """With the head and the size of a whole one it says so to whoever looks anything
    up; it is compiled anew."""
    head = DATA.index(b"\n") + 1
    size = len(DATA) - head
    config = opened(tmp_path, DATA[:head] + (spoilt * size)[:size])

    for look in (lambda: config.lookup("web1"), config.guests, config.base_rulesets):
        with pytest.raises(compiled_file.Damaged, match="it is compiled anew"):
            look()


def test_a_configuration_that_is_no_file(tmp_path: Path) -> None:
    """A link is not followed."""
    (tmp_path / "there").write_bytes(DATA)
    (tmp_path / "compiled").symlink_to("there")

    with pytest.raises(OSError, match="symbolic links"):
        compiled_file.load(str(tmp_path))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """A broken file and a closed one hold nothing."""
    (tmp_path / "compiled").write_bytes(b"x" * 100)
    before = descriptors()

    compiled_file.load(str(tmp_path))
    opened(tmp_path, DATA).close()

    assert descriptors() == before
