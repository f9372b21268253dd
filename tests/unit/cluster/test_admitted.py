"""What an applied manifest leaves of the object that is there."""

from __future__ import annotations

from k8snetlab.api.custom import Custom, custom_type, object_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.admitted import admit_apply

WIDGET = custom_type("example.com", "widgets", "Widget", True)


def widget(**content: object) -> Custom:
    metadata = {"name": "a", "namespace": "default"}
    return object_of(WIDGET, {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, **content})


def test_the_status_of_an_object_that_users_bring_stays_where_the_manifest_has_none() -> None:
    old = widget(spec={"size": 1}, status={"ready": True})
    new = admit_apply(widget(spec={"size": 2}), old, Snapshot())
    assert isinstance(new, Custom) and new.content == {"spec": {"size": 2}, "status": {"ready": True}}
    assert admit_apply(widget(spec={"size": 1}), old, Snapshot()) is old
