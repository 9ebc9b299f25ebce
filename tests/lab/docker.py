"""The rules of Docker 28, without Docker."""

from __future__ import annotations

from .host import Host

# For its default network, both families alike.
_RULES = """*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
COMMIT
"""

# For a port that a container on its default network publishes, as it prints them.
_NAT = """*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d {loopback} -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {subnet} ! -o docker0 -j MASQUERADE
-A DOCKER {rule}
COMMIT
"""
_RULE = "! -i docker0 -p {0} -m {0} --dport {1} -j DNAT --to-destination {2}"


def publish(host: Host, tool: str, port: int, to: str, protocol: str = "tcp") -> None:
    """Publish a container's port, by a tool as above; `to` is its address and port."""
    host.run([f"{tool}-restore", "-n"], input=_nat(port, to, protocol))


def unpublish(host: Host, tool: str, port: int, to: str, protocol: str = "tcp") -> None:
    """Take that out again, chain and all."""
    lines = _nat(port, to, protocol).replace("-A ", "-D ").splitlines()
    del lines[1]  # which would empty the chain
    lines[-1:] = ["-X DOCKER", "COMMIT", ""]
    host.run([f"{tool}-restore", "-n"], input="\n".join(lines))


def _nat(port: int, to: str, protocol: str) -> str:
    is_ipv6 = to.startswith("[")
    loopback = "::1/128" if is_ipv6 else "127.0.0.0/8"
    subnet = "fd00:17::/64" if is_ipv6 else "172.17.0.0/16"
    rule = _RULE.format(protocol, port, to)
    return _NAT.format(loopback=loopback, subnet=subnet, rule=rule)


def install_rules(host: Host, tool: str) -> None:
    """Install them by iptables, ip6tables or one of their variants."""
    host.run([f"{tool}-restore", "-n"], input=_RULES)


def remove_rules(host: Host, tool: str) -> None:
    """Take them out, and the policy with them; everybody else's rules stay."""
    lines = _RULES.splitlines()
    chains = [line[1:].split()[0] for line in lines if line.startswith(":DOCKER")]
    jumps = [line for line in lines if line.startswith("-A FORWARD")]
    script = ["*filter", ":FORWARD ACCEPT [0:0]"]
    script += [jump.replace("-A", "-D") for jump in jumps]
    script += [f"-{verb} {chain}" for verb in "FX" for chain in chains]
    host.run([f"{tool}-restore", "-n"], input="\n".join([*script, "COMMIT", ""]))
