"""ansible/roles/vfwhooks against two hosts with libvirtd: one has systemd, the other
has none. ansible-core runs on this machine, and enters them by tests/lab/ansible."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.box import PATH, wait_until
from lab.cache import LAB
from lab.host import Host
from lab.systemd import Systemd, start_systemd
from packages.built import find_deb
from product import CONFIG, HERE, published

MAIL = "/etc/vfwhooks/forwards.d/20-mail.yaml"
OTHERS = "/etc/vfwhooks/forwards.d/90-others.yaml"
PLAY = """\
- hosts: all
  gather_facts: false
  roles: [vfwhooks]
"""
CHECK = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: vfwhooks, tasks_from: check}
"""
FORWARDS = {"guests": {"web1": ["8080:80"]}}
FILES = {
    "20-mail.yaml": {"guests": {"mail": ["25:25", {"published": 2222, "target": 22}]}}
}
WANTED: dict[str, Any] = {
    "vfwhooks_source": str(HERE),
    "vfwhooks_forwards": FORWARDS,
    "vfwhooks_files": FILES,
}
# What may have been changed, with its time; what libvirt does by itself is left out.
LIST = r"""
find /etc/vfwhooks /etc/libvirt/hooks /usr/bin/vfwhooks /usr/lib/vfwhooks /tmp \
    /usr/lib/systemd/system /usr/share/vfwhooks /var/lib/vfwhooks /var/tmp \
    -type f -printf '%p %m %s %T@\n' 2>/dev/null | sort
"""


@dataclass(frozen=True)
class Run:
    """A run of ansible-playbook: its output, and what it counted by host."""

    status: int
    text: str
    stats: dict[str, dict[str, int]]

    def of_each(self, what: str) -> list[int]:
        """A count, of each host in order."""
        return [self.stats[name][what] for name in sorted(self.stats)]


@dataclass(frozen=True)
class Control:
    """The control host, by the directory that ansible-playbook runs in."""

    directory: Path

    def prepare(self, *hosts: str) -> None:
        """Write the inventory, of one line for each host, and the settings."""
        python = "ansible_python_interpreter=/usr/bin/python3"
        lines = ["[fleet]", *hosts, "[all:vars]", python]
        lines += ["[fleet:vars]", "ansible_connection=lab"]
        (self.directory / "hosts").write_text("\n".join([*lines, ""]))
        (self.directory / "ansible.cfg").write_text(
            "[defaults]\ninventory = hosts\nhost_key_checking = false\n"
            f"roles_path = {HERE}/ansible/roles\n"
            f"connection_plugins = {LAB}/ansible\n"
            "remote_tmp = /var/tmp/ansible\ndeprecation_warnings = false\n"
            "[connection]\npipelining = true\n"
        )

    def play(self, *arguments: str, play: str = PLAY, **variables: Any) -> Run:
        """Run a play on all hosts."""
        (self.directory / "play.yml").write_text(play)
        (self.directory / "vars.json").write_text(json.dumps(variables))
        command = ["/usr/bin/ansible-playbook", "play.yml", "-e", "@vars.json"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.directory,
            env={
                "PATH": PATH,
                "HOME": str(self.directory),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            },
            capture_output=True,
            check=False,
            text=True,
            timeout=300,
        )
        text = done.stdout + done.stderr
        recap = re.findall(r"(?m)^(host\d+) +: (ok=.*)$", text)
        stats = {
            name: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", counts)}
            for name, counts in recap
        }
        return Run(done.returncode, text, stats)


@dataclass(frozen=True)
class Fleet(Control):
    """Two hosts, and how to enter them."""

    hosts: tuple[Host, Host]
    systemd: Systemd

    def files(self) -> list[str]:
        """Everything that the role may have touched on both hosts."""
        return [host.call(["sh", "-c", LIST]).stdout for host in self.hosts]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Both hosts run libvirtd and its network, and have never heard of vfwhooks."""
    directory = tmp_path_factory.mktemp("ansible")
    with Host.debian12() as old, Host.debian13() as new, start_systemd(new) as systemd:
        for host in (old, new):
            host.start_libvirtd()
            host.start_network()
        lines = [f"{host.name} lab_enter='{enter(host)}'" for host in (old, new)]
        inner = f"nsenter --target {systemd.pid} --mount --pid --cgroup"
        lines[1] = lines[1][:-1] + f" {inner}'"
        fleet = Fleet(directory, (old, new), systemd)
        fleet.prepare(*lines)
        yield fleet


def enter(host: Host) -> str:
    """The command behind which a command runs on the host."""
    spaces = "--mount --uts --ipc --pid --net"
    variables = f"env -i PATH={PATH} HOME=/root LC_ALL=C.UTF-8"
    return f"nsenter --target {host.box.pid} {spaces} {variables}"


def test_check_mode_changes_nothing(fleet: Fleet) -> None:
    """On hosts without vfwhooks it says what would be done, and does nothing."""
    before = fleet.files()

    run = fleet.play("--check", "--diff", **WANTED)

    assert (run.status, run.of_each("failed")) == (0, [0, 0]), run.text
    assert all(changed > 0 for changed in run.of_each("changed"))
    assert fleet.files() == before


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    """The first installs and configures, and forwards are in force for a guest that
    runs; the second finds all as it is to be."""
    old, new = fleet.hosts
    new.define_guest("web1").start()

    first = fleet.play(**WANTED)
    wait_until(lambda: all(map(is_kept, fleet.hosts)), "all is kept over a boot")
    files = fleet.files()
    second = fleet.play(**WANTED)

    assert (first.status, second.status) == (0, 0), first.text + second.text
    assert all(changed > 0 for changed in first.of_each("changed"))
    assert second.of_each("changed") == [0, 0]
    assert fleet.files() == files
    assert {one.port for one in published(new)} == {8080}
    assert old.read(MAIL) == new.read(MAIL) != ""
    assert fleet.systemd.show("vfwhooks.service", "ActiveState") == "active"


def is_kept(host: Host) -> bool:
    """Whether what is in force is on disk, for which nobody waits."""
    places = "/run/vfwhooks/compiled", "/var/lib/vfwhooks/compiled"
    return len({host.read(place) for place in places}) == 1


@pytest.mark.long
def test_a_diff_shows_an_edit_and_makes_none(fleet: Fleet) -> None:
    """Check mode shows the lines that would be other."""
    before = fleet.files()
    edited = {"guests": {"web1": ["8081:80"]}}

    run = fleet.play("--check", "--diff", **{**WANTED, "vfwhooks_forwards": edited})

    shown = [
        line for line in run.text.splitlines() if line[:1] in "+-" and ":80" in line
    ]
    assert (run.status, run.of_each("changed")) == (0, [1, 1]), run.text
    assert shown == ["-  - 8080:80", "+  - 8081:80"] * 2
    assert fleet.files() == before


@pytest.mark.long
def test_a_file_that_is_not_good_is_not_put(fleet: Fleet) -> None:
    """Each tool owns a file: one that takes the port of another's is refused, with the
    message of check, and what is in force stays."""
    for host in fleet.hosts:
        host.write(OTHERS, "guests:\n  db: [5432:5432]\n")
    before = [host.read(path) for host in fleet.hosts for path in (CONFIG, MAIL)]
    clash = {"20-mail.yaml": {"guests": {"mail": ["5432:25"]}}}

    run = fleet.play(**{**WANTED, "vfwhooks_files": clash})

    assert (run.status, run.of_each("failed")) == (2, [1, 1])
    after = [host.read(path) for host in fleet.hosts for path in (CONFIG, MAIL)]
    assert run.text.count("tcp/5432 is taken by mail") >= 2, run.text
    assert after == before


@pytest.mark.long
def test_check_tasks_say_what_doctor_finds(fleet: Fleet) -> None:
    """They change nothing, and fail where something is wrong."""
    run = fleet.play(play=CHECK, vfwhooks_doctor_fails=False)

    assert (run.status, run.of_each("changed")) == (0, [0, 0]), run.text


@pytest.mark.long
def test_removal(fleet: Fleet) -> None:
    """All but the configuration goes, rules as well; a second removal finds nothing."""
    gone: dict[str, Any] = {"vfwhooks_source": str(HERE), "vfwhooks_state": "absent"}

    first, second = fleet.play(**gone), fleet.play(**gone)

    left = [host.call(["ls", "/usr/bin/vfwhooks"]).status for host in fleet.hosts]
    assert (first.status, second.of_each("changed")) == (0, [0, 0]), first.text
    assert left == [2, 2] and published(fleet.hosts[1]) == set()
    assert all(host.read(path) for host in fleet.hosts for path in (CONFIG, MAIL))


@pytest.mark.long
def test_a_package_of_the_control_host(fleet: Fleet) -> None:
    """A .deb is put on the host and installed once, and is removed as a package."""
    wanted: dict[str, Any] = {
        "vfwhooks_package": str(find_deb()),
        "vfwhooks_files": FILES,
    }
    gone: dict[str, Any] = {"vfwhooks_state": "absent", "vfwhooks_purge_config": True}
    old = "--limit", "host12"  # the other has no python3-apt

    first, second = fleet.play(*old, **wanted), fleet.play(*old, **wanted)
    mail = fleet.hosts[0].read(MAIL)
    last = fleet.play(*old, **gone)

    left = fleet.hosts[0].call(["ls", "/usr/bin/vfwhooks", "/etc/vfwhooks"])
    assert (first.status, last.status) == (0, 0), first.text + last.text
    assert (second.of_each("changed"), bool(mail), left.stdout) == ([0], True, "")


# Nobody can become root on the control host; on the other a stand-in lets everybody.
PREFIX = "  environment: {PREFIX: /opt/vfwhooks}\n"
AS_USER = f"""\
- hosts: fleet
  become: true
  gather_facts: false
{PREFIX}  roles: [vfwhooks]
"""
SUDO = """\
#!/bin/sh
while case $1 in -*) ;; *) false ;; esac; do
    case $1 in -u | -p) shift ;; esac
    shift
done
exec "$@"
"""


def test_another_prefix(tmp_path: Path) -> None:
    """The role needs no root on the control host. What it has put under a prefix that
    no PATH has, with the page in Cockpit, it finds again, checks with, and removes."""
    control = Control(tmp_path)
    wanted = {"vfwhooks_source": str(HERE), "vfwhooks_forwards": FORWARDS}
    lenient = {"vfwhooks_doctor_fails": False}
    with Host.debian13() as host:
        host.start_libvirtd()
        host.start_network()
        host.write("/usr/local/bin/sudo", SUDO, 0o755)
        control.prepare(f"{host.name} lab_enter='{enter(host)}'")
        with (tmp_path / "hosts").open("a") as inventory:
            inventory.write("[control]\nlocalhost ansible_connection=local")
            inventory.write(" ansible_become_exe=/bin/false\n")

        first = control.play(play=AS_USER, **wanted)
        page = host.run(["ls", "/opt/vfwhooks/share/cockpit/vfwhooks"]).split()
        second = control.play(play=AS_USER.replace(PREFIX, ""), **wanted)
        check = control.play(play=CHECK.replace("all", "fleet"), **lenient)
        refused = control.play(play=AS_USER, vfwhooks_state="absent")
        gone = control.play(play=AS_USER, vfwhooks_state="absent", **wanted)
        left = host.call(["ls", "/opt/vfwhooks"]).stdout

    assert first.status == 0, first.text
    assert page == sorted(one.name for one in (HERE / "cockpit").iterdir())
    assert (second.status, second.of_each("changed")) == (0, [0]), second.text
    assert check.status == 0, check.text
    assert "vfwhooks_source has to be a checkout" in refused.text
    assert (gone.status, gone.of_each("changed"), left) == (0, [1], ""), gone.text
