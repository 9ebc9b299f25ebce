"""The file trees the lab is built from, made once per machine by its sh files."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path


class LabError(Exception):
    """The lab could not do what it was asked for; no finding about the product."""


LAB = Path(__file__).resolve().parent
CHECKOUT = LAB.parents[1]
CACHE = Path(os.environ.get("VFWHOOKS_LAB_CACHE", "/var/cache/vfwhooks-lab"))


def _build(script: str, *arguments: str) -> Path:
    # Progress and errors go to the terminal, the result to us.
    done = subprocess.run(
        ["sh", str(LAB / script), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
        timeout=1800,
    )
    if done.returncode != 0:
        raise LabError(f"{script} failed: see above")
    return Path(done.stdout.strip())


@functools.cache
def find_tree() -> Path:
    """The root of a Debian 13 system with libvirt 11.3, built when missing; its Python
    finds bytecode of the checkout, as an installation has it."""
    tree = _build("tree.sh")
    script = 'mount --bind "$0" "$1/mnt"; exec chroot "$1" $2 /mnt/vfwhooks'
    compile_all = "python3 -m compileall -q"
    words = "sh", "-c", script, str(CHECKOUT), str(tree), compile_all
    subprocess.run(["unshare", "--mount", *words], check=False)
    return tree


@functools.cache
def find_promtool() -> Path:
    """Prometheus' own checker of metrics and rules, fetched when missing."""
    return _build("promtool.sh")


@functools.cache
def find_image() -> Path:
    """The directory with the guests' `kernel` and `initrd`, built when missing."""
    return _build("image.sh", str(find_tree()))
