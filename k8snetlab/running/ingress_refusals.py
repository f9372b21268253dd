"""What nginx refuses of the objects: found by where it stopped, left out, and tried again once it is another."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from k8snetlab.addons import nginx
from k8snetlab.api.config import Secret
from k8snetlab.api.networking import Ingress
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.ingress import conf
from k8snetlab.render.ingress.model import NOTHING_REFUSED, Origin, Refused, Site

HEAD = 3
"""Lines before those that `conf.render` numbers."""


class Written(msgspec.Struct, frozen=True):
    """A configuration, and of what it was made. `files` has nginx.conf and what is beside it."""

    site: Site
    origins: tuple[Origin | None, ...]
    files: Mapping[str, str]
    checksum: str

    @property
    def text(self) -> str:
        """nginx.conf."""
        return self.files[conf.FILE]


class Refusals:
    """`known`: what is left out, and why."""

    def __init__(self) -> None:
        self.known = NOTHING_REFUSED
        self._versions: dict[object, object] = {}
        """Of what is refused: when it becomes another, it is tried again."""

    def blame(self, problem: str, written: Written, snapshot: Snapshot) -> bool:
        """Notes which object nginx stopped at; False where it cannot be told, or has been noted already."""
        if file := nginx.file_of(problem):
            if file in self.known.files or file not in written.site.files:
                return False
            self.known = msgspec.structs.replace(self.known, files={**self.known.files, file: problem})
            self._versions[file] = snapshot.all(Secret)
            return True
        number = nginx.line_of(problem) - HEAD
        origin = written.origins[number - 1] if 0 < number <= len(written.origins) else None
        if origin is None or origin.kind != Ingress.KIND:
            return False
        key = (origin.kind, *origin.key)
        if key in self.known.objects:
            return False
        self.known = msgspec.structs.replace(self.known, objects={**self.known.objects, key: problem})
        self._versions[key] = snapshot.all(Ingress).get(origin.key)
        return True

    def pardon(self, snapshot: Snapshot) -> None:
        """What was refused is tried again once it is another."""
        if not self.known.objects and not self.known.files:
            return
        ingresses, secrets = snapshot.all(Ingress), snapshot.all(Secret)
        objects = {
            key: why
            for key, why in self.known.objects.items()
            if (held := ingresses.get((key[1], key[2]))) is not None
            and isinstance(known := self._versions.get(key), Ingress)
            and (held.spec, held.metadata.annotations) == (known.spec, known.metadata.annotations)
        }
        files = {file: why for file, why in self.known.files.items() if self._versions.get(file) is secrets}
        self.known = Refused(objects, files)
