"""selinux: what a loaded policy lets libvirt's daemons and our service do. The policies
and the answers are the lab's (tests/lab/policies.py)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lab import policies
from lab.policies import CLASSES, FEDORA_41, MONOLITHIC, Policy
from lab.selinuxfs import build

from unit.builders import refusal
from vfwhooks.installation.selinux import (
    TAKE_AWAY,
    Refusal,
    Right,
    Service,
    ask_rights,
    ask_service,
    find_label,
)
from vfwhooks.installation.selinux_policy import (
    Verdict,
    ask_kernel,
    is_enforcing,
    type_of,
)
from vfwhooks.service.selinux_news import PolicyNews

ALLOWED, PERMISSIVE, DENIED = Verdict.ALLOWED, Verdict.PERMISSIVE, Verdict.DENIED
HOOK, SHELL, NEW = "virt_hook_t", "shell_exec_t", "virt_hook_unconfined_t"
OFF = "virt_hooks_unconfined is off"
ON = "virt_hooks_unconfined is on"
DOMAIN = "unconfined_service_t"
NETFILTER = "create, bind, setopt, read, write its own netlink_netfilter_socket"


def asker(policy: Policy) -> Callable[[str, str], str]:
    """The kernel that has this policy loaded."""

    def ask(file: str, question: str) -> str:
        try:
            return policy.answer(file.rpartition("/")[2], question).rstrip("\0")
        except OSError:
            return ""

    return ask


def rights(tmp_path: Path, policy: Policy, labels: str = "") -> list[Right]:
    """What is said of libvirt's daemons; `labels` is how daemons' files are labelled,
    where the host can tell."""

    def label_of(path: str, root: str) -> str:
        if labels and path.startswith("/usr/sbin/"):
            name = path.rpartition("/")[2]
            return f"system_u:object_r:{labels.replace('*', name)}:s0"
        return find_label(path, root)

    build(tmp_path, policy)
    return ask_rights(root=str(tmp_path), ask=asker(policy), label_of=label_of)


def service(tmp_path: Path, policy: Policy) -> Service:
    """What is said of our service."""
    build(tmp_path, policy)
    return ask_service(str(tmp_path), asker(policy))


def right(daemon: str, verdict: Verdict = ALLOWED, reason: str = "") -> Right:
    """What is said of a daemon of Fedora's."""
    types = {"virtlxcd": "virtd_lxc_t", "libvirtd": "virtd_t"}
    domain = types.get(daemon, f"{daemon}_t")
    return Right(daemon, domain, "virt_hook_t", verdict, reason)


UNCONFINED = [right("virtlxcd"), right("virtxend"), right("libvirtd")]


def both(verdict: Verdict, more: str) -> list[Right]:
    """What is said where neither virtqemud nor virtnetworkd has a rule for hooks."""
    return [
        right(daemon, verdict, f"{daemon}_t may not execute virt_hook_t{more}")
        for daemon in ("virtqemud", "virtnetworkd")
    ] + UNCONFINED


def test_rights_on_fedora_41(tmp_path: Path) -> None:
    """Neither the daemon of guests nor the one of networks may call a hook."""
    assert rights(tmp_path, FEDORA_41) == both(DENIED, f"; {OFF}")


def test_rights_with_the_boolean(tmp_path: Path) -> None:
    """It is for virtnetworkd alone."""
    reason = f"virtqemud_t may not execute virt_hook_t; {ON}"

    assert rights(tmp_path, policies.FEDORA_41_ON) == [
        right("virtqemud", DENIED, reason),
        right("virtnetworkd"),
        *UNCONFINED,
    ]


def test_rights_with_a_module(tmp_path: Path) -> None:
    """What an administrator has loaded counts like what was delivered."""
    found = rights(tmp_path, policies.WITH_MODULE)

    assert found == [right("virtqemud"), right("virtnetworkd"), *UNCONFINED]


def test_rights_of_a_permissive_domain(tmp_path: Path) -> None:
    """Nothing is refused to it, and its rule is missing all the same."""
    lacks = "may not execute virt_hook_t"
    reason = f"virtqemud_t {lacks}, but virtqemud_t is permissive; {OFF}"

    assert rights(tmp_path, policies.VIRTQEMUD_PERMISSIVE) == [
        right("virtqemud", PERMISSIVE, reason),
        right("virtnetworkd", DENIED, f"virtnetworkd_t {lacks}; {OFF}"),
        *UNCONFINED,
    ]


def test_rights_on_a_permissive_host(tmp_path: Path) -> None:
    """Nothing is refused to anybody."""
    found = rights(tmp_path, policies.PERMISSIVE_HOST)

    assert found == both(PERMISSIVE, f", but SELinux is permissive; {OFF}")


def test_rights_of_one_daemon_for_all(tmp_path: Path) -> None:
    """Domains that the policy does not have are left out; hooks without a type of their
    own have the one that libvirt's other files have."""
    found = rights(tmp_path, MONOLITHIC)

    assert found == [Right("libvirtd", "virtd_t", "virt_etc_rw_t", ALLOWED)]


def test_rights_where_files_tell_the_domain(tmp_path: Path) -> None:
    """On RHEL 8 virtqemud runs in libvirtd's domain, with all its categories."""
    found = rights(tmp_path, MONOLITHIC, "virtd_exec_t")

    daemons = "virtqemud", "virtnetworkd", "virtlxcd", "virtxend", "libvirtd"
    assert found == [Right(d, "virtd_t", "virt_etc_rw_t", ALLOWED) for d in daemons]


def test_rights_by_labels_of_files_are_those_by_name(tmp_path: Path) -> None:
    """Fedora gives each daemon its own label; types that it does not have are of no
    use, as virtlxcd_exec_t."""
    found = rights(tmp_path, FEDORA_41, "*_exec_t")

    assert found == both(DENIED, f"; {OFF}")


def test_rights_where_files_have_a_label_of_no_use(tmp_path: Path) -> None:
    """systemd starts nothing in another domain by it: who runs in which is known by
    name."""
    found = rights(tmp_path, FEDORA_41, "etc_t")

    assert found == both(DENIED, f"; {OFF}")


def test_rights_by_an_old_kernel(tmp_path: Path) -> None:
    """Its answers have no flags, and its domains are not permissive."""
    build(tmp_path, FEDORA_41)
    whole = asker(FEDORA_41)

    def ask(file: str, question: str) -> str:
        answer = whole(file, question)
        return answer[:-2] if file.endswith("/access") else answer

    assert ask_rights(root=str(tmp_path), ask=ask) == both(DENIED, f"; {OFF}")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (FEDORA_41, both(DENIED, f"; {OFF}")),
        (
            policies.WITH_MODULE,
            [right("virtqemud"), right("virtnetworkd"), *UNCONFINED],
        ),
    ],
)
def test_rights_without_levels(
    tmp_path: Path, policy: Policy, expected: list[Right]
) -> None:
    """A policy without MLS knows no context that has a range."""
    found = rights(tmp_path, replace(policy, is_mls=False, ranges={}))

    assert found == expected


def test_rights_on_files_whose_type_is_gone(tmp_path: Path) -> None:
    """The kernel takes them for files without a label."""
    types = FEDORA_41.types - {HOOK, "virt_etc_rw_t", "etc_t"} | {"unlabeled_t"}

    found = rights(tmp_path, replace(FEDORA_41, types=types, booleans={}))

    missing = "execute, read, open, getattr"
    reason = f"virtqemud_t may not {missing} unlabeled_t"
    assert found[0] == Right("virtqemud", "virtqemud_t", "unlabeled_t", DENIED, reason)


def test_rights_where_the_shell_is_a_program_like_others(tmp_path: Path) -> None:
    """Of a type that the policy does not have, nothing is said."""
    policy = policies.WITH_MODULE

    found = rights(tmp_path, replace(policy, types=policy.types - {SHELL}))

    assert found == [right("virtqemud"), right("virtnetworkd"), *UNCONFINED]


def test_rights_without_a_transition_that_can_be_made(tmp_path: Path) -> None:
    """A context that is not valid is not changed to."""
    build(tmp_path, policies.WITH_MODULE)
    whole = asker(policies.WITH_MODULE)

    def ask(file: str, question: str) -> str:
        return "" if file.endswith("/create") else whole(file, question)

    found = ask_rights(root=str(tmp_path), ask=ask)

    said = f"virtqemud_t may not execute_no_trans {HOOK}; {ON}"
    assert found[0] == right("virtqemud", DENIED, said)


def test_no_rights_without_selinux(tmp_path: Path) -> None:
    """There is nobody to ask, and nobody is asked."""
    assert ask_rights(root=str(tmp_path)) == []


def without(policy: Policy, source: str, kind: str, permission: str) -> Policy:
    """The policy where a domain lacks a permission that its rules gave it."""
    rules = tuple(
        (a, b, c, d.replace(permission, "ioctl"))
        if (a, c) == (source, kind) and permission in d.split()
        else (a, b, c, d)
        for a, b, c, d in policy.rules
    )
    assert rules != policy.rules
    return replace(policy, rules=rules, unconfined=policy.unconfined - {source})


@pytest.mark.parametrize(
    ("source", "kind", "permission", "said"),
    [
        ("virtqemud_t", "file", "execute", f"virtqemud_t may not execute {HOOK}"),
        ("virtqemud_t", "file", "read", f"virtqemud_t may not read {HOOK}"),
        ("virtqemud_t", "file", "open", f"virtqemud_t may not open {HOOK}"),
        ("virtqemud_t", "file", "getattr", f"virtqemud_t may not getattr {HOOK}"),
        (
            "virtqemud_t",
            "process",
            "transition",
            f"virtqemud_t may not transition {NEW} (process)",
        ),
        (NEW, "file", "entrypoint", f"{NEW} may not entrypoint {HOOK}"),
    ],
)
def test_every_step_of_a_hooks_execution_counts(
    tmp_path: Path, source: str, kind: str, permission: str, said: str
) -> None:
    """Whichever the kernel refuses, the hook is not executed."""
    policy = without(policies.WITH_MODULE, source, kind, permission)

    found = rights(tmp_path, policy)

    assert found[0] == right("virtqemud", DENIED, f"{said}; {ON}")


@pytest.mark.parametrize("permission", ["execute", "read", "open"])
def test_the_daemon_must_open_the_shell(tmp_path: Path, permission: str) -> None:
    """The kernel opens a script's interpreter before the domain changes, whatever the
    new one may do."""
    policy = policies.FEDORA_41_ON
    rules = tuple(
        (a, b, c, d.replace(permission, "ioctl") if b == SHELL else d)
        for a, b, c, d in policy.rules
    )

    found = rights(tmp_path, replace(policy, rules=rules))

    said = f"virtnetworkd_t may not {permission} {SHELL}; {ON}"
    assert found[1] == right("virtnetworkd", DENIED, said)


def test_the_new_domain_must_run_the_shell(tmp_path: Path) -> None:
    """Otherwise the child is killed when its interpreter is mapped."""
    policy = policies.FEDORA_41_ON
    unconfined = policy.unconfined - {NEW}

    found = rights(tmp_path, replace(policy, unconfined=unconfined))

    said = f"{NEW} may not execute, read, map {SHELL}; {ON}"
    assert found[1] == right("virtnetworkd", DENIED, said)


def in_its_own_domain(permissions: str) -> Policy:
    """A policy whose virtqemud runs hooks without a transition."""
    rule = "virtqemud_t", HOOK, "file", permissions
    return replace(FEDORA_41, rules=(*FEDORA_41.rules, rule), booleans={})


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ("execute execute_no_trans", right("virtqemud")),
        (
            "execute",
            right("virtqemud", DENIED, f"virtqemud_t may not execute_no_trans {HOOK}"),
        ),
    ],
)
def test_a_hook_in_the_daemons_own_domain(
    tmp_path: Path, permissions: str, expected: Right
) -> None:
    """It takes another permission, and there is no boolean to speak of."""
    found = rights(tmp_path, in_its_own_domain(permissions))

    assert found[0] == expected


@pytest.mark.parametrize(("is_strict", "expected"), [(True, DENIED), (False, ALLOWED)])
def test_permissions_newer_than_the_policy(
    tmp_path: Path, is_strict: bool, expected: Verdict
) -> None:
    """What a policy cannot speak of, deny_unknown decides."""
    classes = {**CLASSES, "file": CLASSES["file"].replace("map ", "")}
    policy = replace(policies.WITH_MODULE, classes=classes, is_strict=is_strict)

    found = rights(tmp_path, policy)

    assert [one.verdict for one in found] == [expected] * 5


@pytest.mark.parametrize("answer", ["", "\0", "no", "ff ffffffff", "zz 0 0 0 0 0"])
def test_what_is_no_answer(tmp_path: Path, answer: str) -> None:
    """It says as much of a type as a refusal to speak of it."""
    build(tmp_path, FEDORA_41)

    found = ask_rights(root=str(tmp_path), ask=lambda file, question: answer)

    assert found == []


def test_the_service_on_fedora_41(tmp_path: Path) -> None:
    """It ends in an unconfined domain, although it gets no new privileges."""
    assert service(tmp_path, FEDORA_41) == Service(DOMAIN)


def test_the_service_without_init(tmp_path: Path) -> None:
    """A policy that knows no systemd says nothing of what it starts."""
    types = FEDORA_41.types - {"init_t"}

    assert service(tmp_path, replace(FEDORA_41, types=types)) == Service("")


def no_privileges(policy: Policy) -> Policy:
    """The policy without leave for init_t to change the domain of who has no_new_privs;
    of the work of the service, init_t may do what concerns files."""
    rules = [rule for rule in policy.rules if rule[2] != "process2"]
    for kind, target in (("dir", "var_run_t"), ("dir", "virt_var_run_t")):
        rules.append(("init_t", target, kind, CLASSES[kind]))
        rules.append(("init_t", target, "file", CLASSES["file"]))
    for target in ("bin_t", "iptables_exec_t"):
        rules.append(("init_t", target, "file", CLASSES["file"]))
    return replace(policy, rules=tuple(rules))


def old_classes(policy: Policy) -> Policy:
    """The policy as it would be without process2."""
    classes = {k: v for k, v in CLASSES.items() if k != "process2"}
    return replace(no_privileges(policy), classes=classes)


def old_kernel(policy: Policy) -> Policy:
    """Leave is given, and the kernel is one that does not ask for it."""
    rules = *no_privileges(policy).rules, *policy.rules
    return replace(policy, rules=rules, capabilities={"open_perms": True})


@pytest.mark.parametrize("change", [no_privileges, old_classes, old_kernel])
def test_the_service_stays_with_init(
    tmp_path: Path, change: Callable[[Policy], Policy]
) -> None:
    """Without leave it runs in systemd's own domain, and has that one's rights."""
    found = service(tmp_path, change(FEDORA_41))

    assert found == Service(
        "init_t",
        (
            Refusal("change rules and cut connections", f"init_t may not {NETFILTER}"),
            Refusal(
                "follow neighbours",
                "init_t may not create, bind, read, write, nlmsg_read, nlmsg_write "
                "its own netlink_route_socket",
            ),
            Refusal(
                "see who listens",
                "init_t may not create, bind, read, write, nlmsg_read its own "
                "netlink_tcpdiag_socket",
            ),
            Refusal(
                TAKE_AWAY,
                "init_t may not search, write, remove_name virt_hook_t (dir)",
            ),
        ),
    )


def test_the_service_where_hooks_have_no_label(tmp_path: Path) -> None:
    """Taking them away is a right on what they have instead."""
    rules = (
        *MONOLITHIC.rules,
        *(
            (DOMAIN, DOMAIN if kind.startswith("net") else target, kind, permissions)
            for kind, permissions in CLASSES.items()
            for target in MONOLITHIC.types - {"virt_etc_rw_t"}
        ),
    )
    unconfined = MONOLITHIC.unconfined - {DOMAIN}

    found = service(tmp_path, replace(MONOLITHIC, rules=rules, unconfined=unconfined))

    what = f"{DOMAIN} may not search, write, remove_name virt_etc_rw_t (dir)"
    assert found == Service(DOMAIN, (Refusal(TAKE_AWAY, what),))


@pytest.mark.parametrize("is_strict", [True, False])
def test_the_service_under_an_old_policy(tmp_path: Path, is_strict: bool) -> None:
    """What becomes of sockets that it cannot speak of, deny_unknown says."""
    classes = {k: v for k, v in CLASSES.items() if k != "netlink_tcpdiag_socket"}

    found = service(tmp_path, replace(FEDORA_41, classes=classes, is_strict=is_strict))

    what = "create, bind, read, write, nlmsg_read its own netlink_tcpdiag_socket"
    refusal = Refusal("see who listens", f"{DOMAIN} may not {what}")
    assert found == Service(DOMAIN, (refusal,) if is_strict else ())


def test_the_service_in_a_permissive_domain(tmp_path: Path) -> None:
    """Nothing is refused there."""
    policy = replace(no_privileges(FEDORA_41), permissive=frozenset({"init_t"}))

    # init_t may then change it as well.
    assert service(tmp_path, policy) == Service("unconfined_service_t")


def test_the_service_that_cannot_start(tmp_path: Path) -> None:
    """The domain that it would have is no use where it may not be entered."""
    policy = without(FEDORA_41, "unconfined_service_t", "file", "entrypoint")
    unconfined = FEDORA_41.unconfined

    found = service(tmp_path, replace(policy, unconfined=unconfined))

    reason = "unconfined_service_t may not entrypoint bin_t"
    assert found == Service("unconfined_service_t", (Refusal("start", reason),))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(FEDORA_41, True), (policies.PERMISSIVE_HOST, False), (None, False)],
)
def test_is_enforcing(tmp_path: Path, policy: Policy | None, expected: bool) -> None:
    """Switched on and enforcing; permissive; not there at all."""
    if policy:
        build(tmp_path, policy)

    assert is_enforcing(str(tmp_path)) == expected


def test_labels_where_nobody_tells() -> None:
    """Those of Fedora; another root's file contexts are not this machine's."""
    paths = "/etc/libvirt/hooks/qemu", "/etc/libvirt/hooksters", "/usr/bin/vfwhooks"

    assert [type_of(find_label(path, "/r")) for path in paths] == [
        "virt_hook_t",
        "bin_t",
        "bin_t",
    ]


def test_types_of_contexts() -> None:
    """With a range, with categories, without; and what is no context."""
    contexts = "u:r:t:s0", "u:r:t:s0-s0:c0.c1023", "u:r:t", "u:r", ""

    assert [type_of(one) for one in contexts] == ["t", "t", "t", "", ""]


def test_a_kernel_that_may_not_be_asked(tmp_path: Path) -> None:
    """A refusal is no answer that a type is missing."""
    path = tmp_path / "access"

    said = refusal(ask_kernel, str(path), "a b 1")

    what = f"SELinux's policy cannot be asked: {path}: No such file or directory"
    assert said == f"{what} (ask as root, in an unconfined domain)"


@pytest.mark.parametrize("number", [0x10, 0x11])
def test_news_of_the_policy(number: int) -> None:
    """SELinux was switched, or its policy loaded: each is told once. Another netlink
    stands in for the kernel's, of which a kernel without SELinux has none."""
    news = PolicyNews(socket.NETLINK_USERSOCK)
    message = struct.pack("=IHHIIi", 20, number, 0, 0, 0, 1)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2) as sender:
        sender.bind((0, 0))
        before = news.read()
        sender.sendto(message, (sender.getsockname()[0], 1))
        told = news.read(), news.read()
    news.close()

    assert (before, told, news.fileno()) == (False, (True, False), -1)


def test_a_kernel_without_news() -> None:
    """It is no error, and there is nothing to poll."""
    news = PolicyNews(31)

    assert (news.fileno(), news.read()) == (-1, False)
