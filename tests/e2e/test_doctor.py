"""doctor and explain on a host with libvirtd: what is well, what is not, and why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.host import HOOKS, Host
from lab.network import default_network, mac_for
from lab.service import serving
from product import CONFIG, call_hook, configure, domain_xml, put_in, vfwhooks

from .conftest import KINDS

FORWARDS = """guests:
  web1:
    ports: [8080:80, 9000-9001:90-91/udp]
    address: 192.168.122.10
  off: [99]
"""
NO_WATCH = (
    "note   watch does not run: edits and late addresses wait for the next event; "
    "start: vfwhooks watch"
)
NOBODY = "and libvirt has no such guest; virsh list --all shows who there is"
STILL = "wrong  web1 does not run and is still recorded; run: vfwhooks apply"


@pytest.fixture(
    scope="module", params=["libvirt-9.0-iptables", "libvirt-11.3-nftables"]
)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with a stand-in that only our hook has heard of."""
    with KINDS[request.param]() as host:
        put_in(host, FORWARDS)
        host.start_libvirtd()
        host.start_network(default_network())
        xml = domain_xml("web1", mac_for(10))
        call_hook(host, "qemu", "web1", "started", "begin", "-", xml=xml)
        yield host


@pytest.fixture(scope="module")
def backend(host: Host) -> str:
    """The backend of the host's libvirt."""
    return host.firewall_backend


def doctor(host: Host) -> tuple[int, list[str]]:
    """Exit status and lines; what the machine's kernel says of bridges left out."""
    done = vfwhooks(host, "doctor")
    lines = [ln for ln in done.stdout.splitlines() if "br_netfilter" not in ln]
    return done.status, lines


def test_a_sound_host(host: Host, backend: str) -> None:
    """All that was looked at; a guest that libvirtd does not know is no secret."""
    found = doctor(host)

    assert found == (
        1,
        [
            f"ok     {CONFIG}",
            f"ok     hooks in {HOOKS}",
            f"ok     backend {backend}, beside libvirt's rules",
            "ok     nobody else drops what is forwarded",
            "ok     no rule of others takes a published port",
            NO_WATCH,
            STILL,
            f"note   forwards.yaml names off, {NOBODY}",
            f"note   forwards.yaml names web1, {NOBODY}",
        ],
    )


def test_a_host_without_a_fault(host: Host) -> None:
    """Exit 0 when nothing is wrong."""
    xml = domain_xml("web1", mac_for(10))
    call_hook(host, "qemu", "web1", "stopped", "end", "-")

    status, lines = doctor(host)
    call_hook(host, "qemu", "web1", "started", "begin", "-", xml=xml)

    assert (status, [line for line in lines if line[:5] == "wrong"]) == (0, [])


def test_a_broken_configuration(host: Host) -> None:
    """Exit 2, as check does."""
    configure(host, "guests: [\n")

    status, lines = doctor(host)
    configure(host, FORWARDS)

    said = f"wrong  {CONFIG} has a problem; run: vfwhooks check"
    assert (status, lines[0]) == (2, said)


def test_an_unsound_host(host: Host, backend: str) -> None:
    """Hooks, rights, guests, rules: each with what to do about it."""
    guest = host.define_guest("web2", mac=mac_for(11))
    twin = host.define_guest("web3", mac=mac_for(11))
    configure(host, FORWARDS + "  web2: [83]\n")
    host.run(["mv", f"{HOOKS}/qemu", "/tmp/qemu"])
    host.run(["chmod", "a-x,g+w", f"{HOOKS}/network"])
    host.run(["chmod", "777", "/etc/vfwhooks"])
    host.sighup()
    guest.start()
    twin.start()

    status, lines = doctor(host)
    guest.destroy()
    twin.destroy()
    host.run(["mv", "/tmp/qemu", f"{HOOKS}/qemu"])
    host.run(["chmod", "755", f"{HOOKS}/network", "/etc/vfwhooks"])
    host.sighup()
    configure(host, FORWARDS)

    d, network = "/etc/vfwhooks", f"{HOOKS}/network"
    cure = f"run: chown root {d} && chmod go-w {d}"
    assert (status, [line for line in lines if line[:5] == "wrong"]) == (
        1,
        [
            f"wrong  {CONFIG} is not in force as it is; run: vfwhooks apply",
            f"wrong  {d} can be written by others than root; {cure}",
            f"wrong  no qemu hook of vfwhooks in {HOOKS};"
            " install.sh lays those that libvirt may run",
            f"wrong  {network} is not executable: libvirt does not call it;"
            f" run: chmod 755 {network}",
            f"wrong  {network} can be written by others; run: chmod go-w {network}",
            "wrong  web2 runs and is not forwarded to; run: vfwhooks apply",
            STILL,
            f"wrong  web2 and web3 have one MAC, {mac_for(11)}; give each its own",
        ],
    )


def test_names_that_only_libvirt_knows(host: Host) -> None:
    """check asks of a guest that is called like a key unless libvirt has it, and both
    it and doctor say that a name and a UUID are one guest's."""
    guests = [host.define_guest(name, mac=mac_for(12)) for name in ("target", "web4")]
    uuid = guests[1].uuid
    configure(host, f"guests: {{web4: [84], target: [85], ports: [86], {uuid}: [87]}}")

    said = vfwhooks(host, "check").stderr.splitlines()
    _, lines = doctor(host)
    for guest in guests:
        guest.undefine()
    configure(host, FORWARDS)

    twice = f"{uuid} is web4, which stands in {CONFIG}:1:10 already: one guest"
    asked = "a guest called ports; is this a key of web4? then indent it"
    assert (said, [line for line in lines if "one guest" in line]) == (
        [
            f"{CONFIG}:1:36: warning: {asked}",
            f"{CONFIG}:1:49: warning: {twice}; write it once",
        ],
        [f"note   {CONFIG}:1:49: {twice}; write it once"],
    )


def test_rules_that_are_gone(host: Host, backend: str) -> None:
    """libvirt's rules, flushed, are missed."""
    if backend == "nftables":
        host.run(["nft", "delete", "table", "ip", "libvirt_network"])
        missing = "ip libvirt_network, ip6 libvirt_network"
        host.run(["nft", "delete", "table", "ip6", "libvirt_network"])
    else:
        host.run(["iptables", "-F", "FORWARD"])
        missing = "FORWARD"

    _, lines = doctor(host)
    host.restart_libvirtd()

    cure = "restart libvirtd (virtnetworkd, where it runs)"
    wanted = f"wrong  libvirt's rules are missing ({missing}); {cure}"
    assert [line for line in lines if "missing" in line] == [wanted]


def explained(host: Host, about: str) -> tuple[int, list[str]]:
    """Exit status and lines."""
    done = vfwhooks(host, "explain", about)
    return done.status, done.stdout.splitlines()


def test_explain_a_port(host: Host, backend: str) -> None:
    """The forward, where it is written, what the kernel holds, and the way."""
    xml = domain_xml("web1", mac_for(10))
    call_hook(host, "qemu", "web1", "reconnect", "begin", "-", xml=xml)

    found = explained(host, "8080")

    assert found == (
        0,
        ["8080/tcp → web1 192.168.122.10:80: active", *EXPLAINED[backend]],
    )


OWNER = "azPsE5bWRYG8Lzje551a5Q"  # the guest's UUID, as iptables' chains have it
COMMENT = "-m comment --comment 6b33ec13-96d6-4581-bc2f-38dee79d5ae5"
EXPLAINED = {
    "nftables": [
        f"  written  {CONFIG}:3:13",
        "  kernel   inet vfwhooks dnat4_any: "
        "dnat 4 * tcp 8080 8080 192.168.122.10 80: there",
        "           ip libvirt_network vfwhooks: accept 4 192.168.122.10: there",
        "  way      inet vfwhooks publish4 → ip libvirt_network forward → virbr0",
    ],
    "iptables": [
        f"  written  {CONFIG}:3:13",
        f"  kernel   nat VFW-A-{OWNER} "
        "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.122.10:80: there",
        "           filter VFW-FORWARD -d 192.168.122.10/32 "
        f"-m conntrack --ctstate DNAT --ctdir ORIGINAL {COMMENT} -j ACCEPT: there",
        "           filter VFW-FORWARD -s 192.168.122.10/32 "
        f"-m conntrack --ctstate DNAT --ctdir REPLY {COMMENT} -j ACCEPT: there",
        "  way      nat VFW-PUBLISH → filter VFW-FORWARD → virbr0",
        "  then     ip filter FORWARD",
    ],
}


def test_explain_what_is_not_forwarded(host: Host) -> None:
    """A guest that is off, a port of the host's own (its protocol in capitals), and
    what is neither."""
    with serving(host, "nginx", 9999) as pid:
        found = [explained(host, about) for about in ("off", "9999/TCP", "nobody")]

    assert found == [
        (
            1,
            [
                "99/tcp → off:99: stopped",
                f"  written  {CONFIG}:5:9",
                "  why      the guest is not running",
            ],
        ),
        (
            1,
            [
                "9999/tcp: nobody publishes it",
                f"  nginx (pid {pid}) listens on tcp 0.0.0.0:9999",
            ],
        ),
        (1, []),
    ]


def test_explain_a_conflict(host: Host, backend: str) -> None:
    """Why a forward of a guest's is not in force; the others of it are left out."""
    with serving(host, "nginx", 8081) as pid:
        configure(host, FORWARDS.replace("8080:80", "8081:80"))
        xml = domain_xml("web1", mac_for(10))
        call_hook(host, "qemu", "web1", "reconnect", "begin", "-", xml=xml)
        status, lines = explained(host, "8081/tcp")

    why = f"nginx (pid {pid}) listens on tcp 0.0.0.0:8081; publish another port of the"
    why += " host, 2222:22 say; or over_listener: true, which"
    assert (status, lines[:3]) == (
        1,
        [
            "8081/tcp → web1 192.168.122.10:80: conflict",
            f"  written  {CONFIG}:3:13",
            f"  why      {why} takes it from the service",
        ],
    )
