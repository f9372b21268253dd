"""A cluster without machines: objects, the real controllers, and a kubelet that says pods are ready.

cluster = FakeCluster(LAB % 2 + deployment("web", replicas=3) + service("web")).run()
[slice] = cluster.snapshot.all(EndpointSlice).values()
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.decoding import decode
from k8snetlab.api.load import load
from k8snetlab.api.meta import FOREGROUND, Object
from k8snetlab.api.pod_state import stopped
from k8snetlab.api.scheme import RESOURCES, encode
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workloads import Workload
from k8snetlab.cluster.admitted import is_over
from k8snetlab.cluster.stamps import stamped
from k8snetlab.controllers import Context, Write, reconcile, work_out
from k8snetlab.controllers.admission import admit, in_order

NOW = "2026-01-01T00:00:00Z"


class FakeCluster:
    """Does with writes what the daemon does: admits them, stores them as JSON, marks pods before they go. Its clock
    goes on only when it is told to (`later`)."""

    def __init__(self, manifests: str = "") -> None:
        self.snapshot = Snapshot()
        self.previous: Snapshot | None = None
        self.history: list[Write] = []
        self.time = datetime.fromisoformat(NOW).timestamp()
        self._dues: dict[tuple[type[Object], Key], float] = {}
        self.apply(manifests)

    def apply(self, manifests: str) -> FakeCluster:
        loaded = load([("f.yaml", manifests)])
        for obj in in_order([*loaded.objects, *loaded.ignored]):
            old = self.snapshot.all(type(obj)).get(obj.key)
            if isinstance(obj, Pod | Workload) and isinstance(old, Pod | Workload):
                written: Any = obj
                obj = replace(written, status=old.status)
            self.store(obj)
        return self

    def store(self, obj: Object) -> None:
        old = self.snapshot.all(type(obj)).get(obj.key)
        admitted = admit(stamped(obj, old, self._now), old, self.snapshot)
        if is_over(admitted):
            self.snapshot = self.snapshot.changed([(type(obj), obj.key, None)], self.snapshot.revision + 1)
            return
        stored = decode(type(obj), encode(admitted))
        assert stored == admitted, "what is stored must read back the same"
        revision = self.snapshot.revision + 1
        metadata = replace(stored.metadata, creationTimestamp=stored.metadata.creationTimestamp or self._now)
        self.snapshot = self.snapshot.changed([(type(obj), obj.key, replace(stored, metadata=metadata))], revision)

    def delete(
        self, obj: Object, force: bool = False, released: tuple[str, ...] = (), foreground: bool = False
    ) -> None:
        kept = (*obj.metadata.finalizers, *((FOREGROUND,) if foreground else ()))
        finalizers = tuple(name for name in kept if name not in released)
        running = isinstance(obj, Pod) and bool(obj.spec.nodeName) and not force
        if running or finalizers:
            metadata = replace(
                obj.metadata,
                finalizers=finalizers,
                deletionTimestamp=obj.metadata.deletionTimestamp or self._now,
                deletionGracePeriodSeconds=30 if running else 0,
            )
            self.store(replace(obj, metadata=metadata))
            return
        self.snapshot = self.snapshot.changed([(type(obj), obj.key, None)], self.snapshot.revision + 1)

    def step(self) -> list[Write]:
        """One call of the controllers; what they find must not depend on what they remember of the last call."""
        outcome = work_out(self.snapshot, self.previous, Context(time=self.time))
        for bug in outcome.bugs:
            raise bug.error
        self.previous = self.snapshot
        self._dues.update(outcome.dues)
        writes = list(outcome.writes)
        for write in writes:
            if write.action == "delete":
                self.delete(write.object, write.force, write.released, write.foreground)
            else:
                self.store(write.object)
        self.history += writes
        return writes

    def settle(self) -> FakeCluster:
        for _ in range(50):
            if not self.step():
                assert reconcile(self.snapshot, None, Context(time=self.time)) == [], (
                    "a fresh controller must find nothing left to do either"
                )
                return self
        raise AssertionError("the controllers do not come to rest")

    def kubelet(self, ready: Callable[[Pod], bool] = lambda pod: True) -> FakeCluster:
        """Pods that are going go; pods with an address run, and are ready where `ready` says so."""
        for pod in list(self.snapshot.all(Pod).values()):
            if pod.metadata.deletionTimestamp:
                if pod.metadata.finalizers and not pod.ended:
                    self.store(pod := stopped(pod, self._now))
                self.delete(pod, force=True)
            elif pod.ips and pod.status.phase in ("Pending", "Running") and pod.ready != ready(pod):
                conditions = tuple(c for c in pod.status.conditions if c.type != "Ready")
                new = Condition(type="Ready", status=str(ready(pod)), lastTransitionTime=self._now)
                self.store(replace(pod, status=replace(pod.status, phase="Running", conditions=(*conditions, new))))
        return self

    def run(self, ready: Callable[[Pod], bool] = lambda pod: True) -> FakeCluster:
        """Controllers and kubelet until nothing changes."""
        for _ in range(50):
            before = self.snapshot
            self.settle().kubelet(ready)
            if self.snapshot is before:
                return self
        raise AssertionError("the cluster does not come to rest")

    def later(self, seconds: float) -> FakeCluster:
        """So many seconds later: the controllers look again at what they said they would, and come to rest."""
        self.time += seconds
        rung = [of for of, at in self._dues.items() if at <= self.time]
        for of in rung:
            del self._dues[of]
        if self.previous is not None:
            self.previous = self.previous.changed([(*of, None) for of in rung if of[1] in self.previous.all(of[0])], 0)
        return self.settle()

    @property
    def _now(self) -> str:
        return datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def pods(self, prefix: str = "") -> list[Pod]:
        return [p for p in self.snapshot.all(Pod).values() if p.name.startswith(prefix)]

    def all(self) -> dict[tuple[str, str, str], Object]:
        return {(r.kind, *key): obj for r in RESOURCES for key, obj in self.snapshot.all(r.type).items()}


LAB = "---\n{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: %s}}\n"


def deployment(
    name: str, replicas: int = 3, image: str = "a", ports: str = "[{containerPort: 8080, name: http}]"
) -> str:
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: c, image: {image}, ports: {ports}}}]}}
"""


def service(name: str, more: str = "", ports: str = "[{port: 80, targetPort: 8080}]") -> str:
    spec = f"{{selector: {{app: {name}}}, ports: {ports}, {more}}}"
    return f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n"
