"""The RPM packages: built, checked, installed, upgraded and erased by the real rpm."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator

import pytest
from lab import modular
from lab.box import wait_until
from lab.host import HOOKS, Host
from lab.policies import FEDORA_41, WITH_MODULE, Policy
from lab.selinuxfs import Loaded, selinux
from product import CONFIG, DRIVERS, HERE, configure

from packages.built import find_rpms, run

EDITED = "guests:\n  web1: [8080:80]\n"
OTHERS_HOOK = "#!/bin/sh\n# somebody else's\n"
RPM = ["rpm", "--nodeps", "--ignoreos"]
# Stand in for the tools of a host with SELinux; semodule returns when the policy of the
# stand-in for its kernel is another.
SEMODULE = """\
#!/bin/sh
echo "semodule $*" >>/var/log/policy
: >"/run/asked$1"
until [ -e "/run/changed$1" ]; do sleep 0.1; done
"""
SETSEBOOL = '#!/bin/sh\necho "setsebool $*" >>/var/log/policy\n'


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with rpm, whose data base does not know of Python and nft."""
    with Host.debian12() as host:
        for package, name in zip(find_rpms(), ("vfwhooks", "selinux", "cockpit")):
            shutil.copy(package, host.path(f"/opt/{name}.rpm"))
        host.install_hooks({"qemu": OTHERS_HOOK})
        yield host


def test_rpmlint_has_nothing_to_say() -> None:
    """Of the packages and of the spec, but for what packaging/rpmlint.toml explains."""
    config = HERE / "packaging/rpmlint.toml"

    said = run("rpmlint", "-c", config, *find_rpms(), HERE / "packaging/vfwhooks.spec")

    assert "specfiles checked; 0 errors, 0 warnings" in said, said


def test_what_is_in_which_package() -> None:
    """The module and the page in Cockpit are in packages of their own, and rich is
    recommended, no more."""
    main, selinux, page = (
        run("rpm", "-qp", "--list", one).split() for one in find_rpms()
    )

    cil = "/usr/share/selinux/packages/vfwhooks.cil"
    assert [name for name in [*main, *selinux] if name.endswith(".cil")] == [cil]
    assert cil in selinux
    there = "/usr/share/cockpit/"
    assert [name for name in [*main, *selinux] if name.startswith(there)] == []
    assert f"{there}vfwhooks/manifest.json" in page
    recommended = run("rpm", "-qp", "--recommends", find_rpms()[0]).split("\n")
    required = run("rpm", "-qp", "--requires", find_rpms()[0])
    assert ("python3-rich" in recommended, "rich" in required) == (True, False)


def test_a_failure_is_told() -> None:
    """rpm hears of it also where a macro of systemd's, as Fedora has it, comes next."""
    macro = ["--define", "systemd_post() true"]
    form = ["--qf", "%{NAME}\n%{POSTIN}\n"]
    said = run("rpmspec", "-q", *macro, *form, HERE / "packaging/vfwhooks.spec")
    script = said.partition("vfwhooks-selinux\n")[0].removeprefix("vfwhooks\n")

    failed = script.replace("/usr/share/vfwhooks/install.sh", "false", 1)
    done = subprocess.run(["sh", "-c", failed, "sh", "1"], check=False)

    assert ("\ntrue" in script, done.returncode) == (True, 1)


def test_life_of_the_package(host: Host) -> None:
    """Hooks are laid beside those of others, an edited file stays over an upgrade, and
    an erased package leaves neither hooks nor releases."""
    host.run([*RPM, "-i", "/opt/vfwhooks.rpm"])
    configure(host, EDITED)
    laid = hooks(host)

    host.run([*RPM, "-U", "--replacepkgs", "/opt/vfwhooks.rpm"])
    again = hooks(host), host.read(CONFIG)
    host.run(["rpm", "-e", "vfwhooks"])

    names = {f"{name}.d/vfwhooks" if name == "qemu" else name for name in DRIVERS}
    assert {*laid} == {"qemu", *names}
    assert re.fullmatch(r"/usr/lib/vfwhooks/[\d.]+-[0-9a-f]{8}", laid["network"])
    assert again == (laid, EDITED)
    assert hooks(host) == {"qemu": ""}
    assert host.call(["ls", "/usr/lib/vfwhooks", "/usr/share/vfwhooks"]).stdout == ""


def test_beside_another_prefix(host: Host) -> None:
    """systemd would prefer the unit of the other one: the package is not unpacked."""
    host.run([f"{Host.CHECKOUT}/install.sh"], env={"PREFIX": "/opt/vfw"})
    before = hooks(host)

    done = host.call([*RPM, "-i", "/opt/vfwhooks.rpm"])

    assert (
        "\nvfwhooks is here by install.sh, in /opt/vfw: run its"
        " ./install.sh --uninstall, then this again\n"
    ) in done.stderr
    assert (done.status, hooks(host)) == (1, before)
    assert host.call(["ls", "/usr/share/vfwhooks"]).stdout == ""


def hooks(host: Host) -> dict[str, str]:
    """What each hook names as the release; "" for those of others."""
    found = host.run(["find", HOOKS, "-type", "f", "-printf", "%P\n"]).split()
    named = {
        name: re.search("(?m)^lib=(.*)$", host.read(f"{HOOKS}/{name}"))
        for name in found
    }
    return {name: lib[1] if lib else "" for name, lib in named.items()}


def test_the_module_in_a_package_of_its_own(host: Host) -> None:
    """With it the daemons may run hooks, which are laid then; with it erased they may
    not, the hooks go, and the boolean is as it was."""
    host.run(["rm", f"{HOOKS}/qemu"])
    host.write("/usr/sbin/semodule", SEMODULE, 0o755)
    host.write("/usr/sbin/setsebool", SETSEBOOL, 0o755)

    with (
        selinux(host, FEDORA_41) as loaded,
        modular.running(host, ("virtqemud", "virtnetworkd")),
    ):
        host.run([*RPM, "-i", "/opt/vfwhooks.rpm"])
        seen = [sorted(hooks(host))]
        for action, policy, rpm in (
            ("-i", WITH_MODULE, [*RPM, "-i", "/opt/selinux.rpm"]),
            ("-r", FEDORA_41, ["rpm", "-e", "vfwhooks-selinux"]),
        ):
            follow(host, loaded, action, policy)
            host.run(rpm)
            seen.append(sorted(hooks(host)))

    assert seen == [[], ["daemon", "network", "qemu"], []]
    assert host.read("/var/log/policy").splitlines() == [
        "semodule -i /usr/share/selinux/packages/vfwhooks.cil",
        "setsebool -P virt_hooks_unconfined on",
        "semodule -r vfwhooks",
        "setsebool -P virt_hooks_unconfined off",
    ]


def follow(host: Host, loaded: Loaded, action: str, policy: Policy) -> None:
    """Have the kernel's stand-in load another policy when semodule is called."""

    def change() -> None:
        wait_until(host.path(f"/run/asked{action}").exists, "semodule is called")
        loaded.change(policy)
        host.write(f"/run/changed{action}", "")

    threading.Thread(target=change).start()
