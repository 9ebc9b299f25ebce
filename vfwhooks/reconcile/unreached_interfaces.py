"""Why no forward leads to an interface: it is on no libvirt network, or on a host
bridge that leads nowhere."""

from ..values.guests import Network, Nic

# Interfaces that make the guest a host on the LAN: this host is not in its way.
_ON_THE_LAN = "direct", "hostdev", "vdpa"
_CURE = "an interface of type network can be"
_PASST = "passt's portForward does that"
_NEVER = {
    "user": f"user network; {_PASST}",
    "passt": f"user network; {_PASST}",
    "vhostuser": "its packets go to another process, past the kernel; forward there",
    "ethernet": "its device is whoever's who made it; forward there, or plug it into a "
    "network of libvirt's",
    "udp": f"a tunnel to another process; {_CURE}",
    "mcast": f"a tunnel to other guests; {_CURE}",
    "server": f"a tunnel to another guest; {_CURE}",
    "client": f"a tunnel to another guest; {_CURE}",
    "internal": f"a network inside of another program; {_CURE}",
    "null": f"it is connected to nothing; {_CURE}",
}
_SHOWN = {"user": "user network", "passt": "user network, passt"}


def why_unreached(nic: Nic, network: "Network | None") -> str:
    """The reason; `network` is the interface's network, which leads outside, if any."""
    bridge = network.bridge if network else nic.bridge
    is_bridge = network.mode == "bridge" if network else nic.kind == "bridge"
    if is_bridge and bridge:
        what = f"bridge {bridge} is the host's own, not a network of libvirt's"
        cure = "on the LAN the guest is reached at its own address, without forwards"
        return (
            f"interface {nic.mac}: {what}: {cure}; behind NAT, write bridge: {bridge}"
        )
    if network or nic.kind in _ON_THE_LAN:
        what = f"mode {network.mode}" if network else nic.kind
        where = "is reached without forwards, at its own address on the LAN"
        return f"interface {nic.mac} ({what}) {where}"
    why = _NEVER.get(nic.kind, f"it is on no network of libvirt's; {_CURE}")
    shown = _SHOWN.get(nic.kind, nic.kind)
    return f"interface {nic.mac} ({shown}) cannot be forwarded to: {why}"


def why_no_bridge(bridge: str, own: "Network | None") -> str:
    """Why no forward can lead to a bridge that forwards.yaml names; '' if one can."""
    if own is None:
        return f"bridge {bridge} is not there; forwards come with it"
    if not own.subnets:
        what = f"the host has no address on bridge {bridge}"
        cure = "on the LAN the guest is reached at its own address, without forwards"
        return f"{what}: {cure}; behind NAT, give {bridge} the guests' gateway address"
    return ""
