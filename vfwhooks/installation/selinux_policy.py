"""SELinux's loaded policy (selinuxfs), asked through the kernel's own files: the kernel
that decides later answers now. Nothing is changed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from ..values.errors import VfwError

SELINUXFS = "/sys/fs/selinux"
_PERMISSIVE = 1  # of an answer's flags

# Takes a file of selinuxfs and a question; returns the answer, or "" if the policy does
# not know a word of the question.
Ask = Callable[[str, str], str]


class Verdict(Enum):
    """Whether an access is refused; PERMISSIVE is a denial that is not enforced."""

    ALLOWED = "allowed"
    PERMISSIVE = "permissive"
    DENIED = "denied"


class Need(NamedTuple):
    """Permissions of a class that one context needs on another, or on itself."""

    source: str
    target: str
    kind: str
    permissions: str


def is_enforcing(root: str = "") -> bool:
    """Whether SELinux is there and enforces its policy."""
    return read_text(f"{root}{SELINUXFS}/enforce") == "1"


def ask_kernel(file: str, question: str) -> str:
    """The kernel's answer; "" if its policy does not know a word of the question.

    Raises VfwError if we may not ask. A descriptor takes one question.
    """
    try:
        fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, question.encode())
            parts = []
            while part := os.read(fd, 4096):
                parts.append(part)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EIO):
            return ""
        what = f"SELinux's policy cannot be asked: {file}: {error.strerror}"
        raise VfwError(what, "ask as root, in an unconfined domain") from error
    return b"".join(parts).decode("utf-8", "replace").strip("\0\n ")


class Policy:
    """The loaded policy, behind the files of selinuxfs."""

    def __init__(self, root: str, ask: Ask) -> None:
        self._place = f"{root}{SELINUXFS}"
        self._ask = ask
        self._range = ":s0" if self._text("mls") == "1" else ""
        self._is_strict = self._text("deny_unknown") == "1"
        self._is_enforcing = self._text("enforce") == "1"

    def process(self, kind: str) -> str:
        """The context of a system daemon in a domain."""
        return f"system_u:system_r:{kind}{self._range}"

    def file(self, kind: str) -> str:
        """The context of a file."""
        return f"system_u:object_r:{kind}{self._range}"

    def has(self, context: str) -> bool:
        """Whether the policy knows the context."""
        return self._decision(context, context, "process") is not None

    def known(self, *types: str) -> str:
        """The first of these types of files that the policy has, else the first."""
        return next((kind for kind in types if self.has(self.file(kind))), types[0])

    def transition(self, source: str, target: str) -> str:
        """The context of a process after it has executed a file."""
        question = f"{source} {target} {self._number('class/process/index')}"
        answer = self._ask(f"{self._place}/create", question)
        return answer if answer.count(":") >= 2 else source

    def is_privilege_given(self, source: str, context: str) -> bool:
        """Whether a process with no_new_privs changes its context. The kernel would
        also allow a change into a domain bounded by the old one, but does not tell
        about bounds."""
        capable = self._text("policy_capabilities/nnp_nosuid_transition") == "1"
        if not capable or self._number("class/process2/index") is None:
            return context == source
        need = Need(source, context, "process2", "nnp_transition")
        return context == source or self.judge([need])[0] is not Verdict.DENIED

    # The checks of execve for a script, in this order (selinux_inode_permission,
    # selinux_file_open, selinux_bprm_creds_for_exec), all on the old domain, except
    # entrypoint and the last:
    # 1. file { execute read open } on the script, which is opened to be executed (and
    #    getattr, without which libvirt does not see that there is a hook);
    # 2. where its label makes no transition: file execute_no_trans on it;
    #    where it makes one: process transition to the new domain, and of that: file
    #    entrypoint on the script;
    # 3. file { execute read open } on the interpreter, which is opened before the
    #    credentials change; no transition is looked for here, so neither
    #    execute_no_trans nor entrypoint is checked;
    # 4. of the new domain: file { map execute read } on the interpreter, when it is
    #    mapped. A refusal here kills the child.
    # process { siginh rlimitinh noatsecure } and fd use are checked as well, and refuse
    # no execve. `share` and `ptrace` concern a process that shares its fs with another
    # thread or is traced, and libvirt's child is neither.
    def execution(
        self, source: str, script: str, context: str = "", interpreter: str = ""
    ) -> list[Need]:
        """The permissions for a process to run a script, in the context that this gives
        it."""
        new = context or self.transition(source, script)
        shell = interpreter or self.file("shell_exec_t")
        opened = "execute read open"
        seen = f"{opened} getattr"
        if new == source:
            change = [Need(source, script, "file", "execute_no_trans")]
        else:
            change = [
                Need(source, new, "process", "transition"),
                Need(new, script, "file", "entrypoint"),
            ]
        return [
            Need(source, script, "file", seen),
            *change,
            Need(source, shell, "file", opened),
            Need(new, shell, "file", "execute read map"),
        ]

    def judge(self, needs: Iterable[Need]) -> tuple[Verdict, str]:
        """Whether all needs are allowed, and the first denial if not."""
        passed = ""
        for need in needs:
            missing, is_permissive = self._missing(need)
            if not missing:
                continue
            reason = _said(need, missing)
            if self._is_enforcing and not is_permissive:
                return Verdict.DENIED, reason
            who = type_of(need.source) if is_permissive else "SELinux"
            passed = passed or f"{reason}, but {who} is permissive"
        return (Verdict.PERMISSIVE if passed else Verdict.ALLOWED), passed

    def _missing(self, need: Need) -> tuple[list[str], bool]:
        """The denied permissions, and whether the domain is permissive. For a type that
        the policy does not have, nothing is reported."""
        wanted = need.permissions.split()
        decision = self._decision(*need[:3])
        if decision is None:
            is_denied = self._is_strict and self._class(need.kind) is None
            return (wanted if is_denied else []), False
        allowed, flags = decision
        return [
            one for one in wanted if not self._permits(allowed, need.kind, one)
        ], bool(flags & _PERMISSIVE)

    def _permits(self, allowed: int, kind: str, permission: str) -> bool:
        """Whether the permission is allowed. A permission that the policy does not have
        is known to a newer kernel only; then deny_unknown decides."""
        number = self._number(f"class/{kind}/perms/{permission}")
        if number is None:
            return not self._is_strict
        return bool(allowed >> (number - 1) & 1)

    def _decision(self, source: str, target: str, kind: str) -> tuple[int, int] | None:
        """The allowed permissions, as bits of the class, and the flags; None if the
        policy does not have the class or a type."""
        number = self._class(kind)
        if number is None:
            return None
        question = f"{source} {target} {number}"
        answer = self._ask(f"{self._place}/access", question)
        try:
            # Allowed, decided, two of auditing, sequence; old kernels have no flags.
            allowed, _, _, _, _, *flags = (int(field, 16) for field in answer.split())
        except ValueError:
            return None
        return allowed, flags[0] if flags else 0

    def _class(self, kind: str) -> int | None:
        return self._number(f"class/{kind}/index")

    def _number(self, name: str) -> int | None:
        text = self._text(name)
        return int(text) if text.isdecimal() else None

    def _text(self, name: str) -> str:
        return read_text(f"{self._place}/{name}")


def _said(need: Need, missing: list[str]) -> str:
    """The denial in the policy's own words."""
    source, target = type_of(need.source), type_of(need.target)
    if need.source == need.target:
        on = f"its own {need.kind}"
    elif need.kind == "file":
        on = target
    else:
        on = f"{target} ({need.kind})"
    return f"{source} may not {', '.join(missing)} {on}"


def type_of(context: str) -> str:
    """The type in a context. A range may follow the type, and may have colons."""
    fields = context.split(":")
    return fields[2].strip() if len(fields) > 2 else ""


def read_text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
