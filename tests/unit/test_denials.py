"""denials: what the kernel's log says was refused to our hooks and our service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vfwhooks.installation.denials import Denial, find_denials, is_ours, parse_denials

STAMP = "audit(1720000000.250:177)"
AT = 1720000000.25
CONTEXT = "system_u:system_r:{}:s0"


def avc(what: str = "execute", source: str = "virtqemud_t", **more: str) -> str:
    """What SELinux says of a hook that virtqemud may not execute, but for `more`."""
    named = more.get("named", 'comm="rpc-virtqemud" name="qemu" dev="vda2" ino=4449649')
    contexts = (
        f"scontext={CONTEXT.format(source)} "
        f"tcontext=system_u:object_r:{more.get('target', 'virt_hook_t')}:s0 "
    )
    rest = f"{contexts}tclass=file permissive={more.get('permissive', '0')}"
    return f"avc:  denied  {{ {what} }} for  pid=1346 {named} {rest}"


def apparmor(operation: str = "exec", profile: str = "libvirtd", **more: str) -> str:
    """What AppArmor says of a hook that libvirtd may not execute, but for `more`."""
    name = more.get("name", '"/etc/libvirt/hooks/qemu"')
    comm, mask = more.get("comm", "rpc-libvirtd"), more.get("mask", "x")
    return (
        f'apparmor="{more.get("said", "DENIED")}" operation="{operation}" class="file" '
        f'profile="{profile}" name={name} pid=7 comm="{comm}" '
        f'requested_mask="{mask}" denied_mask="{mask}" fsuid=0 ouid=0'
    )


def selinux(what: str = "execute", **more: object) -> Denial:
    """The same as a value."""
    values = {
        "subject": "virtqemud_t",
        "target": "virt_hook_t",
        "path": "qemu",
        "comm": "rpc-virtqemud",
        "at": AT,
    }
    return Denial("SELinux", what=what, **{**values, **more})  # type: ignore[arg-type]  # fields of a Denial


def by_apparmor(what: str = "exec", **more: object) -> Denial:
    """The same as a value."""
    values = {
        "subject": "libvirtd",
        "path": "/etc/libvirt/hooks/qemu",
        "comm": "rpc-libvirtd",
        "at": AT,
    }
    return Denial("AppArmor", what=what, **{**values, **more})  # type: ignore[arg-type]  # fields of a Denial


@pytest.mark.parametrize(
    "head",
    [
        f"type=AVC msg={STAMP}: ",
        f"5,1042,7654321,-;audit: type=1400 {STAMP}: ",
        f"Jul  3 02:49:51 host kernel: [ 765.4321] audit: type=1400 {STAMP}: ",
    ],
)
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (avc(), selinux()),
        (avc("read open"), selinux("read open")),
        (avc(permissive="1"), selinux(is_permissive=True)),
        (
            avc(named='comm="sh" path="/etc/libvirt/hooks/qemu" dev="vda2"'),
            selinux(comm="sh", path="/etc/libvirt/hooks/qemu"),
        ),
        (
            avc(named="comm=6120627E name=2F6574632FC3A420625C"),
            selinux(comm="a b~", path="/etc/ä b\\"),
        ),
        (avc(named="comm=612062 name=666163652D"), selinux(comm="a b", path="face-")),
        (avc(named='comm="x"'), selinux(comm="x", path="")),
        (avc() + "\x1dAUID=unset", selinux()),
        (apparmor(), by_apparmor()),
        (apparmor(said="ALLOWED"), by_apparmor(is_permissive=True)),
        (apparmor("open", mask="wc"), by_apparmor("open wc")),
        (apparmor(name="2F6574632F6120"), by_apparmor(path="/etc/a ")),
        (apparmor(profile="virt-aa-helper"), by_apparmor(subject="virt-aa-helper")),
        (
            'apparmor="DENIED" operation="capable" profile="libvirtd" pid=7 '
            'comm="qemu" capability=12  capname="net_admin"',
            by_apparmor("capable net_admin", path="", comm="qemu"),
        ),
    ],
)
def test_what_was_refused(head: str, record: str, expected: Denial) -> None:
    """By auditd's log, the ring and syslog: all of it is read, and names in hex."""
    assert list(parse_denials([head + record])) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "5,1042,7654321,-;virbr0: port 1(vnet0) entered disabled state",
        f"type=SYSCALL msg={STAMP}: arch=c000003e syscall=59 success=no comm=6120",
        f"type=AVC msg={STAMP}: " + avc().replace("denied", "granted"),
        f'type=AVC msg={STAMP}: apparmor="STATUS" operation="profile_load" name="x"',
    ],
)
def test_what_is_no_denial(line: str) -> None:
    """Other records, and records of what was allowed."""
    assert list(parse_denials([line])) == []


def test_a_line_without_much() -> None:
    """A line that was cut says what it still says."""
    assert list(parse_denials(["avc:  denied  { execute } for  pid=1"])) == [
        Denial("SELinux", "", "execute")
    ]


@pytest.mark.parametrize(
    "denial",
    [
        selinux(),
        selinux(subject="virtnetworkd_t", path="network"),
        selinux(target="virt_etc_rw_t", path="/etc/libvirt/hooks/qemu"),
        selinux(target="shell_exec_t", path="bash", comm="daemon-init"),
        selinux("create", target="virtqemud_t", path="", comm="qemu"),
        selinux("create", subject="init_t", target="init_t", path="", comm="vfwhooks"),
        selinux("write", subject="iptables_t", path="/run/vfwhooks/x", comm="nft"),
        selinux("add_name", subject="svirt_t", path="vfwhooks", comm="sh"),
        by_apparmor(),
        by_apparmor(subject="/usr/sbin/libvirtd"),
        by_apparmor(path="/usr/bin/python3.11", comm="qemu"),
        by_apparmor("connect", subject="x", path="/run/vfwhooks/socket", comm="y"),
    ],
)
def test_what_concerns_us(denial: Denial) -> None:
    """A hook that is not executed, its shell, what a hook does, what the service does,
    and whatever somebody does with our files."""
    assert is_ours(denial)


@pytest.mark.parametrize(
    "denial",
    [
        selinux(target="udev_exec_t", path="udevadm"),
        selinux("read", target="shell_exec_t", path="bash"),
        selinux(subject="httpd_t", target="shell_exec_t", path="bash"),
        selinux("write", subject="user_t", path="/etc/libvirt/hooks/qemu", comm="vi"),
        selinux("read", subject="svirt_t", target="x_t", path="disk", comm="qemu"),
        by_apparmor(path="/etc/libvirt/hooksters"),
        by_apparmor(subject="virt-aa-helper", path="/x", comm="virt-aa-helper"),
    ],
)
def test_what_does_not(denial: Denial) -> None:
    """What libvirt is refused for itself, and what others are refused."""
    assert not is_ours(denial)


def line(name: str, at: int) -> str:
    """A line of audit.log about a hook."""
    record = avc(named=f'comm="rpc-virtqemud" name="{name}"')
    return f"type=AVC msg=audit({at}.000:1): {record}\n"


def put(root: Path, name: str, text: str) -> None:
    """A file under a root."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_each_is_found_once(tmp_path: Path) -> None:
    """Where it happened last, so that the newest is the last one."""
    text = line("qemu", 1) + line("network", 2) + line("qemu", 3)
    put(tmp_path, "var/log/audit/audit.log", text + "type=AVC " + avc(target="x_t"))

    found = find_denials(str(tmp_path))

    assert found == [selinux(path="network", at=2.0), selinux(at=3.0)]


def test_auditds_log_comes_first(tmp_path: Path) -> None:
    """Where auditd runs, the kernel's log has nothing of it since."""
    put(tmp_path, "var/log/audit/audit.log", line("qemu", 2))
    put(tmp_path, "dev/kmsg", line("lxc", 1))

    assert find_denials(str(tmp_path)) == [selinux(at=2.0)]


def test_the_ring_comes_next(tmp_path: Path) -> None:
    """It is read record by record, to its end, and not waited for."""
    put(tmp_path, "var/log/kern.log", line("lxc", 1))
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev/kmsg")
    ring = os.open(tmp_path / "dev/kmsg", os.O_RDWR)
    os.write(ring, f"{line('qemu', 2)} SUBSYSTEM=x\n{line('network', 3)}".encode())

    found = find_denials(str(tmp_path))

    os.close(ring)
    assert found == [selinux(at=2.0), selinux(path="network", at=3.0)]


def test_syslogs_file_comes_last(tmp_path: Path) -> None:
    """Where the ring may not be read."""
    put(tmp_path, "var/log/kern.log", line("qemu", 1))

    assert find_denials(str(tmp_path)) == [selinux(at=1.0)]


def test_a_host_without_logs(tmp_path: Path) -> None:
    """Nothing is known then."""
    assert find_denials(str(tmp_path)) == []


LINE = "x" * 1023 + "\n"


@pytest.mark.parametrize("name", ["var/log/audit/audit.log", "dev/kmsg"])
@pytest.mark.parametrize(
    ("before", "behind", "expected"),
    [
        ("", 1023, ["qemu", "lxc"]),
        ("", 1024, ["lxc"]),
        ("", 5000, ["lxc"]),
        # The cut goes through a line, whose end alone could be taken for one.
        ("y" * 1000, 1023, ["lxc"]),
    ],
)
def test_a_large_log_is_read_from_behind(
    tmp_path: Path, name: str, before: str, behind: int, expected: list[str]
) -> None:
    """One MiB of it, and no line that was cut."""
    put(
        tmp_path, name, LINE + before + line("qemu", 1) + LINE * behind + line("lxc", 2)
    )

    found = find_denials(str(tmp_path))

    assert [one.path for one in found] == expected
