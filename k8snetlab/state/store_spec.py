"""Which store a lab on this machine uses."""

from __future__ import annotations

import msgspec

from k8snetlab.api.lab import StoreSpec
from k8snetlab.errors import InputError
from k8snetlab.state.paths import LabPaths, write_private


def read_spec(paths: LabPaths) -> StoreSpec:
    """What `write_spec` has kept; the embedded store where nothing was."""
    try:
        return msgspec.json.decode(paths.store_spec.read_bytes(), type=StoreSpec)
    except FileNotFoundError:
        return StoreSpec()


def write_spec(paths: LabPaths, spec: StoreSpec) -> None:
    """Keeps the store of a lab for its daemon. Raises InputError when the lab runs on another one already."""
    if not paths.fresh and _place(read_spec(paths)) != _place(spec):
        raise InputError(
            "spec.store and the etcd of spec.controlPlane cannot be changed while the lab runs",
            "`k8snetlab down` first, then `up`",
        )
    write_private(paths.store_spec, msgspec.json.encode(spec))


def _place(spec: StoreSpec) -> StoreSpec:
    """Which store it is, whatever is thought of it."""
    return msgspec.structs.replace(spec, insecure=False)
