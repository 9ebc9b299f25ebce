"""The one list of the protocols that can be forwarded."""

from __future__ import annotations

from enum import Enum

ALL_PROTOCOLS = "all"  # in place of a protocol: every protocol and every port
PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
PROTOCOLS = tuple(PROTOCOL_NUMBERS)
BY_NUMBER = {str(number): name for name, number in PROTOCOL_NUMBERS.items()}
ONE_OF_THEM = f"{', '.join(PROTOCOLS[:-1])} or {PROTOCOLS[-1]}"


class Protocol(str, Enum):
    """The protocol of a forward; ALL is every protocol and every port of an address."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    ALL = ALL_PROTOCOLS
    __hash__ = str.__hash__

    def __str__(self) -> str:
        return self._value_
