"""Long manifests are read without looks for garbage."""

from __future__ import annotations

import gc

import pytest

from k8snetlab.cli import manifests
from k8snetlab.errors import ManifestError

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{}}}\ndata: {{a: b}}\n---\n"
LONG = "".join(MAP.format(number) for number in range(manifests.LONG // 60))


@pytest.mark.parametrize(("text", "apart"), [(LONG, True), (MAP.format(1), False)], ids=("long", "short"))
def test_what_a_long_manifest_holds_is_set_apart_from_garbage(text: str, apart: bool) -> None:
    gc.unfreeze()
    try:
        manifests.of([("lab.yaml", text)])
        assert gc.isenabled()
        assert (gc.get_freeze_count() > 0) is apart
    finally:
        gc.unfreeze()


def test_garbage_is_looked_for_again_after_a_long_manifest_that_is_wrong() -> None:
    try:
        with pytest.raises(ManifestError):
            manifests.of([("lab.yaml", LONG + "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: -}\n")])
        assert gc.isenabled()
    finally:
        gc.unfreeze()
