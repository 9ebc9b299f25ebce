"""iptables_nft: what is asked of the tables of iptables' nft variant, and taken out."""

from __future__ import annotations

import errno
import uuid

import pytest

from unit.builders import OTHER_UUID, UUID, parsed, refusal
from unit.netlinks import Link, answer, handle, nla, request, text
from vfwhooks.firewall.iptables_nft import list_chain_names, list_handles, take_out
from vfwhooks.firewall.iptables_rules import render
from vfwhooks.firewall.iptables_script import FILTER, NAT, Rules
from vfwhooks.host.netlink import NotTaken
from vfwhooks.values.errors import Refused

FORWARD = FILTER, "VFW-FORWARD"
ACCEPT = "accept 4 192.168.122.10"


class Kernel(Link):
    """What is given is listed for every chain; `batches` are the transactions."""

    def __init__(self, *rules: bytes, refuses: bool = False) -> None:
        super().__init__(*rules)
        self._refuses = refuses
        self.batches: list[list[bytes]] = []

    def batch(self, messages: list[bytes]) -> None:
        self.batches.append(messages)
        if self._refuses:
            raise NotTaken(errno.EBUSY, 0)


def matched(comment: str) -> bytes:
    """NFTA_RULE_EXPRESSIONS: a payload, then the match `comment` as xtables has it."""
    padded = comment.encode().ljust(256, b"\0")
    match = text(1, "comment") + nla(2, b"\0\0\0\0") + nla(3, padded)
    payload = nla(1, text(1, "payload"), nla(0x8002))
    return nla(0x8004, payload, nla(1, text(1, "match"), nla(0x8002, match)))


def user_data(comment: str) -> bytes:
    """NFTA_RULE_USERDATA with NFTNL_UDATA_RULE_COMMENT, as nft itself comments."""
    data = comment.encode() + b"\0"
    return nla(7, bytes((0, len(data))) + data)


def rule(number: int, about: bytes = b"", chain: str = FORWARD[1]) -> bytes:
    """A rule of VFW-FORWARD as the kernel lists it."""
    return answer(text(1, FILTER), text(2, chain), handle(3, number), about)


def removal(number: int) -> bytes:
    """NFT_MSG_DELRULE by handle."""
    asked = text(1, FILTER), text(2, FORWARD[1]), handle(3, number)
    return request(8, answer(*asked, family=2))


def accepting(owner: str = UUID) -> tuple[str, str, Rules]:
    """A guest that is only let in: two rules among others'."""
    return owner, "4", render(owner, parsed(ACCEPT), "4")


def test_handles_of_a_chain() -> None:
    """In the rules' order; a kernel that lists other chains too is not believed."""
    link = Link(rule(7), rule(5, chain="INPUT"), rule(6))

    found = list_handles(link, "4", FORWARD)

    asked = answer(text(1, FILTER), text(2, FORWARD[1]), family=2)
    assert (found, link.asked) == ([7, 6], [request(7, asked)])


def test_handles_of_a_chain_that_is_not_there() -> None:
    """Nobody has used the table yet."""
    link = Link(error=errno.ENOENT)

    found = list_handles(link, "6", (NAT, "PREROUTING"))

    assert found == []


@pytest.mark.parametrize("commented", [matched, user_data])
def test_the_rules_with_the_owners_comment(commented: object) -> None:
    """By handle, whichever way iptables has written the comment."""
    assert callable(commented)
    link = Kernel(
        rule(3, commented(OTHER_UUID)),
        rule(4, commented(UUID)),
        rule(5),
        rule(6, commented(UUID)),
    )

    take_out(link, [accepting()])

    assert link.batches == [[removal(4), removal(6)]]


def test_chains_of_its_own() -> None:
    """Emptied and deleted, when nothing leads there any more."""
    dnat = "dnat 4 * tcp 80 80 192.168.122.10 80"
    held = render(UUID, parsed(dnat), "4")
    chain = next(iter(held.own))[1]
    held.shared.clear()
    link = Kernel()

    take_out(link, [(UUID, "4", held)])

    flushed = request(8, answer(text(1, NAT), text(2, chain), family=2))
    deleted = request(5, answer(text(1, NAT), text(3, chain), family=2))
    assert link.batches == [[flushed, deleted]]


def test_all_in_one_transaction() -> None:
    """Two guests, or a guest in both families: rules first, then chains."""
    link = Kernel(
        *(rule(n, matched(UUID)) for n in (1, 2)),
        *(rule(n, matched(OTHER_UUID)) for n in (3, 4)),
    )

    take_out(link, [accepting(), accepting(OTHER_UUID)])

    assert link.batches == [[removal(number) for number in (1, 2, 3, 4)]]


def test_many_owners_at_once() -> None:
    """Each by its own comment; others' rules stay."""
    owners = [str(uuid.UUID(int=number)) for number in range(1, 21)]
    rules = [
        rule(2 * number + place, matched(owner))
        for number, owner in enumerate(owners)
        for place in (0, 1)
    ]
    link = Kernel(rule(98, matched(UUID)), *rules, rule(99))

    take_out(link, [accepting(owner) for owner in owners])

    assert link.batches == [[removal(number) for number in range(40)]]


@pytest.mark.parametrize(
    "there",
    [
        [],
        [matched(UUID)],
        [matched(UUID)] * 3,
        [matched(UUID), matched(UUID[1:])],
        [matched(UUID), matched(UUID + "0")],
        [
            matched(UUID),
            nla(0x8004, nla(1, text(1, "match"), nla(0x8002, text(1, UUID)))),
        ],
        [matched(UUID), nla(7, b"\1%c" % (len(UUID) + 1) + UUID.encode() + b"\0")],
    ],
)
def test_not_just_as_many_as_there_should_be(there: list[bytes]) -> None:
    """Somebody has been at them: nothing is done here."""
    link = Kernel(*(rule(number, about) for number, about in enumerate(there)))

    said = refusal(take_out, link, [accepting()])

    count = sum(about == matched(UUID) for about in there)
    what = f"{count} rules of {UUID}, not 2"
    assert (said, link.batches) == (f"table ip filter, VFW-FORWARD: {what}", [])


def test_a_transaction_that_is_refused() -> None:
    """Somebody else's rule may lead to a chain of ours."""
    link = Kernel(rule(1, matched(UUID)), rule(2, matched(UUID)), refuses=True)

    with pytest.raises(Refused):
        take_out(link, [accepting()])


def test_nothing_to_take_out() -> None:
    """No transaction."""
    link = Kernel()

    take_out(link, [(UUID, "4", Rules())])

    assert link.batches == []


def test_each_familys_own() -> None:
    """What the one family holds is not looked for in the other."""
    six = UUID, "6", render(UUID, parsed("accept 6 fd00::10"), "6")
    link = Kernel(rule(1, matched(UUID)), rule(2, matched(UUID)))

    take_out(link, [accepting(), six])

    assert [one[16] for one in link.asked] == [2, 10]  # nfgenmsg's family


def test_the_names_of_a_tables_chains() -> None:
    """Of that table alone, which a kernel may list among others."""
    link = Link(
        answer(text(1, NAT), text(3, "PREROUTING")),
        answer(text(1, FILTER), text(3, "FORWARD")),
    )

    found = list_chain_names(link, "4", NAT)

    asked = request(4, answer(text(1, NAT), family=2))
    assert (found, link.asked) == (["PREROUTING"], [asked])
