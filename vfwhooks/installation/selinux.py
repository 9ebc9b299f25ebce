"""The rights that SELinux's loaded policy gives to libvirt's daemons and our service,
as the kernel answers them. Nothing is tried and nothing is changed; the hook path does
not use this module.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from ..host.run import Run
from ..values.errors import VfwError
from .selinux_policy import (
    SELINUXFS,
    Ask,
    Need,
    Policy,
    Verdict,
    ask_kernel,
    read_text,
    type_of,
)

HOOK = "/etc/libvirt/hooks/qemu"
PROGRAM = "/usr/bin/vfwhooks"
BOOLEAN = "virt_hooks_unconfined"
# libvirt's daemons that call hooks, and the domain of each in Fedora's policy. virtlxcd
# has no domain of its own: its file has the label of libvirt_lxc.
DAEMONS: Mapping[str, str] = {
    "virtqemud": "virtqemud_t",
    "virtnetworkd": "virtnetworkd_t",
    "virtlxcd": "virtd_lxc_t",
    "virtxend": "virtxend_t",
    "libvirtd": "virtd_t",
}
TAKE_AWAY = "take hooks away"

_DAEMON = "/usr/sbin/"
_HOOKS = "/etc/libvirt/hooks"
# The type of hooks before they had one of their own, and the type of unlabelled files.
_OLD_TYPES = "virt_etc_rw_t", "etc_t", "unlabeled_t"
_BIN = "bin_t"
_SELF = "self"
# The service's work: a description, the target type, the class, the permissions.
_WORK = (
    (
        "change rules and cut connections",
        _SELF,
        "netlink_netfilter_socket",
        "create bind setopt read write",
    ),
    ("change rules and cut connections", _SELF, "capability", "net_admin"),
    (
        "follow neighbours",
        _SELF,
        "netlink_route_socket",
        "create bind read write nlmsg_read nlmsg_write",
    ),
    (
        "see who listens",
        _SELF,
        "netlink_tcpdiag_socket",
        "create bind read write nlmsg_read",
    ),
    ("run iptables", "iptables_exec_t", "file", "execute read open"),
    ("follow libvirt", "virt_var_run_t", "dir", "search read open watch"),
    ("follow libvirt", "virt_var_run_t", "file", "read open"),
    ("keep its state", "var_run_t", "dir", "search write add_name remove_name"),
    ("keep its state", "var_run_t", "file", "create write open rename unlink"),
    (TAKE_AWAY, "virt_hook_t", "dir", "search write remove_name"),
    (TAKE_AWAY, "virt_hook_t", "file", "unlink"),
)

# Takes a path and its root; returns the label that the path has or will get.
LabelOf = Callable[[str, str], str]


@dataclass(frozen=True)
class Right:
    """Whether a daemon, in its domain, may execute a hook with a label (both are
    types), and what the policy lacks if not."""

    daemon: str
    domain: str
    label: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class Refusal:
    """Work that the service may not do, and what the policy lacks for it."""

    work: str
    reason: str


@dataclass(frozen=True)
class Service:
    """The domain of the service, "" if the policy has no init_t, and the work that is
    refused there."""

    domain: str
    refused: tuple[Refusal, ...] = ()


def find_label(path: str, root: str = "") -> str:
    """The label that the policy's file contexts give a path; Fedora's label if that
    cannot be found out, and for another root."""
    try:
        label = "" if root else _matched(path)
    except (OSError, VfwError):
        label = ""
    if label.count(":") >= 2:
        return label
    kind = "virt_hook_t" if path.startswith(f"{_HOOKS}/") else _BIN
    return f"system_u:object_r:{kind}:s0"


def ask_rights(
    path: str = HOOK,
    root: str = "",
    ask: Ask = ask_kernel,
    label_of: LabelOf = find_label,
) -> list[Right]:
    """Whether libvirt's daemons may execute the hook at `path`. The list has the
    daemons whose domains the loaded policy has, in the order of DAEMONS, installed or
    not. It is empty without SELinux.

    Raises VfwError if we may not ask.
    """
    policy = Policy(root, ask)
    label = policy.known(type_of(label_of(path, root)), *_OLD_TYPES)
    hint = _boolean(root)
    rights = []
    for daemon in DAEMONS:
        context = _domain(policy, daemon, type_of(label_of(_DAEMON + daemon, root)))
        if policy.has(context):
            needs = policy.execution(context, policy.file(label))
            verdict, reason = policy.judge(needs)
            if reason and hint:
                reason = f"{reason}; {hint}"
            right = Right(daemon, type_of(context), label, verdict, reason)
            rights.append(right)
    return rights


def ask_service(
    root: str = "", ask: Ask = ask_kernel, label_of: LabelOf = find_label
) -> Service:
    """The domain in which systemd starts our service (with NoNewPrivileges), and the
    work that is refused there. A denial that is not enforced does not count.

    Raises VfwError if we may not ask.
    """
    policy = Policy(root, ask)
    init = policy.process("init_t")
    if not policy.has(init):
        return Service("")
    program = policy.file(policy.known(type_of(label_of(PROGRAM, root)), _BIN))
    context = policy.transition(init, program)
    if not policy.is_privilege_given(init, context):
        context = init
    hooks = policy.known(type_of(label_of(HOOK, root)), *_OLD_TYPES)
    # The interpreter is a program like any other.
    works = {"start": policy.execution(init, program, context, program)}
    for work, target, kind, permissions in _WORK:
        on = hooks if work == TAKE_AWAY else target
        needed = context if target == _SELF else policy.file(on)
        need = Need(context, needed, kind, permissions)
        works[work] = [*works.get(work, []), need]
    judged = ((work, *policy.judge(needs)) for work, needs in works.items())
    refused = tuple(
        Refusal(work, reason)
        for work, verdict, reason in judged
        if verdict is Verdict.DENIED
    )
    return Service(type_of(context), refused)


def _domain(policy: Policy, daemon: str, label: str) -> str:
    """The context in which systemd starts a daemon whose file has this label. Policies
    differ: before RHEL 9 all daemons ran as virtd_t, which has all categories."""
    init, program = policy.process("init_t"), policy.file(label)
    if label != _BIN and policy.has(program):
        context = policy.transition(init, program)
        if context != init:
            return context
    return policy.process(DAEMONS[daemon])


def _boolean(root: str) -> str:
    """The value of the boolean that Fedora's rules for hooks need; "" if it is
    missing."""
    value = read_text(f"{root}{SELINUXFS}/booleans/{BOOLEAN}")[:1]
    return f"{BOOLEAN} is {'on' if value == '1' else 'off'}" if value else ""


def _matched(path: str) -> str:
    """The label from libselinux for a file at the path, by its module or its tool."""
    try:
        libselinux = import_module("selinux")
    except ImportError:
        return Run()(["matchpathcon", "-n", "-m", "file", path]).strip()
    label: str = libselinux.matchpathcon(path, stat.S_IFREG)[1]
    return label
