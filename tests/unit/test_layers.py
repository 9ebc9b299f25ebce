"""Imports point down the rooms only, heavy ones stay in one module each, and what the
start and stop path imports is counted."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from unit.builders import ANY_PYTHON, CHECKOUT

PACKAGE = CHECKOUT / "vfwhooks"
# From top to bottom: a room imports from itself and from those below it.
ROOMS = (
    "cli",
    "service",
    "diagnosis",
    "installation",
    "importers",
    "reconcile",
    "config",
    "foreign",
    "rulesets",
    "firewall",
    "libvirt",
    "store",
    "host",
    "values",
)
HEAVY = {
    "ctypes": {"host.inotify", "cli.dry_run"},
    "jinja2": {"firewall.base_ruleset"},
    "libvirt": {"libvirt.client"},
    "lxml": {"libvirt.xml", "libvirt.forwards_element"},
    "rich": {"cli.terminal"},
    "xml": {"libvirt.xml", "libvirt.forwards_element"},
    "subprocess": {"service.children", "diagnosis.traced_packet"},
    "yaml": {"config.yaml_tree"},
}
# What every hook of ours loads: it may find a service that does the rest.
CLIENT_OF_PYTHON = {"_socket", "faulthandler"}
CLIENT = {"service.hook"}
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
    "typing",
    "yaml",
]


def tree(module: str) -> ast.Module:
    """A module's source, parsed."""
    return ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())


def named(modules: Iterable[str]) -> set[str]:
    """Modules as Python knows them, and the rooms that they are in."""
    rooms = {module.partition(".")[0] for module in modules}
    return {"vfwhooks", *(f"vfwhooks.{name}" for name in (*rooms, *modules))}


def imports(module: str) -> set[str]:
    """Our modules that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = module.split(".")[: -node.level]
            origin = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names = [f"{origin}.{alias.name}" for alias in node.names]
            found.update(name if name in MODULES else origin for name in names)
    return found - {""}


# Every module below the package by its dotted name, what is in no room left out.
MODULES = [
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in sorted(PACKAGE.glob("*/*.py"))
    if path.stem != "__init__"
]


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


def test_every_module_has_a_room() -> None:
    """A new module says where it belongs."""
    found = {path.parent.name for path in PACKAGE.rglob("*.py")}
    beside = {path.name for path in PACKAGE.glob("*.py")}

    assert found == {"vfwhooks", *ROOMS}
    assert beside == {"__init__.py", "__main__.py"}


def test_every_room_says_what_it_is_for() -> None:
    """Its __init__ has a docstring, and imports nothing: it costs every hook."""
    rooms = [ast.parse((PACKAGE / room / "__init__.py").read_text()) for room in ROOMS]

    wrong = [
        room
        for room, tree in zip(ROOMS, rooms)
        if len(tree.body) != 1 or not ast.get_docstring(tree)
    ]

    assert wrong == []


def test_no_two_modules_have_one_name() -> None:
    """Whoever is told of a module by its name alone finds it."""
    names = [module.rpartition(".")[2] for module in MODULES]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """Nothing imports from a room above its own."""
    room = module.partition(".")[0]
    below = ROOMS[ROOMS.index(room) :]

    wrong = [one for one in imports(module) if one.partition(".")[0] not in below]

    assert wrong == []


def test_imports_never_go_round() -> None:
    """Within a room too: taken away one by one, no module is left."""
    needs = {module: imports(module) for module in MODULES}
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
    found = {module for module in MODULES if name in foreign(module)}

    assert found == modules


@pytest.mark.parametrize("module", ["hook", "hook_without_service", "daemon"])
def test_what_is_for_terminals_alone(module: str) -> None:
    """Neither a hook nor the service loads rich, nor anything of the command line."""
    found = loaded(f"import vfwhooks.service.{module}")

    wrong = [name for name in found if name.startswith(("rich", "vfwhooks.cli"))]
    assert (wrong, f"vfwhooks.service.{module}" in found) == ([], True)


def test_libvirt_is_imported_by_one_function() -> None:
    """Whoever does not ask libvirtd does not load its library."""
    functions = [
        function.name
        for function in ast.walk(tree("libvirt.client"))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import) and node.names[0].name == "libvirt"
    ]

    assert functions == ["load_libvirt"]


def on_top(statement: str, before: str) -> set[str]:
    """The modules that a statement loads behind another one."""
    return loaded(f"{before}; before = set(sys.modules); {statement}")


def of_ours(names: Iterable[str]) -> set[str]:
    """Modules of the package, as Python calls them."""
    return {f"vfwhooks.{name}" for name in names}


def test_what_every_hook_imports() -> None:
    """Every module of it costs every start of every guest: the list is pinned."""
    found = loaded("import vfwhooks.service.hook")

    assert found == named(CLIENT) | CLIENT_OF_PYTHON


def test_what_the_iptables_backend_imports_on_top() -> None:
    """Eight modules of ours, and nothing of Python's."""
    found = on_top(
        "import vfwhooks.firewall.iptables",
        "import vfwhooks.service.hook_without_service",
    )

    names = {
        "firewall.iptables_rules",
        "firewall.iptables_script",
        "firewall.iptables",
        "firewall.iptables_tools",
        "firewall.iptables_jumps",
        "firewall.iptables_libvirt_rules",
    }
    assert found == of_ours(
        {*names, "firewall.iptables_nft", "values.connection_marks"}
    )


@pytest.mark.parametrize("name", TOO_DEAR)
def test_what_a_hook_without_a_service_does_not_import(name: str) -> None:
    """Whatever Python's own modules come to import: these are too dear."""
    assert name not in LOADED


LOADED = loaded(
    "import vfwhooks.service.hook, vfwhooks.service.hook_without_service, "
    "vfwhooks.firewall.iptables"
)


def test_modules_are_not_long() -> None:
    """A module has one reason to change, and about 300 lines at most."""
    long = {
        path.name: lines
        for path in Path(PACKAGE).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 320
    }

    assert long == {}


@pytest.mark.parametrize(
    ("statement", "rooms"),
    [
        ("import vfwhooks.cli.main", "cli store values"),
        ("import vfwhooks.cli.known_names", "cli config host store values"),
        (
            "import vfwhooks.cli.main, vfwhooks.cli.applied",
            "cli config firewall foreign host libvirt reconcile rulesets store values",
        ),
    ],
)
def test_a_command_loads_what_it_needs(statement: str, rooms: str) -> None:
    """`--help` and a completion wait for no module about rules, `apply` for none of
    doctor's: all commands together take four times as long to load."""
    names = [one.split(".") for one in loaded(statement)]

    found = {name[1] for name in names if name[0] == "vfwhooks" and len(name) > 1}

    assert " ".join(sorted(found)) == rooms
