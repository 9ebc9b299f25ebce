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
