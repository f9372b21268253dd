"""Manifests as people write them: what loads, what it becomes, and what a wrong one is answered with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from k8snetlab.api.apps import Deployment
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import Loaded, load
from k8snetlab.api.source import parse
from k8snetlab.errors import ManifestError

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))


def one(text: str, name: str = "some/dir/file.yaml") -> Loaded:
    return load([(name, text)])


def problems(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        one(text, "f.yaml")
    return caught.value.problems


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_a_bad_manifest_is_refused_in_the_words_beside_it(path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load([(path.name, path.read_text())])
    assert caught.value.problems == path.with_suffix(".txt").read_text().splitlines()
    assert "nothing was changed" in caught.value.hint


def test_there_are_golden_errors() -> None:
    assert len(BAD) >= 15


def test_every_problem_of_every_file_is_told_in_order() -> None:
    with pytest.raises(ManifestError) as caught:
        load([("b.yaml", "- 1"), ("a.yaml", "x\n---\napiVersion: v1\nkind: Service\nmetadata: {name: 7}\n")])
    assert [p.split(": ")[0] for p in caught.value.problems] == ["b.yaml:1", "a.yaml:1", "a.yaml:3", "a.yaml:5"]


# Fields as they stand in the tasks and concepts pages of kubernetes.io.
KUBERNETES_DOCS = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-deployment
  labels:
    app: nginx
spec:
  replicas: 3
  revisionHistoryLimit: 5
  minReadySeconds: 5
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels:
      app: nginx
  template:
    metadata:
      creationTimestamp: null
      labels:
        app: nginx
    spec:
      serviceAccountName: default
      imagePullSecrets: [{name: regcred}]
      securityContext: {runAsUser: 1000}
      tolerations: [{key: example-key, operator: Exists, effect: NoSchedule}]
      affinity: {podAntiAffinity: {}}
      topologySpreadConstraints: []
      restartPolicy: Always
      dnsPolicy: ClusterFirst
      initContainers: [{name: init, image: busybox}]
      volumes: [{name: data, emptyDir: {}}]
      containers:
      - name: nginx
        image: nginx:1.14.2
        imagePullPolicy: IfNotPresent
        ports:
        - containerPort: 80
          name: http-web-svc
        resources: {limits: {cpu: 500m, memory: 128Mi}}
        volumeMounts: [{name: data, mountPath: /data}]
        livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 3}
        readinessProbe: {tcpSocket: {port: 8080}}
        startupProbe: {exec: {command: [cat, /tmp/healthy]}}
        lifecycle: {preStop: {exec: {command: [sleep, "1"]}}}
        env:
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: MODE, value: "on"}
        envFrom: [{configMapRef: {name: config}}]
        securityContext: {allowPrivilegeEscalation: false}
        terminationMessagePath: /dev/termination-log
---
apiVersion: v1
kind: Service
metadata:
  name: my-service
  annotations: {description: "any text: at all, \\"quoted\\""}
  managedFields: []
  uid: 1d2e0b8a-3c5f
  resourceVersion: "77"
spec:
  type: NodePort
  selector:
    app: nginx
  ports:
  - name: http
    protocol: TCP
    port: 80
    targetPort: http-web-svc
    nodePort: 30007
status:
  loadBalancer: {}
"""


def test_manifests_of_the_kubernetes_documentation_load_and_what_nobody_acts_on_is_named_once() -> None:
    loaded = one(KUBERNETES_DOCS)
    (warning,) = loaded.warnings
    assert warning == (
        "some/dir/file.yaml:25: Deployment nginx-deployment has fields that nothing here acts on:"
        " spec.template.spec.{imagePullSecrets, securityContext},"
        " spec.template.spec.containers[].{securityContext, livenessProbe, readinessProbe, startupProbe},"
        " spec.template.spec.containers[].lifecycle.preStop"
    )
    deployment, service = loaded.objects
    assert isinstance(deployment, Deployment)
    assert isinstance(service, Service)
    assert deployment.spec.template.spec.containers[0].image == "nginx:1.14.2"
    assert service.metadata.uid == "" and service.metadata.resourceVersion == ""
    assert deployment.source == "some/dir/file.yaml:2"
    assert service.spec.externalTrafficPolicy == "Cluster"


def test_pods_of_kubectl_get_o_yaml_load_and_their_status_is_the_servers() -> None:
    loaded = one(
        """
apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: web
    creationTimestamp: "2026-01-01T00:00:00Z"
    ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: u, blockOwnerDeletion: true}]
  spec:
    containers: [{name: a}]
    enableServiceLinks: true
    priority: 0
  status:
    phase: Running
    podIP: 10.0.0.1
    containerStatuses: [{name: a, state: {running: {startedAt: now}}, imageID: x}]
- apiVersion: v1
  kind: Node
  metadata: {name: node1}
  spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24], taints: []}
  status:
    addresses: [{type: InternalIP, address: 192.168.0.21}, {type: Hostname, address: node1}]
    capacity: {cpu: "2"}
    conditions: [{type: Ready, status: "True", lastHeartbeatTime: now}]
    nodeInfo: {kubeletVersion: v1.36.0}
"""
    )
    pod, node = loaded.objects
    assert loaded.warnings == ()
    assert isinstance(pod, Pod)
    assert isinstance(node, Node)
    assert pod.ips == () and not pod.metadata.creationTimestamp
    assert node.addresses == ("192.168.0.21",)
    assert pod.source == "some/dir/file.yaml:6"


def test_unknown_fields_are_refused_with_their_line() -> None:
    text = """apiVersion: v1
kind: Service
metadata: {name: web, lables: {a: b}}
spec:
  ports:
    - port: 80
      targetport: 8080
  frobnicate: 1
"""
    assert problems(text) == [
        'f.yaml:3: unknown field "metadata.lables"; did you mean "labels"?',
        'f.yaml:7: unknown field "spec.ports[0].targetport"; did you mean "targetPort"?',
        'f.yaml:8: unknown field "spec.frobnicate"',
    ]


def test_unknown_kinds_are_named_with_their_line() -> None:
    loaded = one(
        """apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports:
    - port: 80


---
apiVersion: v1
kind: ResourceQuota
metadata: {name: settings}
---
apiVersion: v1
kind: Servise
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: fn}
""",
        "f.yaml",
    )
    assert loaded.warnings == (
        "f.yaml:10: ResourceQuota settings: this kind is not part of the lab's network, ignored",
        'f.yaml:14: Servise: this kind is not part of the lab\'s network, ignored; did you mean "Service"?',
        "f.yaml:17: Service fn: this kind is not part of the lab's network, ignored",
    )
    assert [o.KIND for o in loaded.objects] == ["Service"]


def test_a_lab_of_two_nodes_needs_no_more_than_a_number() -> None:
    (lab,) = one("apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {nodes: 2}\n", "labs/My Lab/lab.yaml").objects
    assert isinstance(lab, Lab)
    assert isinstance(lab.spec.nodes, tuple)
    assert lab.name == "my-lab"
    assert [(n.name, n.address) for n in lab.spec.nodes] == [("node1", "192.168.0.21"), ("node2", "192.168.0.22")]
    assert (lab.spec.underlay.router, lab.spec.network.mtu, lab.spec.podCIDR) == ("192.168.0.1", 1450, "10.244.0.0/16")


def test_an_empty_lab_has_two_nodes_and_the_name_lab() -> None:
    (lab,) = one("apiVersion: k8snetlab/v1alpha1\nkind: Lab\n", "lab.yaml").objects
    assert isinstance(lab, Lab)
    assert isinstance(lab.spec.nodes, tuple)
    assert (lab.name, len(lab.spec.nodes)) == ("lab", 2)


def test_a_dual_stack_lab_gives_one_address_of_each_family_and_skips_those_taken() -> None:
    (lab,) = one(
        """apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  underlay: {cidr: "10.0.0.0/24,fd00::/64"}
  podCIDR: 10.244.0.0/16,fd00:244::/48
  serviceCIDR: 10.96.0.0/16,fd00:96::/112
  nodes: [{name: a}, {name: b, address: "10.0.0.21,fd00::99"}, {name: c}]
"""
    ).objects
    assert isinstance(lab, Lab)
    assert isinstance(lab.spec.nodes, tuple)
    assert [n.address for n in lab.spec.nodes] == ["10.0.0.22,fd00::21", "10.0.0.21,fd00::99", "10.0.0.23,fd00::22"]
    assert lab.spec.underlay.router == "10.0.0.1,fd00::1"


def test_every_kind_loads() -> None:
    loaded = one(
        """
{apiVersion: v1, kind: Namespace, metadata: {name: prod}, spec: {finalizers: [kubernetes]}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets: [{addresses: [{ip: 192.168.0.103}], ports: [{port: 3306}]}]
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{port: 3306}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv6
ports: [{port: 3306, name: ""}]
endpoints: [{addresses: ["fd00::3"], conditions: {ready: true}, zone: a, hints: {forZones: [{name: a}]}}]
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
featureGates: {}
"""
    )
    assert [type(o) for o in loaded.objects] == [Namespace, Endpoints, Service, EndpointSlice, KubeProxyConfiguration]
    assert loaded.warnings == ()
    assert {o.namespace for o in loaded.objects} == {"", "default"}


def test_json_loads_with_tabs_escapes_and_surrogate_pairs() -> None:
    (service,) = one(
        '{\n\t"apiVersion": "v1",\n\t"kind": "Service",\n\t"metadata": {"name": "web", "annotations": '
        '{"a": "\\ud83d\\ude00 \\/ \\u00e9"}},\n\t"spec": {"ports": [{"port": 80}]}\n}\n'
    ).objects
    assert service.metadata.annotations["a"] == "\U0001f600 / é"


def test_values_mean_what_they_mean_to_kubernetes() -> None:
    documents, flaws = parse(
        """\
int: [0, 12, -3, 0o17, 017, 0x1f, 0b11, 1_000, 1e3]
string: [2001-01-01, 12:30:00, 0x, 1.2.3, "yes", !!str 5, 'null', "8080", .inf, 99999999999999999999999e999]
bool: [true, yes, on, y, False, no, OFF, n]
nothing: ~
float: 1.5
merged: {<<: &base {a: 1, b: 2}, b: 3}
again: *base
""",
        "f",
    )
    (document,) = documents
    assert flaws == []
    assert document.value == {
        "int": [0, 12, -3, 15, 15, 31, 3, 1000, 1000],
        "string": ["2001-01-01", "12:30:00", "0x", "1.2.3", "yes", "5", "null", "8080", ".inf", "9" * 23 + "e999"],
        "bool": [True, True, True, True, False, False, False, False],
        "float": 1.5,
        "merged": {"a": 1, "b": 3},
        "again": {"a": 1, "b": 2},
    }
    assert document.lines["int", 3] == 1
    assert document.lines["merged", "b"] == 6
    assert document.line(("merged", "no", "such")) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!set {x}", "f.yaml:1: tag !!set is not JSON"),
        ("a: !!timestamp 2001-01-01", "tag !!timestamp is not JSON"),
        ("a: !!python/object:os.system x", "tag !!python/object:os.system is not JSON"),
        ("a: !!int x", '"x" is no !!int'),
        ("[a]: b", "a key must be a string"),
        ("~: b", "a key must be a string"),
        ("a: *b", "alias *b has no anchor &b before it"),
        ("a:\n  - &x [*x]", "f.yaml:2: alias *x stands inside its own anchor"),
        ("\n\nx: \x01", "f.yaml:3: character U+0001 cannot stand in YAML"),
        ("a: \ud800", "the file is not UTF-8 text"),
        ("[" * 5000, "nested deeper than 100 levels"),
        ("a: " + "{a: " * 200, "nested deeper than 100 levels"),
        ("- " * 3000 + "a", "nested deeper than 100 levels"),
        ("<<: 1\n", "<< takes a mapping"),
        ("%YAML 9.9\n---\na", "not YAML"),
    ],
)
def test_text_that_kubernetes_would_not_read(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(text))


def test_bytes_that_are_no_text() -> None:
    documents, flaws = parse(b"a: 1\n\xff\xfe\x00", "f")
    assert documents == []
    assert flaws[0].line == 2


def test_empty_documents_are_no_objects() -> None:
    assert one("---\n---\n# nothing\n---\n~\n...\n") == Loaded((), ())
    assert one("") == Loaded((), ())
    assert one("\ufeff") == Loaded((), ())


def test_deep_nesting_does_not_kill_the_interpreter() -> None:
    """libyaml's composer recurses in C: a signal, not an exception, is what must not come."""
    code = "from k8snetlab.api.source import parse; parse('[' * 300000, 'f'); parse('{a: ' * 300000, 'f')"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_what_loads_can_be_stored_and_read_back() -> None:
    from k8snetlab.api.decoding import decode
    from k8snetlab.api.scheme import encode

    for obj in one(KUBERNETES_DOCS).objects:
        assert decode(type(obj), encode(obj)) == obj


def test_what_is_plainly_meant_does_not_hide_what_else_is_wrong_and_is_never_used() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: web, labels: {version: 2}}
spec: {type: Nodeport, selector: {app: 1}, ports: [{port: "80", nodePort: 99999}], clusterIP: 10.0.0.300}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
"""
    with pytest.raises(ManifestError) as caught:
        load([("f.yaml", text)])
    fields = [problem.split(": ")[1] for problem in caught.value.problems]
    assert sorted(fields) == [
        "metadata.labels.version",
        "metadata.name",
        "spec.clusterIP",
        "spec.ports[0].nodePort",
        "spec.ports[0].port",
        "spec.selector.app",
        "spec.type",
    ]
