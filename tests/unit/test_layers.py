"""Imports point down the layers only, heavy ones stay in one module each, and what the
start and stop path imports is counted."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from unit.builders import ANY_PYTHON, CHECKOUT

PACKAGE = CHECKOUT / "vfwhooks"
WORDS, PURE, HOST, DECIDE, USE, EDGE = range(6)
LAYERS = {
    # values, words and small files: used by everybody
    "__init__": WORDS,
    "errors": WORDS,
    "files": WORDS,
    "model": WORDS,
    # text or values in, values or text out
    "claims": PURE,
    "config": PURE,
    "cuts": PURE,
    "dnsmasq": PURE,
    "dnats": PURE,
    "domstatus": PURE,
    "elements": PURE,
    "entries": PURE,
    "entrytext": PURE,
    "findings": PURE,
    "forwards": PURE,
    "guestnames": PURE,
    "iprules": PURE,
    "ipscript": PURE,
    "iptdnats": PURE,
    "keys": PURE,
    "needs": PURE,
    "libvirtrules": PURE,
    "libvirtxml": PURE,
    "nftdnats": PURE,
    "plan": PURE,
    "portlist": PURE,
    "ports": PURE,
    "public": PURE,
    "portindex": PURE,
    "published": PURE,
    "records": PURE,
    "render": PURE,
    "schema": PURE,
    "settingstext": PURE,
    "slips": PURE,
    "spellings": PURE,
    "unreached": PURE,
    "values": PURE,
    # what touches the host: kernel, tools, libvirt, the state directory
    "backend": HOST,
    "bans": HOST,
    "basechains": HOST,
    "children": HOST,
    "compiled": HOST,
    "daemons": HOST,
    "denials": HOST,
    "doorbell": HOST,
    "flows": HOST,
    "foreign": HOST,
    "hairpin": HOST,
    "hostbridge": HOST,
    "holders": HOST,
    "hookfiles": HOST,
    "inotify": HOST,
    "inventory": HOST,
    "kept": HOST,
    "iptables": HOST,
    "iptools": HOST,
    "jumps": HOST,
    "leases": HOST,
    "libvirtd": HOST,
    "listeners": HOST,
    "localnet": HOST,
    "lock": HOST,
    "log": HOST,
    "monitor": HOST,
    "netlink": HOST,
    "nfnetlink": HOST,
    "nftables": HOST,
    "nftfib": HOST,
    "nftvariant": HOST,
    "obstacles": HOST,
    "policyrules": HOST,
    "process": HOST,
    "ringers": HOST,
    "routes": HOST,
    "schedule": HOST,
    "sdnotify": HOST,
    "selinux": HOST,
    "selinuxfs": HOST,
    "sessions": HOST,
    "spool": HOST,
    "state": HOST,
    "takenports": HOST,
    "waysback": HOST,
    # what is decided with what was found there
    "absent": DECIDE,
    "address": DECIDE,
    "compiler": DECIDE,
    "configuration": DECIDE,
    "conntrack": DECIDE,
    "events": DECIDE,
    "errands": DECIDE,
    "fit": DECIDE,
    "fittaken": DECIDE,
    "follower": DECIDE,
    "guestnews": DECIDE,
    "hookevents": DECIDE,
    "occasional": DECIDE,
    "planned": DECIDE,
    "planner": DECIDE,
    "reserve": DECIDE,
    "returnpath": DECIDE,
    "residents": DECIDE,
    "rivals": DECIDE,
    "services": DECIDE,
    "status": DECIDE,
    "takenwords": DECIDE,
    "takers": DECIDE,
    "unanswered": DECIDE,
    "watched": DECIDE,
    # the one use case, carried out, looked at or rehearsed
    "doctor": USE,
    "hookrights": DECIDE,
    "alone": USE,
    "hooktrial": USE,
    "explain": USE,
    "overview": USE,
    "reconcile": USE,
    "rehearsal": USE,
    "roads": USE,
    "shared": USE,
    "survey": USE,
    "takendoctor": USE,
    # what is called from outside
    "__main__": EDGE,
    "cli": EDGE,
    "report": EDGE,
    "hook": EDGE,
    "watch": EDGE,
}
# elements is pure and speaks the kernel's language: netlink's words, not its sockets.
WORDS_OF_NETLINK = {"attribute", "attributes", "each", "named", "nested"}
HEAVY = {
    "ctypes": {"inotify", "rehearsal"},
    "jinja2": {"render"},
    "libvirt": {"libvirtd"},
    "lxml": {"libvirtxml"},
    "xml": {"libvirtxml"},
    "subprocess": {"children"},
    "yaml": {"config"},
}
# What every hook of ours loads: it may find a service that does the rest.
CLIENT_OF_PYTHON = {"_socket", "errno", "faulthandler", "syslog"}
CLIENT = {"doorbell", "files", "hook", "spool"}
# What a hook without a service need not load either.
TOO_DEAR = [
    "argparse",
    "hashlib",
    "jinja2",
    "json",
    "libvirt",
    "logging",
    "shutil",
    "subprocess",
    "tempfile",
    "threading",
    "yaml",
]


def tree(module: str) -> ast.Module:
    """A module's source, parsed."""
    return ast.parse((PACKAGE / f"{module}.py").read_text())


def imports(module: str) -> Iterator[tuple[str, set[str]]]:
    """Our modules that a module imports, anywhere in it, and what of each."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = {alias.name for alias in node.names}
            if node.module:
                yield node.module, names
            else:
                yield from ((name, {name}) for name in names if name in LAYERS)


def foreign(module: str) -> set[str]:
    """Whatever else it imports, by its first name."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def loaded(statement: str) -> set[str]:
    """The modules that a statement loads, run as the gate runs Python."""
    script = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); "
        f"{statement}; print(*set(sys.modules) - before)"
    )
    argv = [ANY_PYTHON, "-IX", "utf8", "-c", script, str(CHECKOUT)]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    return set(done.stdout.split())


def test_every_module_has_a_layer() -> None:
    """A new module says where it belongs."""
    found = {path.stem for path in PACKAGE.glob("*.py")}

    assert found == set(LAYERS)


@pytest.mark.parametrize("module", LAYERS)
def test_imports_point_down(module: str) -> None:
    """Nothing imports what is above it."""
    wrong = [
        other
        for other, names in imports(module)
        if LAYERS[other] > LAYERS[module]
        and not (
            (module, other) == ("elements", "netlink") and names <= WORDS_OF_NETLINK
        )
    ]

    assert wrong == []


def test_imports_never_go_round() -> None:
    """Within a layer too: taken away one by one, no module is left."""
    needs = {module: {other for other, _ in imports(module)} for module in LAYERS}
    while free := {
        module for module, others in needs.items() if not others & set(needs)
    }:
        needs = {
            module: others for module, others in needs.items() if module not in free
        }

    assert needs == {}


@pytest.mark.parametrize(("name", "modules"), HEAVY.items())
def test_heavy_imports_live_in_one_module(name: str, modules: set[str]) -> None:
    """What is dear to import, or not ours to rely on, is imported where it is used."""
    found = {module for module in LAYERS if name in foreign(module)}

    assert found == modules


def test_libvirt_is_imported_by_one_function() -> None:
    """Whoever does not ask libvirtd does not load its library."""
    functions = [
        function.name
        for function in ast.walk(tree("libvirtd"))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import) and node.names[0].name == "libvirt"
    ]

    assert functions == ["_libvirt"]


def on_top(statement: str, before: str) -> set[str]:
    """The modules that a statement loads behind another one."""
    return loaded(f"{before}; before = set(sys.modules); {statement}")


def of_ours(names: Iterable[str]) -> set[str]:
    """Modules of the package, as Python calls them."""
    return {f"vfwhooks.{name}" for name in names}


def test_what_every_hook_imports() -> None:
    """Every module of it costs every start of every guest: the list is pinned."""
    found = loaded("import vfwhooks.hook")

    assert found == {"vfwhooks"} | of_ours(CLIENT) | CLIENT_OF_PYTHON


def test_what_the_iptables_backend_imports_on_top() -> None:
    """Seven modules of ours, and nothing of Python's."""
    found = on_top("import vfwhooks.iptables", "import vfwhooks.alone")

    names = {"iprules", "ipscript", "iptables", "iptools", "jumps", "libvirtrules"}
    assert found == of_ours({*names, "nftvariant"})


@pytest.mark.parametrize("name", TOO_DEAR)
def test_what_a_hook_without_a_service_does_not_import(name: str) -> None:
    """Whatever Python's own modules come to import: these are too dear."""
    assert name not in LOADED


LOADED = loaded("import vfwhooks.hook, vfwhooks.alone, vfwhooks.iptables")


def test_modules_are_not_long() -> None:
    """A module has one reason to change, and about 300 lines at most."""
    long = {
        path.name: lines
        for path in Path(PACKAGE).glob("*.py")
        if (lines := len(path.read_text().splitlines())) > 320
    }

    assert long == {}
