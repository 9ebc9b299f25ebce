"""inventory: what libvirt leaves on disk. The kernel's part is tested in a kernel."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from unit.builders import MAC, OTHER_MAC, RECORDED, addresses, fields, network, refusal
from unit.netlinks import Link
from vfwhooks.host.netlink import Netlink
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.values.published import parse_address

FAR = 4_000_000_000
RUN = "run/libvirt/network"
STATUS = "var/lib/libvirt/dnsmasq/virbr0.status"
XML = (RECORDED / "libvirt-9.0/run-libvirt-network-default.xml").read_text()
RESERVED = network(reservations={MAC: ["192.168.122.10"]})


def host(root: Path, **files: str) -> Inventory:
    """A host whose files are below `root`; "_" in a name stands for "/"."""
    for name, text in files.items():
        put(root, name, text)
    return Inventory(f"{root}/networks", str(root))


def put(root: Path, name: str, text: str, age: int = 0) -> None:
    """A file that was changed `age` seconds before others."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))


def lease(address: object, expiry: object = FAR, mac: object = MAC) -> object:
    """One of the leases in a status file."""
    return {"ip-address": address, "mac-address": mac, "expiry-time": expiry}


def leases(root: Path, *known: object) -> list[tuple[int, str]]:
    """What a status file that holds these says of our MAC."""
    put(root, STATUS, json.dumps(list(known)))
    return asked(host(root))


def asked(inventory: Inventory) -> list[tuple[int, str]]:
    """Expiry and address of our MAC's leases."""
    return [(expiry, str(one)) for expiry, one in inventory.leases("virbr0", MAC)]


def test_network_as_libvirt_left_it(tmp_path: Path) -> None:
    """libvirt's live status file, reservations included."""
    put(tmp_path, f"{RUN}/default.xml", XML)

    found = host(tmp_path).network("default")

    assert fields(found) == fields(RESERVED)


def test_network_from_another_directory(tmp_path: Path) -> None:
    """Distributions differ in where libvirt keeps its status files."""
    put(tmp_path, "var/lib/libvirt/network/default.xml", XML)

    found = host(tmp_path).network("default")

    assert fields(found) == fields(RESERVED)


def test_network_that_nobody_knows(tmp_path: Path) -> None:
    """No file, no network."""
    found = host(tmp_path).network("default"), host(tmp_path).names()

    assert found == (None, [])


def test_what_the_hook_was_told_counts_before_libvirt_has_written(
    tmp_path: Path,
) -> None:
    """libvirt writes its own file when its hook has ended: the newer one counts."""
    put(tmp_path, f"{RUN}/default.xml", XML, age=5)
    told = (RECORDED / "libvirt-9.0/network-started.xml").read_text()
    put(tmp_path, "networks/default", told.replace("122.10", "122.77"))

    found = host(tmp_path).network("default")

    assert found and found.reservations == {MAC: addresses("192.168.122.77")}


def test_libvirts_file_counts_once_it_is_newer(tmp_path: Path) -> None:
    """What the hook was told goes stale."""
    put(tmp_path, f"{RUN}/default.xml", XML)
    told = (RECORDED / "libvirt-9.0/network-started.xml").read_text()
    put(tmp_path, "networks/default", told.replace("122.10", "122.77"), age=5)

    found = host(tmp_path).network("default")

    assert found and found.reservations == {MAC: addresses("192.168.122.10")}


def test_a_network_that_was_stopped(tmp_path: Path) -> None:
    """An empty note is newer than the file that libvirt has not removed yet."""
    put(tmp_path, f"{RUN}/default.xml", XML, age=5)
    put(tmp_path, "networks/default", "")

    found = host(tmp_path).network("default")

    assert found is None


def test_a_network_is_read_once(tmp_path: Path) -> None:
    """An inventory is a look at one moment."""
    put(tmp_path, f"{RUN}/default.xml", XML)
    inventory = host(tmp_path)
    first = inventory.network("default")
    shutil.rmtree(tmp_path / "run")

    second = inventory.network("default")

    assert second is first is not None


def test_names(tmp_path: Path) -> None:
    """All networks that were noted or that libvirt has, by name."""
    put(tmp_path, f"{RUN}/default.xml", XML)
    put(tmp_path, f"{RUN}/default.pid", "")
    put(tmp_path, "networks/my%20net", "")
    put(tmp_path, "networks/default", "")

    found = host(tmp_path).names()

    assert found == ["default", "my net"]


def test_a_foreign_file_among_the_notes(tmp_path: Path) -> None:
    """A file that no release of ours has named takes nothing else down."""
    put(tmp_path, "networks/100%sure", "")
    put(tmp_path, f"{RUN}/default.xml", XML)

    found = "default" in host(tmp_path).names()

    assert found


def test_network_of_a_bridge(tmp_path: Path) -> None:
    """The active network that has the bridge."""
    put(tmp_path, f"{RUN}/a.xml", XML.replace("virbr0", "virbr7"))
    put(tmp_path, f"{RUN}/b.xml", XML)
    inventory = host(tmp_path)

    found = [inventory.network_of(name) for name in ("virbr0", "br-lan")]

    assert found == [inventory.network("b"), None]


def test_a_status_file_that_is_no_xml(tmp_path: Path) -> None:
    """A network whose file is broken says so; it is not taken for a stopped one."""
    put(tmp_path, f"{RUN}/default.xml", "<networkstatus>")

    said = refusal(host(tmp_path).network, "default")

    assert said == "the XML is malformed: no element found: line 1, column 15"


def test_the_latest_lease_is_the_first(tmp_path: Path) -> None:
    """One MAC can hold several: firmware and operating system differ."""
    found = leases(
        tmp_path,
        lease("192.168.122.20", FAR),
        lease("192.168.122.21", FAR + 5),
        lease("192.168.122.22", FAR + 1),
    )

    assert found == [
        (FAR + 5, "192.168.122.21"),
        (FAR + 1, "192.168.122.22"),
        (FAR, "192.168.122.20"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "virbr0.status",
            f'[{{"ip-address": "@", "mac-address": "{MAC}", "expiry-time": 0}}]',
        ),
        ("default.leases", f"0 {MAC} @ * *\n"),
    ],
)
def test_leases_are_read_once(tmp_path: Path, name: str, text: str) -> None:
    """However many guests ask for theirs, until the host is looked at anew."""
    put(tmp_path, f"{RUN}/default.xml", XML)
    inventory, found = host(tmp_path), []

    for address in ("192.168.122.20", "192.168.122.21"):
        put(tmp_path, STATUS.replace("virbr0.status", name), text.replace("@", address))
        found += [where for _, where in asked(inventory)]
    inventory.look_anew()
    found += [where for _, where in asked(inventory)]

    assert found == ["192.168.122.20", "192.168.122.20", "192.168.122.21"]


def test_leases_without_end_by_address(tmp_path: Path) -> None:
    """As numbers, not as text."""
    found = leases(tmp_path, lease("192.168.122.100", 0), lease("192.168.122.99", 0))

    assert [address for _, address in found] == ["192.168.122.99", "192.168.122.100"]


def test_expired_leases_do_not_count(tmp_path: Path) -> None:
    """A lease stays on file after its guest is gone."""
    found = leases(tmp_path, lease("192.168.122.20", 1_600_000_000))

    assert found == []


def test_a_lease_without_an_end(tmp_path: Path) -> None:
    """dnsmasq writes 0 for an infinite lease; nothing expires later."""
    found = leases(tmp_path, lease("192.168.122.20"), lease("192.168.122.21", 0))

    assert [address for _, address in found] == ["192.168.122.21", "192.168.122.20"]


def test_leases_of_others_do_not_count(tmp_path: Path) -> None:
    """Leases count by MAC, in whatever case it is written."""
    found = leases(
        tmp_path,
        lease("192.168.122.20", mac=OTHER_MAC),
        lease("192.168.122.21", mac=MAC.upper()),
        lease("192.168.122.22", mac=MAC),
    )

    assert found == [(FAR, "192.168.122.21"), (FAR, "192.168.122.22")]


def test_an_ipv6_lease_is_canonical(tmp_path: Path) -> None:
    """Addresses are compared as the kernel writes them."""
    found = leases(tmp_path, lease("FD00:122:0:0::10"))

    assert found == [(FAR, "fd00:122::10")]


@pytest.mark.parametrize(
    "broken",
    [
        "no lease",
        None,
        7,
        {},
        lease(None),
        lease("null"),
        lease(""),
        lease(7),
        lease("192.168.122.20", "soon"),
        lease("192.168.122.20", None),
        lease("192.168.122.20", [FAR]),
        lease("192.168.122.20", mac=None),
        lease("192.168.122.20", mac=[MAC]),
    ],
)
def test_a_broken_lease_is_passed_over(tmp_path: Path, broken: object) -> None:
    """`null` is no address: what is no lease hides no other one."""
    found = leases(tmp_path, broken, lease("192.168.122.21"))

    assert found == [(FAR, "192.168.122.21")]


@pytest.mark.parametrize("text", ["{}", '"52:54:00:00:00:10"', "[]", ""])
def test_a_file_without_leases(tmp_path: Path, text: str) -> None:
    """A status file of another shape holds no lease."""
    put(tmp_path, STATUS, text)

    found = asked(host(tmp_path))

    assert found == []


def test_no_status_file(tmp_path: Path) -> None:
    """A network without DHCP has none."""
    found = asked(host(tmp_path))

    assert found == []


def test_a_status_file_that_is_no_json(tmp_path: Path) -> None:
    """The file is named."""
    put(tmp_path, STATUS, f'[{{"mac-address": "{MAC}"')

    said = refusal(host(tmp_path).leases, "virbr0", MAC)

    assert said.startswith(f"{tmp_path}/{STATUS}: Expecting")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_not_the_hosts(tmp_path: Path, address: str) -> None:
    """The host's own loopback stays its own; the kernel is not asked."""
    found = host(tmp_path).is_local(parse_address(address))

    assert found is False


OLD_XML = """\
<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0' />
  <ip address='192.168.122.1' netmask='255.255.255.0'/>
</network>
"""
OLD = "var/lib/libvirt/network/default.xml"
DNSMASQS = "var/lib/libvirt/dnsmasq/default.leases"


def test_network_as_old_libvirt_left_it(tmp_path: Path) -> None:
    """Before 1.2.4: in another directory, and the network with nothing around it."""
    put(tmp_path, OLD, OLD_XML)

    found = host(tmp_path).network_of("virbr0")

    assert fields(found) == fields(network())


def test_leases_of_dnsmasq(tmp_path: Path) -> None:
    """Before 1.2.6 its own file, named by the network, is all there is."""
    put(tmp_path, OLD, OLD_XML)
    put(
        tmp_path,
        DNSMASQS,
        f"{FAR} {MAC.upper()} 192.168.122.50 web1 *\n"
        f"{FAR} {OTHER_MAC} 192.168.122.51 mail *\n"
        f"1600000000 {MAC} 192.168.122.52 web1 *\n"
        f"0 {MAC} 192.168.122.53 web1 *\n"
        f"{FAR} {MAC} 192.168.122.999 web1 *\n",
    )

    found = asked(host(tmp_path))

    assert found == [(1 << 62, "192.168.122.53"), (FAR, "192.168.122.50")]


def test_leases_that_libvirt_forgot_to_renew(tmp_path: Path) -> None:
    """1.2.6 has both files, and its own does not hear of renewals."""
    put(tmp_path, OLD, OLD_XML)
    put(tmp_path, DNSMASQS, f"{FAR} {MAC} 192.168.122.50 web1 *\n")

    found = leases(tmp_path, lease("192.168.122.50", 1_600_000_000))

    assert found == [(FAR, "192.168.122.50")]


def test_leases_of_libvirt_come_first(tmp_path: Path) -> None:
    """What dnsmasq left there before an upgrade does not count."""
    put(tmp_path, OLD, OLD_XML)
    put(tmp_path, DNSMASQS, f"{FAR} {MAC} 192.168.122.50 web1 *\n")

    found = leases(tmp_path, lease("192.168.122.60"))

    assert found == [(FAR, "192.168.122.60")]


def test_dnsmasqs_file_of_a_bridge_that_is_no_networks(tmp_path: Path) -> None:
    """A bridge of the administrator's has no leases of libvirt's."""
    put(tmp_path, DNSMASQS, f"{FAR} {MAC} 192.168.122.50 web1 *\n")

    found = asked(host(tmp_path))

    assert found == []


@pytest.mark.parametrize("directory", ["misc", "dnsmasq"])
def test_leases_where_dnsmasq_has_them(tmp_path: Path, directory: str) -> None:
    """libvirt before 0.8.8 or so does not say where: one file for all networks."""
    put(tmp_path, OLD, OLD_XML)
    file = f"var/lib/{directory}/dnsmasq.leases"
    put(tmp_path, file, f"{FAR} {MAC} 192.168.122.50 web1 *\n")

    found = asked(host(tmp_path))

    assert found == [(FAR, "192.168.122.50")]


@pytest.mark.parametrize("directory", ["misc", "dnsmasq"])
def test_leases_on_a_bridge_that_forwards_yaml_names(
    tmp_path: Path, directory: str
) -> None:
    """The host's own dnsmasq may serve it, with the file that it has by itself."""
    file = f"var/lib/{directory}/dnsmasq.leases"
    put(tmp_path, file, f"0 {MAC} 10.9.0.51 inner *\n")
    found = host(tmp_path)
    found.know_bridges(["br-nat"])

    its = [found.leases(bridge, MAC) for bridge in ("br-nat", "br-other")]

    assert its == [[(1 << 62, parse_address("10.9.0.51"))], []]


class Bridged(Inventory):
    """A host where every interface has the number 7, and the kernel has no address."""

    def index(self, interface: str) -> int:
        return 7

    @property
    def route(self) -> Netlink:
        return Link()


def test_bridges_that_stand_in_the_file(tmp_path: Path) -> None:
    """They are among the networks by names of their own, but for libvirt's, and are no
    networks of libvirt's."""
    put(tmp_path, f"{RUN}/default.xml", XML)
    found = Bridged(f"{tmp_path}/networks", str(tmp_path))

    before = found.names()
    found.know_bridges(["virbr0", "br-nat"])

    own = found.network("/bridge:br-nat")
    assert (before, found.names()) == (["default"], ["default", "/bridge:br-nat"])
    assert own and (own.bridge, own.mode, found.network_of("br-nat")) == (
        "br-nat",
        "open",
        None,
    )


def test_a_host_without_networks(tmp_path: Path) -> None:
    """A bridge of its own is none that tells which backend libvirt uses."""
    found = Bridged(f"{tmp_path}/networks", str(tmp_path))
    found.know_bridges(["br-nat"])

    assert (found.has_networks(), found.bridges()) == (False, {7: []})
