"""A connection plugin of Ansible: into a host of the lab, by the command that the
variable `lab_enter` has. Nothing of SSH is needed there."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from ansible.plugins.connection import (  # type: ignore[import-untyped]  # no stubs
    ConnectionBase,
)

DOCUMENTATION = """
name: lab
short_description: into the namespaces of a host of the lab
description: runs each command behind the one in lab_enter
options:
  enter:
    description: the command that enters the host
    vars: [{name: lab_enter}]
"""


class Connection(ConnectionBase):  # type: ignore[misc]  # it has no types
    """Commands and files of one host."""

    transport = "lab"
    has_pipelining = True

    def _connect(self) -> Connection:
        return self

    def close(self) -> None:
        """Nothing is kept open."""

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        """Run a command of Ansible's on the host: status, output, errors."""
        done = subprocess.run(
            [*shlex.split(self.get_option("enter")), "sh", "-c", cmd],
            input=in_data or b"",
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file to the host."""
        command = f"cat >{shlex.quote(out_path)}"
        status, _, errors = self.exec_command(command, Path(in_path).read_bytes())
        assert status == 0, errors

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file from the host."""
        _, data, _ = self.exec_command(f"cat {shlex.quote(in_path)}")
        Path(out_path).write_bytes(data)
