"""A guest of a user's own libvirt (qemu:///session), as a desktop has it: no hook is
called for it, and whoever asks hears so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from product import configure, put_in, status

from e2e.cures import cures, in_checkout

KINDS: dict[str, Callable[[], Host]] = {
    "libvirt-9.0": Host.debian12,
    "libvirt-11.3": Host.debian13,
}
UID = 65534
DOMAIN = """
<domain type='qemu'>
  <name>desktop</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><interface type='user'/></devices>
</domain>
"""
PLACES = {
    "with a login": {"HOME": "/home/joe", "XDG_RUNTIME_DIR": f"/run/user/{UID}"},
    "without one": {"HOME": "/home/joe"},
}
WHY = (
    "it runs in qemu:///session of nobody, where no hook is called; define it in "
    "qemu:///system"
)


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with the product and its own libvirtd."""
    with KINDS[request.param]() as host:
        put_in(host, "guests:\n  desktop: [8080:80]\n")
        host.start_libvirtd()
        host.start_network()
        for directory in ("/home/joe", f"/run/user/{UID}"):
            host.run(["install", "-d", "-m", "700", "-o", str(UID), directory])
        yield host


@pytest.mark.parametrize("how", PLACES)
@cures("guest-in-session", "guest-elsewhere")
def test_a_guest_of_a_user(host: Host, how: str) -> None:
    """status and doctor say where it runs while it does, and not any more then."""
    words = [f"{name}={value}" for name, value in PLACES[how].items()]
    user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    session = [*user, "env", "-u", "XDG_RUNTIME_DIR", *words]
    virsh = [*session, "virsh", "-q", "-c", "qemu:///session"]

    host.write("/tmp/desktop.xml", DOMAIN)
    host.run([*session, "libvirtd", "-d"])
    wait_until(lambda: host.call([*virsh, "uri"]).status == 0, "it answers")
    host.run([*virsh, "define", "/tmp/desktop.xml"])
    host.run([*virsh, "start", "desktop", "--paused"])
    reasons = {row["reason"] for row in status(host)["forwards"]}
    doctor = in_checkout(host)
    here = doctor.until_gone("guest-in-session")
    with here as [found], doctor.until_gone("guest-elsewhere", about=("desktop",)):
        host.run([*virsh, "destroy", "desktop"])
    later = {row["reason"] for row in status(host)["forwards"]}
    configure(host, "guests: {}\n")

    assert (reasons, found["evidence"]) == ({WHY}, WHY)
    assert later == {"the guest is not running"}
