"""install.sh beside what others have left or do at that moment: files in its places, a
second install.sh, a checkout among its releases, another shell."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from lab.box import Done, wait_until
from lab.host import HOOKS, Host
from product import CONFIG, DRIVERS, HERE, start_watch, stop_watch

OTHERS_HOOK = "#!/bin/sh\n# somebody else's\nexit 0\n"
LIST = r"""
find /etc /opt /srv /tmp /usr/bin /usr/lib/python3 /usr/lib/systemd /usr/lib/vfwhooks \
    /usr/local /usr/share /var/lib -path /srv/vfwhooks -prune -o \
    -printf '%p %y %m %s %l\n' 2>/dev/null | sed 's/ d \([0-9]*\) .*/ d \1/'
"""
# Stands in for a tool of install.sh's: the first one to call it has to wait.
SLOW_INSTALL = """\
#!/bin/sh
case $* in
*templates*)
    if mkdir /run/waits 2>/dev/null; then
        until [ -e /run/go-on ]; do sleep 0.1; done
    fi
    ;;
esac
exec /usr/bin/install "$@"
"""
SYSTEMCTL = '#!/bin/sh\necho "$*" >>/var/log/systemctl\n'
# What doctor says, of a guest with a strange name.
VERDICT = r"""#!/bin/sh
# vfwhooks: stands in for doctor
printf 'wrong  %s\n' 'a\c\033[31mb' another
exit 0
sys.path.insert(0, "/usr/lib/vfwhooks/1")
"""
READ_ONLY = f"""
mount --bind /etc/libvirt/hooks /etc/libvirt/hooks
mount -o remount,bind,ro /etc/libvirt/hooks
exec busybox sh {Host.CHECKOUT}/install.sh
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """A host on which libvirtd does not run."""
    with Host.debian13() as host:
        yield host


def install(host: Host, *arguments: str, checkout: str = Host.CHECKOUT) -> Done:
    """Run install.sh."""
    return host.call([f"{checkout}/install.sh", *arguments], timeout=120)


def files(host: Host) -> set[str]:
    """Everything that may have been put somewhere, or taken away."""
    return set(host.call(["sh", "-c", LIST]).stdout.splitlines())


def copy_checkout(host: Host, place: str) -> str:
    """A checkout of another release."""
    names = "install.sh", "hooks", "vfwhooks", "templates"
    host.run(["mkdir", "-p", place])
    host.run(["cp", "-r", *(f"{Host.CHECKOUT}/{name}" for name in names), place])
    host.run(["sh", "-c", f"echo '# another' >>{place}/vfwhooks/__init__.py"])
    return place


def test_two_at_once(host: Host) -> None:
    """The second one waits, and both end well: neither takes the other's files."""
    host.write("/usr/local/bin/install", SLOW_INSTALL, 0o755)
    other = copy_checkout(host, "/opt/other")
    done: list[Done] = []
    first, second = (
        threading.Thread(target=lambda at=at: done.append(install(host, checkout=at)))
        for at in (other, Host.CHECKOUT)
    )

    first.start()
    wait_until(host.path("/run/waits").exists, "the first one to be at work")
    second.start()
    # It has said so when it waits for good.
    wait_until(lambda: "flock 9" in host.run(["ps", "-eo", "args"]), "the second waits")
    host.write("/run/go-on", "")
    first.join()
    second.join()

    assert [(one.status, one.stderr) for one in done] == [(0, "")] * 2
    waited = "install.sh: another install.sh runs: this one waits for its end"
    assert [waited in one.stdout for one in done] == [False, True]
    assert host.call([f"{HOOKS}/qemu", "web1", "stopped", "end", "-"]).status == 0
    assert install(host, "--check").check().count("nothing is left to do") == 1


def test_both_places_of_a_hook_are_taken(host: Host) -> None:
    """A file of others stays, whatever its name is, and nothing is changed."""
    host.install_hooks({"qemu": OTHERS_HOOK, "qemu.d/vfwhooks": OTHERS_HOOK})
    before = files(host)

    done = install(host)

    assert (done.status, done.stdout, done.stderr) == (
        1,
        "",
        f"install.sh: {HOOKS}/qemu and {HOOKS}/qemu.d/vfwhooks are not ours: move one"
        " of them away, then run this again\n",
    )
    assert files(host) == before


def test_a_hook_that_cannot_be_replaced(host: Host) -> None:
    """libvirt runs every file in qemu.d/: no half of ours is ever left there."""
    host.install_hooks({"qemu": OTHERS_HOOK})
    install(host).check()
    ours = f"{HOOKS}/qemu.d/vfwhooks"
    host.run(["mount", "--bind", ours, ours])  # no file goes in its place then
    other = copy_checkout(host, "/opt/other")

    done = install(host, checkout=other)

    assert (done.status, "busy" in done.stderr) == (1, True)
    found = host.run(["find", HOOKS, "-type", "f", "-printf", "%P\n"]).split()
    assert sorted(found) == sorted(["qemu.d/vfwhooks", *DRIVERS])


def test_a_full_disk(host: Host) -> None:
    """What has been laid until then goes with a removal, and its directories."""
    host.run(["mkdir", "-p", HOOKS])
    host.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=755", "lab", HOOKS])
    host.write(f"{HOOKS}/full", 4096 * "x")
    before = files(host)

    done = install(host)
    install(host, "--uninstall").check()

    assert (done.status, files(host) ^ before) == (1, set())
    assert done.stderr.splitlines()[-1] == (
        "install.sh: it could not be tried whether libvirt may run hooks: see above"
    )


def test_check_leaves_nothing(host: Host) -> None:
    """Neither where it ends early, as an installation would."""
    host.install_hooks({"network": OTHERS_HOOK})
    old = "#!/bin/sh\necho 'libvirtd (libvirt) 6.4.0'\n"
    host.write("/usr/local/sbin/libvirtd", old, 0o755)
    before = files(host)

    done = install(host, "--check")

    assert (done.status, files(host)) == (1, before)


def test_a_translation_of_the_page(host: Host) -> None:
    """It stays over an upgrade, beside the page; a file of another release does not."""
    page = "/usr/share/cockpit/vfwhooks"
    install(host).check()
    host.run(["mkdir", f"{page}/sources"])
    for name in ("po.de.js", "sources/de.po", "former.js"):
        host.write(f"{page}/{name}", "")

    install(host).check()

    left = set(host.run(["find", page, "-type", "f", "-printf", "%P\n"]).split())
    ours = {one.name for one in (HERE / "cockpit").iterdir()}
    assert left - ours == {"po.de.js", "sources/de.po"}


@pytest.mark.parametrize("place", ["/usr/lib/vfwhooks", "/usr/lib/vfwhooks/src"])
def test_a_checkout_in_the_place_of_releases(host: Host, place: str) -> None:
    """Whatever is in there would go with an old release: the checkout is named, and
    stays, by whichever install.sh."""
    copy_checkout(host, place)
    before = files(host)

    runs = [
        install(host, *arguments, checkout=checkout)
        for checkout in (place, Host.CHECKOUT)
        for arguments in ((), ("--uninstall",))
    ]

    said = f"install.sh: {place} is a checkout in the place of releases: move it away,"
    assert [(one.status, one.stderr) for one in runs] == [
        (1, f"{said} then run this again\n")
    ] * 4
    assert files(host) == before


def test_a_verdict_is_printed_as_it_is(host: Host) -> None:
    """A backslash in a guest's name is one, in every shell."""
    host.write("/usr/bin/vfwhooks", VERDICT, 0o755)

    done = install(host, "--status")

    said = r"doctor: 2 findings, first: a\c\033[31mb; run vfwhooks doctor"
    assert done.stderr == f"install.sh: {said}\n"


def test_a_watch_beside_the_unit(host: Host) -> None:
    """A removal that a watch hinders has changed nothing: the service runs on."""
    host.run(["mkdir", "-p", "/run/systemd/system"])
    host.write("/usr/local/bin/systemctl", SYSTEMCTL, 0o755)
    install(host).check()
    start_watch(host, "/usr/bin/vfwhooks")
    host.run(["rm", "/var/log/systemctl"])
    before = host.run(["ls", HOOKS])

    done = install(host, "--uninstall")
    stop_watch(host)

    assert (done.status, host.read("/var/log/systemctl")) == (1, "")
    assert host.run(["ls", HOOKS]) == before


def test_a_relative_destdir(host: Host) -> None:
    """It is one of the working directory."""
    command = f"cd /opt && DESTDIR=package {Host.CHECKOUT}/install.sh"

    host.run(["timeout", "60", "sh", "-c", command])

    assert host.read(f"/opt/package{CONFIG}") != ""


def test_busybox_knows_what_is_read_only(host: Host) -> None:
    """To its [ root may write anywhere. No hook is laid there, and all else is."""
    host.run(["mkdir", "-p", HOOKS])

    done = host.call(["unshare", "--mount", "sh", "-ec", READ_ONLY], timeout=120)

    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == (
        f"install.sh: {HOOKS} is read-only: no hook is laid, the service follows"
        " libvirt's own files"
    )


def test_busybox_compares_versions(host: Host) -> None:
    """A recent libvirt runs our hook beside somebody else's."""
    host.install_hooks({"qemu": OTHERS_HOOK})

    done = host.call(["busybox", "sh", f"{Host.CHECKOUT}/install.sh"], timeout=120)

    assert (done.status, done.stderr) == (0, "")
    assert "qemu.d/vfwhooks" in host.run(["find", HOOKS, "-printf", "%P\n"])
