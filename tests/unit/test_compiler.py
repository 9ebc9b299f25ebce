"""compiler: forwards.yaml validated and laid out for lookups by guest."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from unit.builders import CHECKOUT, forward, fresh_state, guest_forwards, place
from vfwhooks.config import compiled_file, source_stamps
from vfwhooks.config.allow_from import by_family, chain_name, collapse
from vfwhooks.config.compiled_lines import parse_settings
from vfwhooks.config.compiler import (
    compile_file,
    guest_lines,
    main,
)
from vfwhooks.config.forwards import GuestForwards
from vfwhooks.config.forwards_keys import NO_OPTIONS, OPTIONS, PortOptions
from vfwhooks.config.value_syntax import Subnet, parse_address
from vfwhooks.store.state import State

LAN = "10.0.0.0/8"
RETURNED = PortOptions(return_path=True)
MASQUERADED = PortOptions(over_listener=True, masquerade=True)


def subnets(*texts: str) -> tuple[Subnet, ...]:
    """Networks from their text."""
    return tuple(map(ip_network, texts))


def compile_text(state: State, directory: Path, text: str) -> list[str]:
    """Compile a forwards.yaml of this content; its problems."""
    path = directory / "forwards.yaml"
    path.write_text(text)
    problems = compile_file(path, state)
    return [str(problem).replace(f"{directory}/", "") for problem in problems]


def in_force(state: State) -> dict[str, list[str]]:
    """The guests of the configuration that is in force."""
    config = compiled_file.load(state.path)
    return config.guests() if config else {}


def broken(state: State, directory: Path) -> str:
    """What is wrong with the newest files, as it is kept."""
    return state.read("broken").partition("\n\n")[2].replace(f"{directory}/", "")


def test_lines_of_a_guest() -> None:
    """Everything that plan needs, in its words."""
    guest = GuestForwards(
        "web1",
        forward().place,
        (
            forward("8080", "80"),
            forward("5000-5010", protocol="udp", host_ip=parse_address("0.0.0.0")),
            forward(
                "80", host_ip=parse_address("2001:db8::5"), allow_from=subnets(LAN)
            ),
            forward("81", allow_from=subnets(LAN)),
        ),
        (parse_address("192.168.122.50"), parse_address("fd00:122::50")),
        "my net",
    )
    chain = chain_name(subnets(LAN))

    found = guest_lines(guest)

    assert found == [
        "address 192.168.122.50",
        "address fd00:122::50",
        "network my%20net",
        "forward * tcp 8080 8080 80 80 -",
        "forward 0.0.0.0 udp 5000 5010 5000 5010 -",
        f"forward 2001:db8::5 tcp 80 80 80 80 {chain}",
        f"forward * tcp 81 81 81 81 {chain}",
    ]


def test_lines_of_a_guest_with_a_claim() -> None:
    """Its mark is made of its name, the same in every release; DNS on every address
    concerns every network."""
    forwards = forward("8080"), forward("50-60", protocol="udp")
    guest = GuestForwards("web1", forward().place, forwards, is_claimed=True)

    found = guest_lines(guest)

    assert found == [
        "claim 659a7fb2-af47-6fae-688d-711213d91dc1",
        "wide",
        "claimed * tcp 8080 8080 8080 8080 -",
        "claimed * udp 50 60 50 60 -",
    ]


@pytest.mark.parametrize(
    ("published", "host_ip", "is_wide"),
    [
        ("53", None, True),
        ("60-70", "0.0.0.0", True),
        ("547", "::", True),
        ("54-66", None, False),
        ("53", "203.0.113.5", False),
    ],
)
def test_who_takes_what_libvirts_bridges_need(
    published: str, host_ip: str | None, is_wide: bool
) -> None:
    """Ports 53, 67, 69 and 547, on every address and not on one."""
    bound = parse_address(host_ip) if host_ip else None
    guest = guest_forwards("web1", forward(published, host_ip=bound))

    found = guest_lines(guest)

    assert ("wide" in found) == is_wide


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        ({"is_egress": True}, ["public {0}", "whole {0}", "outgoing {0}"]),
        ({}, ["public {0}", "whole {0}"]),
        ({"is_one_to_one": True, "is_egress": True}, ["public {0}", "outgoing {0}"]),
        (
            {"is_one_to_one": True, "is_hosts_own": True},
            ["over {0}"],
        ),
        (
            {"is_hosts_own": True, "is_egress": True},
            ["over {0}", "outgoing {0}"],
        ),
    ],
)
def test_lines_of_a_guest_with_a_whole_address(
    flags: dict[str, bool], lines: list[str]
) -> None:
    """What is not listed is rejected, unless it is the host's own address."""
    public = parse_address("203.0.113.7")
    guest = GuestForwards("web1", forward().place, public_ips=(public,))
    guest = replace(guest, **dict[str, Any](flags))

    found = guest_lines(guest)

    assert found == [line.format("203.0.113.7") for line in lines]


def test_lines_of_a_guest_that_keeps_a_whole_address() -> None:
    """It is the claim's to reject the rest."""
    public = parse_address("203.0.113.7")
    place = forward().place
    guest = GuestForwards("web1", place, public_ips=(public,), is_claimed=True)

    found = guest_lines(guest)

    assert found[1:] == ["public 203.0.113.7", "kept 203.0.113.7"]


def test_lines_of_a_guest_on_loopback() -> None:
    """Its bridge has more to do."""
    bound = forward("80", host_ip=parse_address("127.0.0.1"))

    found = guest_lines(guest_forwards("web1", bound))

    assert found == ["loopback", "forward 127.0.0.1 tcp 80 80 80 80 -"]


def test_lines_of_a_guest_that_reaches_itself() -> None:
    """Only where anything is forwarded."""
    guests = guest_forwards("web1", forward("80")), guest_forwards("web1")

    found = [guest_lines(replace(guest, hairpin=place())) for guest in guests]

    assert found == [["hairpin", "forward * tcp 80 80 80 80 -"], []]


def test_lines_of_forwards_with_options() -> None:
    """Those that differ from the default stand behind the forward."""
    every = replace(forward("22", host_ip=ip_address("0.0.0.0")), options=RETURNED)
    one = replace(forward("5000-5010", protocol="udp"), options=MASQUERADED)

    found = guest_lines(guest_forwards("web1", every, one, forward("80")))

    assert found == [
        "forward 0.0.0.0 tcp 22 22 22 22 - return_path=True",
        "forward * udp 5000 5010 5000 5010 - over_listener=True masquerade=True",
        "forward * tcp 80 80 80 80 -",
    ]


@pytest.mark.parametrize("options", [NO_OPTIONS, RETURNED, MASQUERADED])
def test_options_are_read_as_they_were(options: PortOptions) -> None:
    """What the compiler writes of them is what a hook has."""
    one = replace(forward("80"), options=options)

    found = parse_settings(guest_lines(guest_forwards("web1", one)))

    assert found.forwards[0].options == options


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_of_a_port_arrives(tmp_path: Path, key: str) -> None:
    """A field of PortOptions is all that it takes, from forwards.yaml to the plan."""
    state = fresh_state(tmp_path)
    text = f"guests: {{web1: {{ports: [{{published: 80, {key}: true}}, 443]}}}}"

    problems = compile_text(state, tmp_path, text)

    found = parse_settings(in_force(state)["web1"]).forwards
    wanted = [PortOptions(**{key: OPTIONS[key]("true")}), NO_OPTIONS]
    assert (problems, [one.options for one in found]) == ([], wanted)


@pytest.mark.parametrize("word", ["over_listener=maybe", "over=True", "x"])
def test_options_that_are_none(word: str) -> None:
    """A damaged file is told as such, as other lines of it are."""
    with pytest.raises(ValueError, match="no option of a port"):
        parse_settings([f"forward * tcp 80 80 80 80 - {word}"])


def test_claims_are_listed(tmp_path: Path) -> None:
    """Who has a claim is known without a look at every guest."""
    state = fresh_state(tmp_path)
    text = "defaults: {when_stopped: reject}\nguests:\n  we b: [80]\n  mail:\n"
    text += "    {ports: [25], when_stopped: pass}\n"

    problems = compile_text(state, tmp_path, text)

    config = compiled_file.load(state.path)
    assert config
    assert (problems, config.claims()) == ([], ["we b"])


def test_bridges_are_listed(tmp_path: Path) -> None:
    """Those that any guest has, once each, and in the guest's own lines."""
    lines = [f"  web{n}: {{ports: [{n}], bridge: br-nat}}\n" for n in (1, 2)]

    state = fresh_state(tmp_path)

    problems = compile_text(state, tmp_path, "".join(["guests:\n", *lines]))

    config = compiled_file.load(state.path)
    assert config
    found = config.bridges(), config.claims(), config.lookup("web2")[0]
    assert (problems, found) == ([], (["br-nat"], [], "bridge br-nat"))


def test_lines_of_a_guest_without_forwards() -> None:
    """`ports: []` says none."""
    found = guest_lines(guest_forwards("web1"))

    assert found == []


@pytest.mark.parametrize(
    ("given", "collapsed"),
    [
        ((), []),
        ((LAN,), [LAN]),
        ((LAN, "10.1.0.0/16"), [LAN]),
        (("10.0.0.0/9", "10.128.0.0/9"), [LAN]),
        (("fd00::/8", LAN), [LAN, "fd00::/8"]),
        (("10.0.0.1", "10.0.0.1"), ["10.0.0.1/32"]),
        (("fd00::/64", "fd00::1", "::/0"), ["::/0"]),
    ],
)
def test_collapse(given: tuple[str, ...], collapsed: list[str]) -> None:
    """nf_tables refuses sources that overlap; IPv4 comes first."""
    found = collapse(subnets(*given))

    assert list(map(str, found)) == collapsed


def test_source_ranges_as_text() -> None:
    """As iptables-save writes them, whatever Python does: a full sync compares both."""
    some = subnets(LAN, "::ffff:0:0/96", "::102:304", "::1", "2001:db8:0:1::/64")

    found = by_family(some)

    assert found == {
        "4": (LAN,),
        "6": (
            "::1/128",
            "::1.2.3.4/128",
            "::ffff:0.0.0.0/96",
            "2001:db8:0:1::/64",
        ),
    }


def test_the_same_sources_are_the_same_chain() -> None:
    """However they are written, in whatever order; others are another."""
    lists = [
        (LAN, "fd00::/8"),
        ("fd00::/8", LAN),
        ("10.0.0.0/9", "10.128.0.0/9"),
        (LAN,),
    ]

    names = [chain_name(subnets(*texts)) for texts in lists]

    assert (names[0] == names[1], names[2] == names[3], names[0] == names[3]) == (
        True,
        True,
        False,
    )
    assert all(re.fullmatch("allow_[0-9a-f]{16}", name) for name in names)


def test_a_good_file_is_put_in_force(tmp_path: Path) -> None:
    """Its guests by name, with the base rulesets that they need."""
    state = fresh_state(tmp_path)
    text = (
        f"guests:\n  web1:\n    - published: 80\n      allow_from: {LAN}\n  on: [22]\n"
    )

    problems = compile_text(state, tmp_path, text)

    chain = chain_name(subnets(LAN))
    assert (problems, in_force(state)) == (
        [],
        {
            "on": ["forward * tcp 22 22 22 22 -"],
            "web1": [f"forward * tcp 80 80 80 80 {chain}"],
        },
    )


def test_skeletons_are_kept_with_it(tmp_path: Path) -> None:
    """Every part that a hook may have to restore, with the lists of sources."""
    state = fresh_state(tmp_path)
    compile_text(
        state, tmp_path, f"guests: {{a: [{{target: 1, allow_from: {LAN}}}]}}\n"
    )

    config = compiled_file.load(state.path)
    texts = config.base_rulesets() if config else {}

    chain = chain_name(subnets(LAN))
    parts = ["4", "6", "iptables4", "iptables6", "lists", "marks", "own", "source"]
    assert sorted(texts) == parts
    assert f"ip saddr {{ {LAN} }} return" in texts["own"] and chain in texts["own"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"guests: {{b: [22, {{target: 1, allow_from: {LAN}}}]}}\n", False),
        ("guests: {a: [{target: 1, allow_from: 192.0.2.0/24}]}\n", True),
        ("guests: {a: [1]}\n", True),
        (
            f"guests: {{a: [{{target: 1, allow_from: {LAN}, masquerade: true}}]}}\n",
            True,
        ),
    ],
)
def test_skeletons_are_rendered_for_other_lists_alone(
    tmp_path: Path, text: str, expected: bool
) -> None:
    """An edit that leaves the lists of sources as they are does not load jinja2."""
    state = fresh_state(tmp_path)
    before = f"guests: {{a: [{{target: 1, allow_from: {LAN}}}]}}\n"
    compile_text(state, tmp_path, before)
    (tmp_path / "forwards.yaml").write_text(text)
    script = (
        "import sys; from vfwhooks.config.compiler import main; main(*sys.argv[1:]); "
        "print('jinja2' in sys.modules)"
    )
    argv = [sys.executable, "-c", script, f"{tmp_path}/forwards.yaml", state.path]

    done = subprocess.run(
        argv, capture_output=True, check=True, cwd=CHECKOUT, text=True
    )

    assert done.stdout == f"{expected}\n"


def test_skeletons_that_are_damaged(tmp_path: Path) -> None:
    """They are rendered anew, and do not stand in the way of what is compiled."""
    state, main = fresh_state(tmp_path), tmp_path / "forwards.yaml"
    main.write_text("guests: {}\n")
    compile_file(main, state)
    whole = state.data("compiled")
    state.put_compiled(whole.replace(b"\n0000000000\n", b" 0000000000\n"))

    compile_file(main, state)

    assert state.data("compiled") == whole


def test_stamps_are_those_of_the_files(tmp_path: Path) -> None:
    """What is in force is known to be what the files say."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: {}\n")

    config = compiled_file.load(state.path)

    assert config and source_stamps.is_current(
        config.stamps, f"{tmp_path}/forwards.yaml"
    )


def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    """The last good configuration stays, and what is wrong is kept beside it."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")

    problems = compile_text(state, tmp_path, "guests: {web1: [0], web2: [x]}\n")

    assert problems == [
        "forwards.yaml:1:17: 0: ports are 1 to 65535",
        "forwards.yaml:1:28: 'x' is not a port or a range of ports",
    ]
    assert (in_force(state), broken(state, tmp_path).split("\n")) == (
        {"web1": ["forward * tcp 80 80 80 80 -"]},
        problems,
    )


def test_what_is_wrong_is_wrong_with_these_files(tmp_path: Path) -> None:
    """The stamps above what is wrong tell whether it is still about the files."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: [\n")

    taken = state.read("broken").partition("\n\n")[0]

    assert source_stamps.is_current(taken, f"{tmp_path}/forwards.yaml")


def test_a_file_that_was_mended(tmp_path: Path) -> None:
    """Nothing of what was wrong is left."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: [\n")

    problems = compile_text(state, tmp_path, "guests: {web1: [81]}\n")

    assert (problems, broken(state, tmp_path), [*in_force(state)]) == ([], "", ["web1"])


@pytest.mark.parametrize("text", ["", "# nothing\n", "guests:\n", "guests: {web1:"])
def test_a_file_that_is_suddenly_empty_or_half_written(
    tmp_path: Path, text: str
) -> None:
    """After a good one it is a broken edit; `guests: {}` is how one says none."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")

    problems = compile_text(state, tmp_path, text)

    assert (len(problems), [*in_force(state)]) == (1, ["web1"])


def test_a_file_that_says_none(tmp_path: Path) -> None:
    """`guests: {}` takes everything out."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")

    problems = compile_text(state, tmp_path, "guests: {}\n")

    assert (problems, in_force(state)) == ([], {})


def test_no_file_on_a_host_that_never_had_one(tmp_path: Path) -> None:
    """It means no forwards, and is put in force as that."""
    state = fresh_state(tmp_path)

    problems = compile_file(tmp_path / "forwards.yaml", state)

    assert (problems, compiled_file.load(state.path) is None) == (
        [],
        False,
    )


def test_a_file_that_is_suddenly_gone(tmp_path: Path) -> None:
    """After a good one an absent file is a broken edit."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")
    (tmp_path / "forwards.yaml").unlink()

    problems = compile_file(tmp_path / "forwards.yaml", state)

    cure = "the last good one stays in force; put it back, or write it again: vfwhooks"
    cure += " edit; guests: {} says none"
    said = [str(problem) for problem in problems]
    assert said == [f"{tmp_path}/forwards.yaml:1:1: is gone; {cure}"]
    assert [*in_force(state)] == ["web1"]


def test_a_file_that_stays_gone(tmp_path: Path) -> None:
    """However often it is looked at, the last good configuration stays."""
    state = fresh_state(tmp_path)
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")
    (tmp_path / "forwards.yaml").unlink()

    for _ in range(3):
        compile_file(tmp_path / "forwards.yaml", state)

    assert [*in_force(state)] == ["web1"]


def drop_in(directory: Path, name: str, text: str) -> Path:
    """A file in forwards.d."""
    path = directory / "forwards.d" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_drop_ins_that_are_suddenly_gone(tmp_path: Path) -> None:
    """forwards.d vanishing as a whole is no edit that anybody means."""
    state = fresh_state(tmp_path)
    path = drop_in(tmp_path, "a.yaml", "guests: {web2: [81]}\n")
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")
    path.unlink()
    path.parent.rmdir()

    problems = compile_file(tmp_path / "forwards.yaml", state)

    cure = "the last good one stays in force; put it back; an empty one says none"
    said = [str(problem) for problem in problems]
    assert said == [f"{tmp_path}/forwards.d:1:1: is gone; {cure}"]
    assert [*in_force(state)] == ["web1", "web2"]


def test_a_drop_in_that_is_removed(tmp_path: Path) -> None:
    """Removing one file of forwards.d is an edit like any other."""
    state = fresh_state(tmp_path)
    path = drop_in(tmp_path, "a.yaml", "guests: {web2: [81]}\n")
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")
    path.unlink()

    problems = compile_file(tmp_path / "forwards.yaml", state)

    assert (problems, [*in_force(state)]) == ([], ["web1"])


def test_drop_ins_alone(tmp_path: Path) -> None:
    """forwards.d needs no forwards.yaml beside it."""
    state = fresh_state(tmp_path)
    drop_in(tmp_path, "a.yaml", "guests: {web2: [81]}\n")

    problems = compile_file(tmp_path / "forwards.yaml", state)

    assert (problems, [*in_force(state)]) == ([], ["web2"])


def test_a_name_of_any_length(tmp_path: Path) -> None:
    """A guest's name has no length that ends in a traceback."""
    state = fresh_state(tmp_path)

    problems = compile_text(state, tmp_path, f"guests:\n  ? {'x' * 70_000}\n  : [80]\n")

    assert len(problems) == 1 or in_force(state)


def test_what_cannot_be_read_may_be_read_later(tmp_path: Path) -> None:
    """Without an edit: the next event tries again, and what is in force stays."""
    state, main = fresh_state(tmp_path), tmp_path / "forwards.yaml"
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")
    main.unlink()
    main.symlink_to(main)

    problems = compile_file(main, state)

    said = "forwards.yaml:1:1: too many levels of symbolic links"
    assert str(problems[-1]).endswith(said)
    assert (state.read("broken").partition("\n\n")[0], [*in_force(state)]) == (
        "",
        ["web1"],
    )


def test_drop_ins_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory of another user, say: the service may not look there, and nothing
    in it is gone."""

    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    state = fresh_state(tmp_path)
    drop_in(tmp_path, "a.yaml", "guests: {web2: [81]}\n")
    compile_text(state, tmp_path, "guests: {web1: [80]}\n")
    monkeypatch.setattr(Path, "iterdir", refuse)

    problems = compile_text(state, tmp_path, "guests: {web1: [82]}\n")

    assert problems == ["forwards.d:1:1: permission denied"]
    assert [*in_force(state)] == ["web1", "web2"]


def test_main_compiles_into_a_directory(tmp_path: Path) -> None:
    """What a hook runs in a child; it is kept over a boot by one of that one's."""
    (tmp_path / "forwards.yaml").write_text("guests: {web1: [80]}\n")

    main(f"{tmp_path}/forwards.yaml", f"{tmp_path}/state")
    os.wait()

    state = State(f"{tmp_path}/state")
    made, kept = (Path(d, "compiled").read_bytes() for d in (state.path, state.kept))
    assert ([*in_force(state)], kept) == (["web1"], made)


def test_what_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the look that failed, and no edit: nothing is taken for known."""
    state = fresh_state(tmp_path)
    looks = iter(["before", "after"])
    monkeypatch.setattr(source_stamps, "stamps", lambda _: next(looks))

    said = compile_text(state, tmp_path, "guests: {}\n")

    assert said == []
    assert state.read("broken").startswith("\n\n")
    assert broken(state, tmp_path) == "forwards.yaml:1:1: changed while it was read"
