"""What the command line prints of a change and of an overview. Talks to nobody."""

from __future__ import annotations

from .elements import WHOLE
from .errors import show
from .overview import Overview
from .rehearsal import Outcome


def diff_lines(outcome: Outcome) -> list[str]:
    """The change, forward by forward, as + and - lines."""
    lines = []
    for sign, changed in (("-", outcome.removed), ("+", outcome.added)):
        guarded = {e.rpartition(" ")[0][6:] for _, e in changed if e[:6] == "guard "}
        for name, entry in changed:
            verb, _, host, *words = entry.split(" ")
            if verb == "snat":
                lines.append(f"{sign} {name} {host} → leaves from {words[0]}")
            elif verb == "masq":
                at = "" if host == "*" else f"{host} "
                lines.append(f"{sign} {name} {at}{_which(words)} → masqueraded")
            elif verb in ("back", "backany"):
                where = f"{host} {_which(words)}"
                lines.append(f"{sign} {name} {where} → answered by {words[3]}")
            elif verb == "mode":
                lines.append(f"{sign} {name} {host} → hairpin mode")
            is_claim = verb == "reject" and entry[7:] not in guarded
            if verb != "dnat" and not is_claim:
                continue
            protocol, first, last, *to = words
            ports = first if first == last else f"{first}-{last}"
            if protocol == WHOLE:
                where = f"{host} {WHOLE}"
                what = f"{name} {to[0]}" if to else f"rejected but for {name}"
                lines.append(f"{sign} {where} → {what}")
                continue
            at = "" if host == "*" else f"{host} "
            where = f"{at}{protocol} {ports}"
            if is_claim:
                lines.append(f"{sign} {where} → rejected while {name} is stopped")
            else:
                address = f"[{to[0]}]" if ":" in to[0] else to[0]
                lines.append(f"{sign} {where} → {name} {address}:{to[1]}")
    return list(dict.fromkeys(lines))


def _which(words: list[str]) -> str:
    protocol, first, last = words[:3]
    if protocol == WHOLE:
        return WHOLE
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def overview_lines(overview: Overview) -> list[str]:
    """The overview as `status` prints it: a line each, the forwards as a table."""
    lines = [f"hooks    {show(overview.hooks)}"] if overview.hooks else []
    lines += [f"backend  {overview.backend or 'none yet'}"]
    lines += [f"problem  {show(problem)}" for problem in overview.problems]
    rows = [("GUEST", "HOST", "PUBLISHED", "TARGET", "STATE", "CONNECTIONS", "")]
    for f in overview.forwards:
        to = f"{f.address or '-'} {f.target}"
        host, count = f.host_ip, str(f.connections)
        published = f"{f.published}/{f.protocol}"
        rows.append(
            (show(f.guest), host, published, to, f.state, count, show(f.reason))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows if overview.forwards else []:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append("  ".join([*cells, row[6]]).rstrip())
    return lines
