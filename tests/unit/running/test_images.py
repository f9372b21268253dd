"""Which directory an image's name stands for, and what is in an OCI layout."""

from __future__ import annotations

import contextlib
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


Members = tuple[tuple[str, bytes, str], ...]
"""Name, type, and what a link names."""


@pytest.mark.parametrize(
    "members",
    [
        (("../../host/file", tarfile.REGTYPE, ""),),
        (("HOST/file", tarfile.REGTYPE, ""),),
        (("x", tarfile.SYMTYPE, "HOST"), ("x/file", tarfile.REGTYPE, "")),
        (("x", tarfile.SYMTYPE, "HOST"), ("x/new", tarfile.REGTYPE, "")),
        (("x", tarfile.SYMTYPE, "HOST"), ("x/.wh.file", tarfile.REGTYPE, "")),
        (("x", tarfile.LNKTYPE, "../../../host/file"),),
        (("x", tarfile.LNKTYPE, "HOST/file"),),
        (("x", tarfile.SYMTYPE, "HOST/file"), ("y", tarfile.LNKTYPE, "x")),
        ((".wh...", tarfile.REGTYPE, ""),),
        ((".wh..", tarfile.REGTYPE, ""),),
    ],
)
def test_a_layer_writes_and_takes_away_nothing_out_of_its_image(
    layout: Layout, tmp_path: Path, members: Members
) -> None:
    host, made = tmp_path / "host", io.BytesIO()
    host.mkdir()
    (host / "file").write_text("of the machine")
    (host / "file").chmod(0o640)
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name.replace("HOST", str(host)))
            member.type, member.linkname, member.mode = kind, link.replace("HOST", str(host)), 0o777
            tar.addfile(member)
    path = layout.done(layout.blob(made.getvalue()))
    with contextlib.suppress(InputError):
        image(path, tmp_path / "unpacked")
    assert [one.name for one in host.iterdir()] == ["file"] and (host / "file").read_text() == "of the machine"
    assert (host / "file").stat().st_mode & 0o777 == 0o640 and (host / "file").stat().st_nlink == 1
    assert not list((tmp_path / "unpacked").glob("*.new")), "nothing half unpacked is left"


def test_a_layer_may_begin_with_its_root_and_name_places_from_there(layout: Layout, tmp_path: Path) -> None:
    found = image(layout.done(layout.layer({"./": None, "./bin": None, "/bin/a": "one"})), tmp_path / "unpacked")
    assert (Path(found.root) / "bin/a").read_text() == "one"


@pytest.mark.parametrize(
    "index",
    [
        "[]",
        "no json",
        '{"manifests": 7}',
        '{"manifests": [{}]}',
        '{"manifests": [{"digest": "sha256:../../index"}]}',
        '{"layers": []}',
    ],
)
def test_an_index_of_another_form_is_told(layout: Layout, tmp_path: Path, index: str) -> None:
    (layout.at / "index.json").write_text(index)
    with pytest.raises(InputError):
        image(str(layout.at), tmp_path / "unpacked")


def test_an_index_that_leads_to_itself_is_told(layout: Layout, tmp_path: Path) -> None:
    (layout.at / "blobs/sha256/00").write_text('{"manifests": [{"digest": "sha256:00"}]}')
    (layout.at / "index.json").write_text('{"manifests": [{"digest": "sha256:00"}]}')
    with pytest.raises(InputError, match="lead to no image"):
        image(str(layout.at), tmp_path / "unpacked")


def test_what_is_no_layer_or_for_another_machine_is_told(layout: Layout, tmp_path: Path) -> None:
    path = layout.done(layout.blob(b"no tar at all"))
    with pytest.raises(InputError, match="blobs/sha256"):
        image(path, tmp_path / "unpacked")
    path = layout.done(layout.layer({"a": ""}), architecture="pdp11")
    with pytest.raises(InputError, match="has no image for"):
        image(path, tmp_path / "unpacked")
    assert platform.machine() != "pdp11"
