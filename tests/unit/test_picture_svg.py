"""The drawing of a host: sound SVG, everything in it, nothing outside its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree  # type: ignore[import-untyped]  # it has no stubs

from unit.builders import NAMES, PROPERTY
from vfwhooks.diagnosis.host_picture import (
    HINDERED,
    LET_IN,
    OTHERS,
    REFUSED,
    TAKEN,
    UNKNOWN,
    WAITS,
    Lane,
    Picture,
)
from vfwhooks.diagnosis.picture_page import ADDRESS, DARK, GUEST, LIGHT, PORT, STOP
from vfwhooks.diagnosis.picture_svg import MOST, draw
from vfwhooks.diagnosis.svg_text import width, wrapped
from vfwhooks.values.errors import show

SVG = "{http://www.w3.org/2000/svg}"
WEB = Lane("*", "8080/tcp", "web1", "default (virbr0)", "192.168.122.10:80")
MAIL = Lane(
    "203.0.113.1",
    "25/tcp",
    "mail",
    "default (virbr0)",
    "192.168.122.20:25",
    end=REFUSED,
    by="dropped by Docker",
    why="forward: -o virbr0 -j DROP",
)
NASTY = '<script>&"\x1b[31m\u202e'


def picture(*lanes: Lane, networks: tuple[Lane, ...] = ()) -> Picture:
    """A host at one address of each family."""
    return Picture("host1", ("203.0.113.1", "2001:db8::1"), lanes, networks)


def parsed(text: str) -> etree._Element:
    """The drawing as XML."""
    return etree.fromstring(text.encode())


def texts(text: str) -> list[str]:
    """What can be read in it."""
    return [one.text or "" for one in parsed(text).iter(f"{SVG}text")]


def words(text: str) -> str:
    """The same as one line: a long text goes over several."""
    return " ".join(texts(text))


def test_who_gets_in_and_who_does_not() -> None:
    """Guests, their networks, ports, addresses, who refuses, and by which rule."""
    found = texts(draw(picture(WEB, MAIL)))

    assert found[:2] == ["host1", "2 published ports, 2 guests; 1 not let in"]
    expected = [
        *("outside", "every address", "203.0.113.1", "2001:db8::1"),
        *("8080/tcp", "192.168.122.10:80", "web1", "default (virbr0)"),
        *("25/tcp", "mail", "dropped by Docker", "forward: -o virbr0 -j DROP"),
    ]
    assert [one for one in expected if one not in found] == []


@pytest.mark.parametrize(
    ("end", "kind", "is_there"),
    [
        (LET_IN, "in", True),
        (HINDERED, "odd", True),
        (REFUSED, "no", False),
        (TAKEN, "no", False),
        (WAITS, "off", False),
        (UNKNOWN, "odd", False),
    ],
)
def test_a_way_ends_at_who_refuses_it(end: str, kind: str, is_there: bool) -> None:
    """Only what gets to the guest is drawn to there; all else is broken off."""
    lane = Lane("*", "1/tcp", "web1", "", "10.0.0.1:1", end=end, by="Docker", why="x")

    ways = [
        one.get("d")
        for one in parsed(draw(picture(lane))).iter(f"{SVG}path")
        if one.get("class") == f"way edge-{kind}" and f"M{PORT[1]} " in one.get("d")
    ]

    (way,) = ways
    assert float(way.partition("H")[2]) == (GUEST[0] - 6 if is_there else STOP[0] - 7)


def test_some_are_let_in_and_others_are_not() -> None:
    """One port with two ways; it counts as let in."""
    some = Lane("*", "22/tcp", "web1", "", "10.0.0.1:22", who="198.51.100.0/24")
    others = Lane(
        *("*", "22/tcp", "web1", "", "10.0.0.1:22", OTHERS, REFUSED),
        by="rejected by vfwhooks",
    )

    found = texts(draw(picture(some, others)))

    assert found[1] == "1 published port, 1 guest"
    assert "only from 198.51.100.0/24" in found
    assert (found.count("22/tcp"), found.count(OTHERS)) == (1, 1)


def test_names_are_text() -> None:
    """A guest's name is no markup, and no control character gets through."""
    found = draw(
        Picture(
            NASTY,
            (NASTY,),
            (Lane(NASTY, NASTY, NASTY, NASTY, NASTY, NASTY, LET_IN, NASTY, NASTY),),
            (Lane(NASTY, NASTY, NASTY, NASTY, "", "", REFUSED, NASTY, NASTY),),
            (NASTY,),
        )
    )

    shown = show(NASTY)
    assert shown == '<script>&"\\x1b[31m\\u202e'
    assert found.replace("\n", "").isprintable()
    assert {one.tag for one in parsed(found).iter()} == {
        *(f"{SVG}{tag}" for tag in ("svg", "title", "desc", "style", "rect")),
        *(f"{SVG}{tag}" for tag in ("path", "text", "g")),
    }
    assert shown in texts(found)


def test_nothing_is_run_or_loaded() -> None:
    """No script, no event, no link, no address but that of SVG's own names."""
    found = parsed(draw(picture(WEB, MAIL)))

    names = {name for one in found.iter() for name in one.attrib}
    assert [one for one in names if one.startswith("on") or "href" in one] == []
    assert re.findall(
        r"https?://[^\"]*|url\(|@import", etree.tostring(found).decode()
    ) == ["http://www.w3.org/2000/svg"]


def boxed(text: str) -> Iterator[tuple[float, float, float, float]]:
    """Each text with its left and right end, and those of the column that it is in."""
    columns = ADDRESS, PORT, STOP, GUEST
    for one in parsed(text).iter(f"{SVG}text"):
        kind, size = one.get("class"), float(one.get("font-size"))
        long, x = width(one.text or "", size), float(one.get("x"))
        anchor = {"middle": 0.5, "end": 1.0}.get(one.get("text-anchor"), 0.0)
        left = x - long * anchor
        if "sans" in kind or x < ADDRESS[0] or size > 13:
            yield left, left + long, 0, 1200
            continue
        column = next((c for c in columns if c[0] <= left and x <= c[1]), None)
        # Beside the ports, what is said of a way has room up to the guests.
        first, last = column or (PORT[1] - 20, GUEST[0])
        yield left, left + long, first, last


@settings(PROPERTY, max_examples=30)
@given(
    st.lists(
        st.builds(
            Lane,
            st.sampled_from(
                ["*", "203.0.113.1", "::", "2001:db8::" + "abcd:" * 5 + "1"]
            ),
            st.sampled_from(["8080/tcp", "50000-60000/sctp", "all"]),
            NAMES.filter(bool),
            NAMES,
            st.sampled_from(["10.0.0.1:80", "[2001:" + "abcd:" * 6 + "1]:50000-60000"]),
            st.just(""),
            st.sampled_from([LET_IN, HINDERED, REFUSED, TAKEN, WAITS, UNKNOWN]),
            NAMES,
            NAMES,
        ),
        max_size=6,
    )
)
def test_no_text_is_wider_than_its_place(lanes: list[Lane]) -> None:
    """Whatever guests and rules are called, it is sound XML, and inside its box."""
    text = draw(picture(*lanes, networks=tuple(lanes[:2])))

    over = [
        (left, right, first, last)
        for left, right, first, last in boxed(text)
        if not first - 0.1 <= left <= right <= last + 0.1
    ]

    assert over == []


def test_lines_that_fit() -> None:
    """Broken at blanks, else behind a sign, else where there is no room any more; what
    is too much ends with an ellipsis."""
    room = width("x" * 10, 10)

    assert wrapped("one two three", 10, room) == ["one two", "three"]
    assert wrapped("2001:db8:1234::1", 10, room) == ["2001:db8:", "1234::1"]
    assert wrapped("abcdefghijklmn", 10, room) == ["abcdefghij", "klmn"]
    assert wrapped("abcdefghij" * 3, 10, room, 2) == ["abcdefghij", "abcdefghi…"]
    assert wrapped("", 10, room) == []


def test_two_hundred_guests() -> None:
    """All of them are there, below one another; the height grows with them."""
    lanes = [
        Lane("*", f"{8000 + n}/tcp", f"guest{n}", "", f"10.0.0.{n}:80")
        for n in range(200)
    ]

    few, many = draw(picture(*lanes[:100])), draw(picture(*lanes))

    tops = [
        float(one.get("y"))
        for one in parsed(many).iter(f"{SVG}text")
        if re.fullmatch(r"guest\d+", one.text or "")
    ]
    assert (len(tops), tops) == (200, sorted(tops))
    assert 1.9 < height(many) / height(few) < 2


def height(text: str) -> float:
    """The height of the drawing."""
    return float(parsed(text).get("height"))


def test_what_is_left_out_is_said() -> None:
    """A picture has a largest size."""
    lanes = [Lane("*", f"{n}/tcp", "web1", "") for n in range(MOST + 5)]

    found = words(draw(picture(*lanes)))

    assert "5 more ways are left out; vfwhooks status has them all" in found


def test_a_host_that_publishes_nothing() -> None:
    """It says so."""
    found = draw(picture())

    assert "nothing is published" in texts(found)


def luminance(colour: str) -> float:
    """As WCAG 2 computes it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
        for one in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_read(theme: dict[str, str]) -> None:
    """Text has a contrast of 4.5 at least on all that it stands on, and is drawn light
    unless a screen is dark."""
    weak = []
    for ink in ("ink", "mute", "in", "no", "odd", "off"):
        for ground in ("page", "host", "box"):
            two = sorted(luminance(theme[one]) + 0.05 for one in (ink, ground))
            weak += [(ink, ground)] if two[1] / two[0] < 4.5 else []
    style = parsed(draw(picture(WEB))).find(f"{SVG}style").text
    light, _, dark = style.partition("@media screen and (prefers-color-scheme: dark)")

    assert weak == []
    assert theme["ink"] in (light if theme is LIGHT else dark)
