"""What an image's name stands for: a root directory of this machine, or an OCI layout, which is unpacked once.

Nothing is ever downloaded. Source: OCI image-spec (image-layout.md, manifest.md, layer.md: whiteouts).
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from k8snetlab.errors import InputError
from k8snetlab.kernel import fault

LAYOUT, INDEX = "oci-layout", "index.json"
MOST = 8 << 30
"""Octets of an image, unpacked."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}
_SAFE: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
"""Not through links that lead out of the image; a Python before 3.11.4 may not know it."""
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_HINT = "spec.images of the Lab says where it is"


class Image(msgspec.Struct, frozen=True):
    """Its root directory, and of an OCI layout the variables and the directory that its configuration has."""

    root: str
    env: Mapping[str, str] = {}
    directory: str = ""


def named(image: str, images: Mapping[str, str]) -> str:
    """The path of an image that a container names, with its tag or without; "" where the Lab has none for it."""
    bare = image.partition("@")[0]
    name, colon, tag = bare.rpartition(":")
    without = name if colon and "/" not in tag else bare
    return next((images[one] for one in (image, bare, without) if one and one in images), "")


def image(path: str, unpacked: Path) -> Image:
    """The image that is at a path; an OCI layout is unpacked below the directory `unpacked`. Blocking.

    Raises InputError, OSError.
    """
    at = Path(path)
    if not at.is_dir():
        raise InputError(f"{path} is no directory", _HINT)
    if not (at / LAYOUT).is_file():
        return Image(str(at))
    return _unpacked(at, unpacked)


def _unpacked(layout: Path, below: Path) -> Image:
    manifest = _manifest(layout)
    config = _read(layout, manifest["config"])
    layers = [str(one["digest"]) for one in manifest["layers"]]
    root = below / hashlib.sha256(" ".join(layers).encode()).hexdigest()[:32]
    if not root.is_dir():
        fault.point()
        draft = root.with_name(f"{root.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o755)
        draft.chmod(0o755)
        for layer in manifest["layers"]:
            _add(layout, layer, draft)
        draft.rename(root)
    said = config.get("config") or {}
    env = dict(one.partition("=")[::2] for one in said.get("Env") or ())
    return Image(str(root), env, said.get("WorkingDir") or "")


def _manifest(layout: Path) -> Any:
    """The one of this machine's architecture, or the only one."""
    found = msgspec.json.decode((layout / INDEX).read_bytes())
    while "manifests" in found:
        wanted = _ARCHITECTURES.get(platform.machine(), platform.machine())
        fitting = [
            one for one in found["manifests"] if (one.get("platform") or {}).get("architecture", wanted) == wanted
        ]
        if not fitting:
            raise InputError(f"{layout} has no image for {wanted}", _HINT)
        found = _read(layout, fitting[0])
    return found


def _read(layout: Path, descriptor: Mapping[str, Any]) -> Any:
    try:
        return msgspec.json.decode(_blob(layout, descriptor).read_bytes())
    except msgspec.DecodeError as error:
        raise InputError(f"{layout}: {descriptor.get('digest')}: {error}", _HINT) from error


def _blob(layout: Path, descriptor: Mapping[str, Any]) -> Path:
    algorithm, _, digest = str(descriptor.get("digest")).partition(":")
    if not (algorithm.isalnum() and digest.isalnum()):
        raise InputError(f"{layout}: {descriptor.get('digest')!r:.100} is no digest", _HINT)
    return layout / "blobs" / algorithm / digest


def _add(layout: Path, layer: Mapping[str, Any], root: Path) -> None:
    blob = _blob(layout, layer)
    with blob.open("rb") as opened:
        mode: Any = "r|gz" if opened.read(2) == b"\x1f\x8b" else "r|"
        opened.seek(0)
        try:
            with tarfile.open(fileobj=opened, mode=mode) as tar:
                _extract(tar, root)
        except (tarfile.TarError, EOFError) as error:
            hint = "layers are tar, or tar with gzip"
            raise InputError(f"{blob}: {error or 'it cannot be read'}", hint) from error


def _extract(tar: tarfile.TarFile, root: Path) -> None:
    size = 0
    for member in tar:
        name = member.name.lstrip("/").removeprefix("./")
        if ".." in Path(name).parts:
            raise InputError(f"{name!r:.100} leads out of the image", _HINT)
        above, last = os.path.split(name)
        if last.startswith(_WHITEOUT):
            _take_away(root, above, last)
            continue
        size += member.size
        if size > MOST:
            raise InputError(f"an image has more than {MOST >> 30} GiB", _HINT)
        target = root / name
        if target.is_symlink() or (target.exists() and not (target.is_dir() and member.isdir())):
            _remove(target)
        tar.extract(member, root, numeric_owner=True, **_SAFE)


def _take_away(root: Path, above: str, last: str) -> None:
    """What a layer says is not there any more."""
    directory = root / above
    if ".." in Path(above).parts or directory.resolve() != directory:
        return  # behind a link: nothing of this image is there
    if last == _OPAQUE:
        for entry in directory.iterdir() if directory.is_dir() else ():
            _remove(entry)
    else:
        _remove(directory / last.removeprefix(_WHITEOUT))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
