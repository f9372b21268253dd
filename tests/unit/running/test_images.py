"""Which directory an image's name stands for, and what is in an OCI layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.errors import InputError
from k8snetlab.running.images import Image, image, named

IMAGES = {"nginx:1.27": "/a", "nginx": "/b", "registry.io:5000/team/app": "/c"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("nginx:1.27", "/a"),
        ("nginx:1.28", "/b"),
        ("nginx", "/b"),
        ("nginx@sha256:00", "/b"),
        ("registry.io:5000/team/app:v1", "/c"),
        ("registry.io:5000/other", ""),
        ("", ""),
    ],
)
def test_an_image_is_named_with_its_tag_or_without(name: str, path: str) -> None:
    assert named(name, IMAGES) == path


class Layout:
    """An OCI layout, layer by layer; a layer is names and texts, None for a directory."""

    def __init__(self, at: Path) -> None:
        self.at = at
        (at / "blobs/sha256").mkdir(parents=True)
        (at / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.at / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def layer(self, files: dict[str, str | None], packed: bool = True) -> dict[str, Any]:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.type = tarfile.DIRTYPE if text is None else tarfile.REGTYPE
                member.mode, data = 0o755, (text or "").encode()
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return self.blob(gzip.compress(made.getvalue()) if packed else made.getvalue())

    def done(self, *layers: dict[str, Any], architecture: str = "", **config: Any) -> str:
        described = self.blob(json.dumps({"config": config}).encode())
        manifest = self.blob(json.dumps({"config": described, "layers": list(layers)}).encode())
        if architecture:
            manifest["platform"] = {"architecture": architecture}
        (self.at / "index.json").write_text(json.dumps({"manifests": [manifest]}))
        return str(self.at)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def test_a_directory_is_a_root_as_it_is(tmp_path: Path) -> None:
    assert image(str(tmp_path), tmp_path / "unpacked") == Image(str(tmp_path))
    with pytest.raises(InputError, match="is no directory"):
        image(str(tmp_path / "none"), tmp_path)


def test_layers_lie_upon_each_other_and_take_away_what_their_whiteouts_name(layout: Layout, tmp_path: Path) -> None:
    first = layout.layer({"bin": None, "bin/a": "one", "bin/b": "two", "old": None, "old/x": "x"})
    second = layout.layer({"bin/.wh.b": "", "old/.wh..wh..opq": "", "old/y": "y", "bin/a": "new"}, packed=False)
    path = layout.done(first, second, Env=["PATH=/bin", "A=b=c"], WorkingDir="/srv")
    found = image(path, tmp_path / "unpacked")
    root = Path(found.root)
    assert found.env == {"PATH": "/bin", "A": "b=c"} and found.directory == "/srv"
    assert {str(f.relative_to(root)): f.read_text() for f in root.rglob("*") if f.is_file()} == {
        "bin/a": "new",
        "old/y": "y",
    }
    (root / "bin/mark").touch()
    assert image(path, tmp_path / "unpacked") == found and (root / "bin/mark").exists(), "it is unpacked once"


def test_a_layer_writes_nowhere_but_into_its_image(layout: Layout, tmp_path: Path) -> None:
    path = layout.done(layout.layer({"../../out": "x"}))
    with pytest.raises(InputError, match="leads out of the image"):
        image(path, tmp_path / "unpacked")
    assert not list(tmp_path.rglob("out"))


def test_what_is_no_layer_or_for_another_machine_is_told(layout: Layout, tmp_path: Path) -> None:
    path = layout.done(layout.blob(b"no tar at all"))
    with pytest.raises(InputError, match="blobs/sha256"):
        image(path, tmp_path / "unpacked")
    path = layout.done(layout.layer({"a": ""}), architecture="pdp11")
    with pytest.raises(InputError, match="has no image for"):
        image(path, tmp_path / "unpacked")
    assert platform.machine() != "pdp11"
