"""Policies of SELinux, as far as libvirt's hooks and our service are concerned, and the
answers that a kernel gives which has one loaded. Pure: selinuxfs makes files of it.

What they allow was read in the source of Fedora's policy (October 2024); the numbers of
classes and permissions are nobody's, so that whoever does not look them up is wrong.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_FILE = "ioctl read write create getattr setattr lock append map unlink rename execute"
_SOCKET = "ioctl read write create getattr bind connect getopt setopt"
# Permissions by class; both are numbered from one, in this order.
CLASSES = {
    "security": "compute_av compute_create",
    "process": "fork transition sigchld siginh noatsecure rlimitinh",
    "capability": "chown kill setuid net_bind_service net_admin net_raw",
    "file": f"{_FILE} open watch execute_no_trans entrypoint",
    "dir": f"{_FILE} open watch add_name remove_name search rmdir",
    "netlink_route_socket": f"{_SOCKET} nlmsg_read nlmsg_write",
    "netlink_tcpdiag_socket": f"{_SOCKET} nlmsg_read nlmsg_write",
    "netlink_netfilter_socket": _SOCKET,
    "process2": "nosuid_transition nnp_transition",
}
# What an unconfined domain may not do in Fedora, unless a rule says so.
_CONFINED = {"entrypoint", "transition"}
# Source, target ("self" is the source), class, permissions.
Rule = tuple[str, str, str, str]


@dataclass(frozen=True)
class Policy:
    """A loaded policy, and how SELinux is switched.

    `transitions` are the types of processes by (domain, label of what it executes),
    `ranges` what such a process has instead of s0.
    """

    types: frozenset[str]
    rules: tuple[Rule, ...] = ()
    transitions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    ranges: Mapping[tuple[str, str], str] = field(default_factory=dict)
    unconfined: frozenset[str] = frozenset()
    permissive: frozenset[str] = frozenset()
    booleans: Mapping[str, bool] = field(default_factory=dict)
    capabilities: Mapping[str, bool] = field(
        default_factory=lambda: {"open_perms": True, "nnp_nosuid_transition": True}
    )
    classes: Mapping[str, str] = field(default_factory=lambda: CLASSES)
    is_enforcing: bool = True
    is_mls: bool = True
    is_strict: bool = False

    def access(self, source: str, target: str, kind: str) -> set[str]:
        """What a domain may do with a type."""
        granted: set[str] = set()
        if source in self.unconfined:
            granted.update(set(self.classes[kind].split()) - _CONFINED)
        for a, b, c, permissions in self.rules:
            if (a, source if b == "self" else b, c) == (source, target, kind):
                granted.update(permissions.split())
        return granted

    def files(self) -> dict[str, str]:
        """The plain files of selinuxfs, by their path in there."""
        found = {
            "enforce": str(int(self.is_enforcing)),
            "mls": str(int(self.is_mls)),
            "deny_unknown": str(int(self.is_strict)),
        }
        for name, value in self.booleans.items():
            found[f"booleans/{name}"] = f"{value:d} {value:d}"
        for name, value in self.capabilities.items():
            found[f"policy_capabilities/{name}"] = f"{value:d}"
        for number, (kind, permissions) in enumerate(self.classes.items(), 1):
            found[f"class/{kind}/index"] = str(number)
            for bit, permission in enumerate(permissions.split(), 1):
                found[f"class/{kind}/perms/{permission}"] = str(bit)
        return found

    def answer(self, file: str, question: str) -> str:
        """What the kernel answers to a question that was written to `access` or to
        `create`; OSError where it takes none such."""
        scontext, tcontext, number = question.split()
        source, target = self._type(scontext), self._type(tcontext)
        kind = list(self.classes)[int(number) - 1]
        if file == "access":
            every = self.classes[kind].split()
            granted = self.access(source, target, kind)
            allowed = sum(1 << i for i, one in enumerate(every) if one in granted)
            flags = int(source in self.permissive)
            return f"{allowed:x} ffffffff 0 ffffffff 7 {flags:x}"
        new = self.transitions.get((source, target), source)
        user, role, _, *rest = scontext.split(":", 3)
        level = [self.ranges[source, target]] if (source, target) in self.ranges else []
        return ":".join([user, role, new, *(level or rest)]) + "\0"

    def _type(self, context: str) -> str:
        """The type of a context that is valid."""
        user, role, kind, *level = [*context.split(":", 3), "", ""][:4]
        is_known = kind in self.types and user == "system_u" and bool(role)
        if not is_known or level[0].startswith("s0") != self.is_mls:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return kind


_MODULAR = ("virtqemud", "virtnetworkd", "virtxend")
_SEE = "read getattr open"
_EXECUTE = f"{_SEE} execute map ioctl"


def _rules(domain: str, label: str, new: str) -> tuple[Rule, ...]:
    """That a domain runs a label as another one."""
    return (
        (domain, label, "file", _EXECUTE),
        (domain, new, "process", "transition"),
        (new, label, "file", "entrypoint"),
    )


def _hooked(domain: str) -> tuple[Rule, ...]:
    """That a domain runs hooks, as the boolean has it, and the shell."""
    shell = (domain, "shell_exec_t", "file", f"{_EXECUTE} execute_no_trans")
    return shell, *_rules(domain, "virt_hook_t", "virt_hook_unconfined_t")


def _fedora_41(*hooked: str, **more: object) -> Policy:
    """Fedora 41 with all of libvirt's domains; those that run hooks are named."""
    base = Policy(
        types=frozenset(
            f"{name}_t"
            for name in (
                *("init", "bin", "etc", "shell_exec", "unconfined_service", "var_run"),
                *("virt_hook", "virt_hook_unconfined", "virt_etc_rw", "virt_var_run"),
                *("virtd", "virtd_exec", "virtd_lxc", "virtd_lxc_exec"),
                *(_MODULAR + tuple(f"{name}_exec" for name in _MODULAR)),
                *("iptables", "iptables_exec"),
            )
        ),
        rules=(
            *_rules("init_t", "bin_t", "unconfined_service_t"),
            ("init_t", "bin_t", "file", "execute_no_trans"),
            ("init_t", "unconfined_service_t", "process2", "nnp_transition"),
            # They read whatever is not secret, which hooks are not.
            *((f"{name}_t", "virt_hook_t", "file", _SEE) for name in _MODULAR),
            ("virtqemud_t", "shell_exec_t", "file", f"{_EXECUTE} execute_no_trans"),
            *(rule for domain in hooked for rule in _hooked(domain)),
        ),
        transitions={
            ("init_t", "bin_t"): "unconfined_service_t",
            ("init_t", "virtd_exec_t"): "virtd_t",
            ("init_t", "virtd_lxc_exec_t"): "virtd_lxc_t",
            **{("init_t", f"{name}_exec_t"): f"{name}_t" for name in _MODULAR},
            **{(d, "virt_hook_t"): "virt_hook_unconfined_t" for d in hooked},
        },
        ranges={("init_t", "virtd_exec_t"): "s0-s0:c0.c1023"},
        unconfined=frozenset(
            {
                *("unconfined_service_t", "virt_hook_unconfined_t"),
                *("virtd_t", "virtd_lxc_t", "virtxend_t"),
            }
        ),
        booleans={"virt_hooks_unconfined": bool(hooked), "virt_use_nfs": True},
    )
    return replace(base, **more)  # type: ignore[arg-type]  # fields of a Policy


# As it is delivered, and with `setsebool virt_hooks_unconfined on`.
FEDORA_41 = _fedora_41()
FEDORA_41_ON = _fedora_41("virtnetworkd_t")
# A module gives virtqemud what the boolean gives virtnetworkd.
WITH_MODULE = _fedora_41("virtnetworkd_t", "virtqemud_t")
VIRTQEMUD_PERMISSIVE = _fedora_41(permissive=frozenset({"virtqemud_t"}))
PERMISSIVE_HOST = _fedora_41(is_enforcing=False)
# RHEL 8: one domain for every daemon, and no type for hooks.
MONOLITHIC = Policy(
    types=frozenset(
        {
            *("init_t", "bin_t", "etc_t", "shell_exec_t", "unconfined_service_t"),
            *("virtd_t", "virtd_exec_t", "virt_etc_rw_t", "virt_var_run_t"),
            *("var_run_t", "iptables_t", "iptables_exec_t"),
        }
    ),
    rules=(
        *_rules("init_t", "bin_t", "unconfined_service_t"),
        ("init_t", "bin_t", "file", "execute_no_trans"),
        ("init_t", "unconfined_service_t", "process2", "nnp_transition"),
    ),
    transitions={
        ("init_t", "bin_t"): "unconfined_service_t",
        ("init_t", "virtd_exec_t"): "virtd_t",
    },
    ranges={("init_t", "virtd_exec_t"): "s0-s0:c0.c1023"},
    unconfined=frozenset({"virtd_t", "unconfined_service_t"}),
)
