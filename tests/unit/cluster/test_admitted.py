"""What an applied manifest leaves of the object that is there."""

from __future__ import annotations

from k8snetlab.api.core import Pod, PodSpec, PodStatus
from k8snetlab.api.custom import Custom, custom_type, object_of
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.admitted import admit_apply, deletion, planned
from k8snetlab.controllers import Write

WIDGET = custom_type("example.com", "widgets", "Widget", True)


def widget(**content: object) -> Custom:
    metadata = {"name": "a", "namespace": "default"}
    return object_of(WIDGET, {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, **content})


def test_the_status_of_an_object_that_users_bring_stays_where_the_manifest_has_none() -> None:
    old = widget(spec={"size": 1}, status={"ready": True})
    new = admit_apply(widget(spec={"size": 2}), old, Snapshot())
    assert isinstance(new, Custom) and new.content == {"spec": {"size": 2}, "status": {"ready": True}}
    assert admit_apply(widget(spec={"size": 1}), old, Snapshot()) is old


def test_a_pod_that_never_ran_and_one_whose_node_is_gone_have_failed_for_who_waits_for_their_end() -> None:
    kept = ObjectMeta(name="p", namespace="default", finalizers=("example.com/count",))
    pending = deletion(Pod(metadata=kept), force=False)
    assert pending is not None and isinstance(pending.obj, Pod) and pending.obj.status.phase == "Failed"
    pod = Pod(metadata=kept, spec=PodSpec(nodeName="gone"), status=PodStatus(podIP="10.0.0.2", phase="Running"))
    lost = planned(Write("delete", pod, force=True), Snapshot.of([pod]))
    assert lost is not None and isinstance(lost.obj, Pod) and lost.obj.status.phase == "Failed"
    running = deletion(pod, force=False)
    assert running is not None and isinstance(running.obj, Pod) and running.obj.status.phase == "Running"
