"""Objects that a daemon is handed while it loads: it has the same as if they had been sent to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import json

from k8snetlab.api.body import decode
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import to_dict
from k8snetlab.errors import ManifestError
from k8snetlab.lab import handing
from k8snetlab.state import scenarios

SCENARIOS = sorted(path.parent for path in Path("scenarios").glob("*/lab.yaml"))
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{clusterIP: "{ip}", ports: [{{port: 80}}]}}
"""


def handed(objects: list[Object]) -> list[Object]:
    file = os.memfd_create("objects")
    try:
        handing.write(file, objects)
        return handing.read(file)
    finally:
        os.close(file)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_what_is_handed_is_what_would_be_sent(scenario: Path) -> None:
    read: list[Object] = []
    loaded = load(scenarios.find(str(scenario)), read=read.extend)
    objects = handing.handable(loaded.objects)
    assert handing.handable(read)[: len(objects)] == objects
    assert handed(objects) == [decode(json.decode(json.encode(to_dict(obj)))) for obj in objects]
    assert not any(isinstance(obj, Lab) for obj in objects), "its name is not known yet"


def test_it_is_handed_before_it_is_known_whether_it_goes_together() -> None:
    text = "---\n".join(SERVICE.format(name=name, ip="10.96.0.9") for name in "ab")
    read: list[Object] = []
    with pytest.raises(ManifestError, match="already allocated"):
        load([("lab.yaml", text)], read=read.extend)
    assert [obj.name for obj in read] == ["a", "b"]


def test_what_is_wrong_by_itself_is_not_handed() -> None:
    text = "---\n".join((SERVICE.format(name="a", ip="10.96.0.9"), SERVICE.format(name="b", ip="").replace("80", "[]")))
    with pytest.raises(ManifestError):
        load([("lab.yaml", text)], read=lambda _: pytest.fail("one of them is wrong"))


def test_many_objects_come_whole() -> None:
    objects = list(load([("lab.yaml", "---\n".join(SERVICE.format(name=f"s{n}", ip="") for n in range(3000)))]).objects)
    assert handed(objects) == objects
