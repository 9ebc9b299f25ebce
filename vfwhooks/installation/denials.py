"""Denials of SELinux and AppArmor against our hooks and our service, from the kernel's
log. The module reads a bounded part of the log and changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .selinux import DAEMONS
from .selinux_policy import type_of

SELINUX, APPARMOR = "SELinux", "AppArmor"
_AUDIT = "/var/log/audit/audit.log"
_RING = "/dev/kmsg"
_KERNEL = "/var/log/kern.log"
_LARGEST = 1 << 20
_READS = 1 << 16
_RECORD = 8192  # the longest record of the ring; no record is read in parts
_HOOKS = "/etc/libvirt/hooks"
_HOOK_TYPE, _SHELL = "virt_hook_t", "shell_exec_t"
# The kernel names the process of a script after the script's file.
_SCRIPTS = {"qemu", "lxc", "libxl", "network", "daemon"}
_OURS = "vfwhooks"
_PROFILES = {*DAEMONS, *(f"/usr/sbin/{daemon}" for daemon in DAEMONS)}
_SUBJECTS = {*DAEMONS.values(), "virt_hook_unconfined_t", *_PROFILES}
_TIME = re.compile(r"audit\((\d+\.\d+):\d+\)")
_AVC = re.compile(r"avc:\s+denied\s+\{ ([^}]*) \}")
_FIELD = re.compile(r'\b(\w+)=("[^"]*"|[^\s"]+)')
_NAMES = {"comm", "name", "path", "profile"}
_HEX = re.compile(r"(?:[0-9A-F]{2})+")


@dataclass(frozen=True)
class Denial:
    """One denial, or, if `is_permissive`, an access that a domain or profile in
    enforcing mode would have denied.

    `subject` is the domain's type or the profile, `what` the permissions or the
    operation, `target` the type of the object ("" by AppArmor), `path` the file's path
    or at least its name, `at` the time in seconds since 1970.
    """

    by: str
    subject: str
    what: str
    target: str = ""
    path: str = ""
    is_permissive: bool = False
    comm: str = ""
    at: float = 0.0


def find_denials(root: str = "") -> list[Denial]:
    """The recent denials against our hooks and our service. Equal ones are listed once,
    with the last time; the newest comes last."""
    newest: dict[Denial, Denial] = {}
    for denial in parse_denials(_log(root).split("\n")):
        if is_ours(denial):
            same = replace(denial, at=0.0)
            newest.pop(same, None)
            newest[same] = denial
    return list(newest.values())


def parse_denials(lines: Iterable[str]) -> Iterator[Denial]:
    """All denials in lines of audit.log or of the kernel's log."""
    for line in lines:
        if "avc:" not in line and "apparmor=" not in line:
            continue
        fields = {name: _value(name, text) for name, text in _FIELD.findall(line)}
        time = _TIME.search(line)
        at = float(time[1]) if time else 0.0
        avc = _AVC.search(line)
        if avc:
            yield Denial(
                SELINUX,
                type_of(fields.get("scontext", "")),
                avc[1],
                type_of(fields.get("tcontext", "")),
                fields.get("path", fields.get("name", "")),
                fields.get("permissive") == "1",
                fields.get("comm", ""),
                at,
            )
        elif fields.get("apparmor") in ("DENIED", "ALLOWED"):
            yield Denial(
                APPARMOR,
                fields.get("profile", ""),
                _operation(fields),
                "",
                fields.get("name", ""),
                fields["apparmor"] == "ALLOWED",
                fields.get("comm", ""),
                at,
            )


def is_ours(denial: Denial) -> bool:
    """Whether a daemon was denied to execute a hook, or whether our hook or service was
    denied anything."""
    is_hook = denial.path.startswith(f"{_HOOKS}/") or denial.target == _HOOK_TYPE
    if denial.comm == _OURS or _OURS in denial.path.split("/"):
        return True
    if denial.subject not in _SUBJECTS:
        return False
    # To run a hook a daemon executes the shell, and for little else.
    is_shell = denial.target == _SHELL and "execute" in denial.what
    return is_hook or is_shell or denial.comm in _SCRIPTS


def _operation(fields: dict[str, str]) -> str:
    """AppArmor's operation, with the denied mask or capability if that says more."""
    operation, how = fields.get("operation", ""), fields.get("denied_mask", "")
    how = fields.get("capname", how)
    return operation if operation == "exec" or not how else f"{operation} {how}"


def _value(name: str, text: str) -> str:
    """A field's value. The kernel quotes names that others chose, and writes an
    ambiguous name in hex."""
    if text.startswith('"'):
        return text[1:-1]
    if name in _NAMES and _HEX.fullmatch(text):
        return bytes.fromhex(text).decode("utf-8", "replace")
    return text


def _log(root: str) -> str:
    """The end of the log with the kernel's audit records: auditd's if that log exists,
    else the kernel's ring, else kern.log."""
    for read, name in ((_tail, _AUDIT), (_ring, _RING), (_tail, _KERNEL)):
        try:
            return read(f"{root}{name}").decode("utf-8", "replace")
        except OSError:
            continue
    return ""


def _tail(path: str) -> bytes:
    """The end of a file."""
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LARGEST - 1))
        return _last(file.read(_LARGEST + 1))


def _ring(path: str) -> bytes:
    """The end of the kernel's ring, without waiting for more."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    parts: list[bytes] = []
    size = 0
    try:
        for _ in range(_READS):
            try:
                part = os.read(fd, _RECORD)
            except BrokenPipeError:
                continue  # the ring has overwritten what was not read yet
            except BlockingIOError:
                break
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > 2 * _LARGEST:
                parts = [_last(b"".join(parts))]
                size = _LARGEST
    finally:
        os.close(fd)
    return _last(b"".join(parts))


def _last(data: bytes) -> bytes:
    """The last whole lines, in at most _LARGEST bytes."""
    return data if len(data) <= _LARGEST else data[-_LARGEST:].partition(b"\n")[2]
