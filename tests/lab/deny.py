"""Runs a command to which the kernel does not speak by some protocols of netlink, as a
kernel that has lost its modules: `deny.py 4 12 -- COMMAND…`."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_SOCKET, _NETLINK = 41, 16  # the system call, on amd64, and the family of sockets
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 + 93  # EPROTONOSUPPORT
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_NUMBER, _FIRST, _THIRD = 0, 16, 32  # places in struct seccomp_data


def main() -> None:
    """Install the filter, and become the command."""
    at = sys.argv.index("--")
    protocols = [int(word) for word in sys.argv[1:at]]
    steps = [
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 3 + len(protocols), _SOCKET),
        (_LOAD, 0, 0, _FIRST),
        (_EQUAL, 0, 1 + len(protocols), _NETLINK),
        (_LOAD, 0, 0, _THIRD),
        *(
            (_EQUAL, len(protocols) - number, 0, protocol)
            for number, protocol in enumerate(protocols)
        ),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, program):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])


if __name__ == "__main__":
    main()
