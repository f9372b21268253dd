"""What an image's name stands for: a root directory of this machine, or an OCI layout, which is unpacked once.

Nothing is ever downloaded. Source: OCI image-spec (image-layout.md, manifest.md, layer.md: whiteouts).
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from k8snetlab.errors import InputError
from k8snetlab.kernel import fault

LAYOUT, INDEX = "oci-layout", "index.json"
MOST = 8 << 30
"""Octets of an image, unpacked."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}
_SAFE: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
"""A Python before 3.11.4 may not know it; `_inside` does not rely on it."""
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_DEEPEST = 8
"""Indexes that lead to one another, at most."""
_HINT = "spec.images of the Lab says where it is"
T = TypeVar("T")


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


class _Platform(msgspec.Struct):
    architecture: str = ""


class _Blob(msgspec.Struct):
    """What a descriptor says of it."""

    digest: str
    platform: _Platform | None = None


class _Document(msgspec.Struct):
    """An index where it has `manifests`, else the manifest of one image."""

    manifests: tuple[_Blob, ...] | None = None
    config: _Blob | None = None
    layers: tuple[_Blob, ...] = ()


class _Said(msgspec.Struct):
    Env: tuple[str, ...] | None = None
    WorkingDir: str | None = None


class _Configuration(msgspec.Struct):
    config: _Said | None = None


def _unpacked(layout: Path, below: Path) -> Image:
    manifest = _manifest(layout)
    if manifest.config is None:
        raise InputError(f"{layout}: its manifest has no config", _HINT)
    said = _read(_blob(layout, manifest.config), _Configuration).config or _Said()
    layers = [layer.digest for layer in manifest.layers]
    root = below / hashlib.sha256(" ".join(layers).encode()).hexdigest()[:32]
    if not root.is_dir():
        fault.point()
        draft = root.with_name(f"{root.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o755)
        draft.chmod(0o755)
        try:
            for layer in manifest.layers:
                _add(_blob(layout, layer), draft.resolve())
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        draft.rename(root)
    env = dict(one.partition("=")[::2] for one in said.Env or ())
    return Image(str(root), env, said.WorkingDir or "")


def _manifest(layout: Path) -> _Document:
    """The one of this machine's architecture, or the only one."""
    wanted = _ARCHITECTURES.get(platform.machine(), platform.machine())
    found = _read(layout / INDEX, _Document)
    for _ in range(_DEEPEST):
        if found.manifests is None:
            return found
        fitting = [one for one in found.manifests if not one.platform or one.platform.architecture in ("", wanted)]
        if not fitting:
            raise InputError(f"{layout} has no image for {wanted}", _HINT)
        found = _read(_blob(layout, fitting[0]), _Document)
    raise InputError(f"{layout}: its indexes lead to no image", _HINT)


def _read(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}", _HINT) from error


def _blob(layout: Path, described: _Blob) -> Path:
    algorithm, _, digest = described.digest.partition(":")
    if not (algorithm.isalnum() and digest.isalnum()):
        raise InputError(f"{layout}: {described.digest!r:.100} is no digest", _HINT)
    return layout / "blobs" / algorithm / digest


def _add(blob: Path, root: Path) -> None:
    with blob.open("rb") as opened:
        mode: Any = "r|gz" if opened.read(2) == b"\x1f\x8b" else "r|"
        opened.seek(0)
        try:
            with tarfile.open(fileobj=opened, mode=mode) as tar:
                _extract(tar, root)
        except (tarfile.TarError, EOFError, ValueError, KeyError) as error:
            hint = "layers are tar, or tar with gzip"
            raise InputError(f"{blob}: {error or 'it cannot be read'}", hint) from error


def _extract(tar: tarfile.TarFile, root: Path) -> None:
    size = 0
    for member in tar:
        target = _inside(root, member.name)
        if target.name.startswith(_WHITEOUT):
            _take_away(target)
            continue
        member.name = str(target.relative_to(root))
        if member.islnk():
            linked = _inside(root, member.linkname)
            if linked.is_symlink():  # its owner and mode would be set through it
                raise _out(member.linkname)
            member.linkname = str(linked.relative_to(root))
        size += member.size
        if size > MOST:
            raise InputError(f"an image has more than {MOST >> 30} GiB", _HINT)
        if target.is_symlink() or (target.exists() and not (target.is_dir() and member.isdir())):
            _remove(target)
        tar.extract(member, root, numeric_owner=True, **_SAFE)


def _inside(root: Path, name: str) -> Path:
    """Where a member is; nothing is looked at, made or taken away behind links that lead out of the image. Raises
    InputError."""
    target = root / name.lstrip("/")
    if ".." in target.parts or not (target == root or target.parent.resolve().is_relative_to(root)):
        raise _out(name)
    return target


def _out(name: str) -> InputError:
    return InputError(f"{name!r:.100} leads out of the image", _HINT)


def _take_away(named: Path) -> None:
    """What a layer says is not there any more. Raises InputError."""
    directory, gone = named.parent, named.name.removeprefix(_WHITEOUT)
    if named.name == _OPAQUE:
        for entry in directory.iterdir() if directory.is_dir() else ():
            _remove(entry)
    elif gone in ("", ".", ".."):
        raise _out(named.name)
    else:
        _remove(directory / gone)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
