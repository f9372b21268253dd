"""Scenarios as folders: which there are, what stands in one, its opening drawing, and a new one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from k8snetlab.errors import ConflictError, InputError
from k8snetlab.state import scenarios
from k8snetlab.workshop.expectations import FILE, Placed, load

LESSON = "lesson.md"


class Scenario(msgspec.Struct, frozen=True):
    """A folder with a lab's manifests."""

    name: str
    """What `up` takes: a shipped one's name, or a path."""
    title: str
    """Its first line that says something."""
    files: tuple[str, ...]
    """The names of its files, sorted."""
    lesson: bool
    """Whether it has a lesson."""
    expectations: int
    """How many expectations its expect.yaml has."""
    path: str
    """The folder."""


class Scenarios(msgspec.Struct, frozen=True):
    """All that are shipped."""

    scenarios: tuple[Scenario, ...]
    """By name; lessons last."""


def shipped() -> Scenarios:
    return Scenarios(tuple(of(name) for name in (*scenarios.names(), *scenarios.lessons())))


def of(name: str) -> Scenario:
    """Raises InputError where there is no such folder, ManifestError where its expect.yaml is wrong."""
    place = scenarios.folder(name)
    files = tuple(sorted(file.name for file in place.iterdir() if file.is_file()))
    known = len(expectations(name)) if FILE in files else 0
    return Scenario(name, _title(place), files, LESSON in files, known, str(place))


def expectations(name: str) -> tuple[Placed, ...]:
    """What its expect.yaml says. Raises ManifestError, and InputError where there is none."""
    place = scenarios.folder(name)
    if not (place / FILE).is_file():
        raise InputError(
            f"{name}: no {FILE} in {place}",
            "docs/scenarios.md tells how to write one; `scenario new DIR` begins with it",
        )
    shown, text = scenarios.text(place / FILE, f"{name.rstrip('/')}/{FILE}")
    return load(text, shown)


def opening(name: str) -> str:
    """The README up to its first section, else the comment at the head of the lab file."""
    place = scenarios.folder(name)
    if (place / "README.md").is_file():
        text = scenarios.text(place / "README.md", "README.md")[1]
        return text.partition("\n## ")[0].strip()
    return _head(place)


def _head(place: Path) -> str:
    """A lab file's comment, without its marks."""
    lab = next((place / file for file in scenarios.LAB_FILES if (place / file).is_file()), None)
    lines = scenarios.text(lab, lab.name)[1].splitlines() if lab else []
    found: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        found.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return "\n".join(found)


def _title(place: Path) -> str:
    for file in (LESSON, "README.md"):
        if (place / file).is_file():
            first = scenarios.text(place / file, file)[1].lstrip().partition("\n")[0]
            return first.lstrip("# ").strip()
    said = next((line.strip() for line in _head(place).splitlines() if line.strip()), "")
    return said if "  " not in said else ""


# --- a new one --------------------------------------------------------------------------------------------------------


def new(place: Path, nodes: int, pods: int) -> tuple[str, ...]:
    """Writes a working scenario into a folder that is new or empty; the names of its files. Raises ConflictError."""
    try:
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ConflictError(f"{place} is there already, and not empty", "name a new directory")
        place.mkdir(parents=True, exist_ok=True)
        made = {"lab.yaml": _LAB, "pods.yaml": _PODS, FILE: _EXPECT, "README.md": _README}
        for file, text in made.items():
            filled = text.replace("NODES", str(nodes)).replace("PODS", str(pods)).replace("LAST", f"node{nodes}")
            (place / file).write_text(filled, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{place}: {error.strerror}", "name a directory that can be written") from None
    return tuple(made)


_LAB = """\
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  nodes: NODES
"""
_PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: node1
  containers: [{name: client, image: busybox}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: PODS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: LAST
      containers: [{name: web, image: nginx, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
_EXPECT = """\
# `k8snetlab scenario check` sends real packets and says which of these are so. All fields: docs/scenarios.md.
apiVersion: k8snetlab/v1alpha1
kind: Expectations
expect:
  - name: the Service leads to its pods, and they see who asks
    from: client
    to: web:80
    answeredBy: web
    client: own
    evenly: 20
  - name: a Service has no other port
    from: client
    to: web:81
    result: closed
"""
_README = """\
# A client and a Service

```
client ──► Service web:80 ──► PODS pods of Deployment web, port 8080, on LAST
```

```sh
sudo k8snetlab up .
sudo k8snetlab scenario check .
```
"""
