"""The packages of this checkout, built once for what is in it, and variants of them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from lab.cache import CACHE
from product import HERE

from vfwhooks import __version__

SOURCES = (
    *("CHANGELOG.md", "LICENSE", "README.md", "install.sh"),
    *("cockpit", "docs", "hooks", "packaging", "templates", "vfwhooks"),
)
SHARE = "usr/share/vfwhooks"
_WEEK = 7 * 86400


def _key() -> str:
    """A word for all that packages are made from."""
    kinds = (HERE / part for part in SOURCES)
    paths = [path for top in kinds for path in (top, *top.rglob("*"))]
    digest = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file() and path.suffix != ".pyc":
            mode = path.stat().st_mode & 0o111
            digest.update(f"{path.relative_to(HERE)} {mode}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def find_packages() -> Path:
    """The directory of the packages, built when no test has yet."""
    final = CACHE / f"packages-{_key()}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.exists():
            os.utime(final)
        else:
            _sweep()
            new = CACHE / "packages.new"
            shutil.rmtree(new, ignore_errors=True)
            for tool in ("build-deb", "build-rpm"):
                run(HERE / "packaging" / tool, new)
            new.rename(final)
    return final


def _sweep() -> None:
    """What no test has used for a week goes."""
    for old in CACHE.glob("packages-*"):
        if time.time() - old.stat().st_mtime > _WEEK:
            shutil.rmtree(old, ignore_errors=True)


def run(*argv: str | Path) -> str:
    """The output of a tool that has to succeed."""
    done = subprocess.run(
        argv,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def find_deb() -> Path:
    """The Debian package."""
    return find_packages() / f"vfwhooks_{__version__}_all.deb"


def find_page_deb() -> Path:
    """The Debian package of the page in Cockpit."""
    return find_packages() / f"cockpit-vfwhooks_{__version__}_all.deb"


def find_rpms() -> list[Path]:
    """The RPM packages: vfwhooks, vfwhooks-selinux, cockpit-vfwhooks."""
    return sorted(find_packages().glob("*.rpm"), key=lambda one: one.name[0] == "c")


def repack(work: Path, version: str = __version__, postinst: str = "") -> Path:
    """The Debian package of another version, or one whose postinst begins otherwise."""
    tree = work / f"tree-{version}"
    run("dpkg-deb", "-R", find_deb(), tree)
    _replace(tree / "DEBIAN/control", "(?m)^Version: .*$", f"Version: {version}")
    init = tree / SHARE / "vfwhooks/__init__.py"
    _replace(init, '__version__ = ".*"', f'__version__ = "{version}"')
    _replace(tree / "DEBIAN/postinst", r"\nset -e\n", f"\nset -e\n{postinst}\n")
    package = work / f"vfwhooks_{version}.deb"
    run("dpkg-deb", "-Znone", "-b", tree, package)
    return package


def _replace(file: Path, old: str, new: str) -> None:
    text, count = re.subn(old, lambda _: new, file.read_text(), count=1)
    assert count == 1, (file, old)
    file.write_text(text)
