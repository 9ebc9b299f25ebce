"""The forwards in a domain's metadata, read and written by libvirtd: of the running
guest and of its definition."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..values.errors import VfwError, show
from ..values.guests import FORWARDS
from .client import URIS, load_libvirt

_KEY = "vfwhooks"


class Domain(AbstractContextManager["Domain"]):
    """A guest of libvirtd's, by name or UUID, with a connection of its own. `driver` is
    the one that has it. Raises VfwError."""

    def __init__(self, name: str) -> None:
        self._libvirt = load_libvirt()
        self._connection: Any = None
        reasons = []
        for driver, uri in URIS.items():
            try:
                connection = self._libvirt.open(uri)
            except self._libvirt.libvirtError as error:
                reasons.append(str(error))
                continue
            domain = self._find(connection, name)
            if domain is not None:
                self._connection, self._domain, self.driver = connection, domain, driver
                return
            connection.close()
        if len(reasons) == len(URIS):
            raise VfwError(f"no libvirtd answers: {reasons[0]}")
        hint = "virsh list --all shows who there is"
        raise VfwError(f"libvirt has no guest {show(name)}", hint)

    def _find(self, connection: Any, name: str) -> Any:
        for look in (connection.lookupByName, connection.lookupByUUIDString):
            try:
                return look(name)
            except self._libvirt.libvirtError:
                continue
        return None

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def name(self) -> str:
        return str(self._domain.name())

    @property
    def uuid(self) -> str:
        return str(self._domain.UUIDString())

    def parts(self, is_live: bool, is_config: bool) -> list[str]:
        """What is meant of `live` and `config`, both without a choice: the running
        guest, and its definition, as far as there are any. Raises VfwError."""
        there = {
            "live": bool(self._domain.isActive()),
            "config": bool(self._domain.isPersistent()),
        }
        for part, is_meant, why in (
            ("live", is_live, "does not run"),
            ("config", is_config, "is not defined, it only runs"),
        ):
            if is_meant and not there[part]:
                raise VfwError(f"{show(self.name)} {why}")
        if is_live or is_config:
            there = {"live": is_live, "config": is_config}
        return [part for part, is_meant in there.items() if is_meant]

    def get(self, part: str) -> str:
        """The forwards as libvirt gives them; '' for none."""
        libvirt = self._libvirt
        try:
            return str(self._domain.metadata(self._kind, FORWARDS, self._flag(part)))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                return ""
            raise VfwError(f"libvirtd: {error}") from error

    def put(self, text: str, parts: list[str]) -> None:
        """Write the forwards, or clear them for ''."""
        flags = 0
        for part in parts:
            flags |= self._flag(part)
        try:
            self._domain.setMetadata(self._kind, text or None, _KEY, FORWARDS, flags)
        except self._libvirt.libvirtError as error:
            raise VfwError(f"libvirtd: {error}") from error

    @property
    def _kind(self) -> int:
        return int(self._libvirt.VIR_DOMAIN_METADATA_ELEMENT)

    def _flag(self, part: str) -> int:
        libvirt = self._libvirt
        flags = {
            "live": libvirt.VIR_DOMAIN_AFFECT_LIVE,
            "config": libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        }
        return int(flags[part])
