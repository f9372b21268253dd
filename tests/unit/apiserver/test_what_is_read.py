"""`-o yaml` and REST show what a real API server returns for the same manifest, field for field.

The expected forms are those of kube-apiserver 1.36, written from its types and defaulting (staging/src/k8s.io/api,
pkg/apis/*/v1/defaults.go); times, uids and revisions stand as T, U and R. Left out are managedFields, what admission
mounts for ServiceAccount tokens, and annotations of the lab's own.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from face import Face, with_face
from scripted import ScriptedClient
from typer.testing import CliRunner

from k8snetlab.api.core import Pod
from k8snetlab.api.decoding import decode
from k8snetlab.api.load import load
from k8snetlab.api.scheme import encode, to_dict
from k8snetlab.cli.main import app_of

NORMAL = {"uid": "U", "creationTimestamp": "T", "resourceVersion": "R"}


def normal(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: NORMAL.get(key, value) for key, value in obj["metadata"].items()}
    return {**obj, "metadata": metadata}


WRITTEN_AND_READ = {
    "Service": (
        """
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: default}
        spec: {selector: {app: web}, ports: [{port: 80}]}
        """,
        """
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: default, uid: U, creationTimestamp: T, resourceVersion: R}
        spec:
          clusterIP: 10.105.225.79
          clusterIPs: [10.105.225.79]
          internalTrafficPolicy: Cluster
          ipFamilies: [IPv4]
          ipFamilyPolicy: SingleStack
          ports: [{port: 80, protocol: TCP, targetPort: 80}]
          selector: {app: web}
          sessionAffinity: None
          type: ClusterIP
        status: {loadBalancer: {}}
        """,
    ),
    "Service of type LoadBalancer": (
        """
        apiVersion: v1
        kind: Service
        metadata: {name: lb, namespace: default}
        spec:
          type: LoadBalancer
          clusterIP: 10.96.0.9
          sessionAffinity: ClientIP
          ports: [{port: 80, name: http, nodePort: 30080, targetPort: web}]
        """,
        """
        apiVersion: v1
        kind: Service
        metadata: {name: lb, namespace: default, uid: U, creationTimestamp: T, resourceVersion: R}
        spec:
          allocateLoadBalancerNodePorts: true
          clusterIP: 10.96.0.9
          clusterIPs: [10.96.0.9]
          externalTrafficPolicy: Cluster
          internalTrafficPolicy: Cluster
          ipFamilies: [IPv4]
          ipFamilyPolicy: SingleStack
          ports: [{name: http, nodePort: 30080, port: 80, protocol: TCP, targetPort: web}]
          sessionAffinity: ClientIP
          sessionAffinityConfig: {clientIP: {timeoutSeconds: 10800}}
          type: LoadBalancer
        status: {loadBalancer: {}}
        """,
    ),
    "Service of type ExternalName": (
        """
        apiVersion: v1
        kind: Service
        metadata: {name: out, namespace: default}
        spec: {type: ExternalName, externalName: example.com}
        """,
        """
        apiVersion: v1
        kind: Service
        metadata: {name: out, namespace: default, uid: U, creationTimestamp: T, resourceVersion: R}
        spec: {externalName: example.com, sessionAffinity: None, type: ExternalName}
        status: {loadBalancer: {}}
        """,
    ),
    "Service that is headless": (
        """
        apiVersion: v1
        kind: Service
        metadata: {name: heads, namespace: default}
        spec: {clusterIP: None}
        """,
        """
        apiVersion: v1
        kind: Service
        metadata: {name: heads, namespace: default, uid: U, creationTimestamp: T, resourceVersion: R}
        spec:
          clusterIP: None
          clusterIPs: [None]
          internalTrafficPolicy: Cluster
          ipFamilies: [IPv4]
          ipFamilyPolicy: SingleStack
          sessionAffinity: None
          type: ClusterIP
        status: {loadBalancer: {}}
        """,
    ),
    "Pod": (
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: p, namespace: default, labels: {app: web}}
        spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
        """,
        """
        apiVersion: v1
        kind: Pod
        metadata:
          {name: p, namespace: default, labels: {app: web}, generation: 1, uid: U, creationTimestamp: T,
           resourceVersion: R}
        spec:
          containers:
          - image: nginx
            imagePullPolicy: Always
            name: c
            ports: [{containerPort: 80, protocol: TCP}]
            resources: {}
            terminationMessagePath: /dev/termination-log
            terminationMessagePolicy: File
          dnsPolicy: ClusterFirst
          enableServiceLinks: true
          preemptionPolicy: PreemptLowerPriority
          priority: 0
          restartPolicy: Always
          schedulerName: default-scheduler
          securityContext: {}
          serviceAccount: default
          serviceAccountName: default
          terminationGracePeriodSeconds: 30
          tolerations:
          - {effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}
          - {effect: NoExecute, key: node.kubernetes.io/unreachable, operator: Exists, tolerationSeconds: 300}
        status: {phase: Pending, qosClass: BestEffort}
        """,
    ),
    "Pod that says more": (
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: more, namespace: default}
        spec:
          hostNetwork: true
          restartPolicy: Never
          terminationGracePeriodSeconds: 0
          tolerations: [{operator: Exists}]
          containers:
          - name: c
            image: registry.example:5000/a/b:1.2
            ports: [{containerPort: 80, protocol: UDP}]
            resources: {limits: {cpu: 1, memory: 1Gi}}
        """,
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: more, namespace: default, generation: 1, uid: U, creationTimestamp: T, resourceVersion: R}
        spec:
          containers:
          - image: registry.example:5000/a/b:1.2
            imagePullPolicy: IfNotPresent
            name: c
            ports: [{containerPort: 80, hostPort: 80, protocol: UDP}]
            resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: "1", memory: 1Gi}}
            terminationMessagePath: /dev/termination-log
            terminationMessagePolicy: File
          dnsPolicy: ClusterFirst
          enableServiceLinks: true
          hostNetwork: true
          preemptionPolicy: PreemptLowerPriority
          priority: 0
          restartPolicy: Never
          schedulerName: default-scheduler
          securityContext: {}
          serviceAccount: default
          serviceAccountName: default
          terminationGracePeriodSeconds: 0
          tolerations: [{operator: Exists}]
        status: {phase: Pending, qosClass: Guaranteed}
        """,
    ),
    "Deployment": (
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: default}
        spec:
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: c, image: "nginx:1.27"}]}
        """,
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: default, generation: 1, uid: U, creationTimestamp: T, resourceVersion: R}
        spec:
          progressDeadlineSeconds: 600
          replicas: 1
          revisionHistoryLimit: 10
          selector: {matchLabels: {app: web}}
          strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}, type: RollingUpdate}
          template:
            metadata: {labels: {app: web}}
            spec:
              containers:
              - image: nginx:1.27
                imagePullPolicy: IfNotPresent
                name: c
                resources: {}
                terminationMessagePath: /dev/termination-log
                terminationMessagePolicy: File
              dnsPolicy: ClusterFirst
              restartPolicy: Always
              schedulerName: default-scheduler
              securityContext: {}
              terminationGracePeriodSeconds: 30
        status: {}
        """,
    ),
    "ReplicaSet": (
        """
        apiVersion: apps/v1
        kind: ReplicaSet
        metadata: {name: rs, namespace: default}
        spec:
          replicas: 0
          selector: {matchExpressions: [{key: app, operator: Exists}]}
          template:
            metadata: {labels: {app: rs}}
            spec: {containers: [{name: c, image: "a@sha256:0000"}], dnsPolicy: Default}
        """,
        """
        apiVersion: apps/v1
        kind: ReplicaSet
        metadata: {name: rs, namespace: default, generation: 1, uid: U, creationTimestamp: T, resourceVersion: R}
        spec:
          replicas: 0
          selector: {matchExpressions: [{key: app, operator: Exists}]}
          template:
            metadata: {labels: {app: rs}}
            spec:
              containers:
              - image: a@sha256:0000
                imagePullPolicy: IfNotPresent
                name: c
                resources: {}
                terminationMessagePath: /dev/termination-log
                terminationMessagePolicy: File
              dnsPolicy: Default
              restartPolicy: Always
              schedulerName: default-scheduler
              securityContext: {}
              terminationGracePeriodSeconds: 30
        status: {replicas: 0}
        """,
    ),
    "EndpointSlice": (
        """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        endpoints: [{addresses: [10.1.0.2]}]
        ports: [{port: 80}, {name: any}]
        """,
        """
        addressType: IPv4
        apiVersion: discovery.k8s.io/v1
        endpoints: [{addresses: [10.1.0.2], conditions: {}}]
        kind: EndpointSlice
        metadata:
          {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}, generation: 1, uid: U,
           creationTimestamp: T, resourceVersion: R}
        ports: [{name: "", port: 80, protocol: TCP}, {name: any, protocol: TCP}]
        """,
    ),
    "EndpointSlice with nothing in it": (
        """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-2, namespace: default}
        addressType: IPv6
        endpoints: []
        """,
        """
        addressType: IPv6
        apiVersion: discovery.k8s.io/v1
        endpoints: null
        kind: EndpointSlice
        metadata: {name: web-2, namespace: default, generation: 1, uid: U, creationTimestamp: T, resourceVersion: R}
        ports: null
        """,
    ),
    "Endpoints": (
        """
        apiVersion: v1
        kind: Endpoints
        metadata: {name: web, namespace: default}
        subsets: [{addresses: [{ip: 10.1.0.2}], ports: [{port: 80}]}]
        """,
        """
        apiVersion: v1
        kind: Endpoints
        metadata: {name: web, namespace: default, uid: U, creationTimestamp: T, resourceVersion: R}
        subsets: [{addresses: [{ip: 10.1.0.2}], ports: [{port: 80, protocol: TCP}]}]
        """,
    ),
    "Namespace": (
        """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop}
        """,
        """
        apiVersion: v1
        kind: Namespace
        metadata:
          {name: shop, labels: {kubernetes.io/metadata.name: shop}, uid: U, creationTimestamp: T, resourceVersion: R}
        spec: {finalizers: [kubernetes]}
        status: {phase: Active}
        """,
    ),
    "Node": (
        """
        apiVersion: v1
        kind: Node
        metadata: {name: n9}
        """,
        """
        apiVersion: v1
        kind: Node
        metadata: {name: n9, uid: U, creationTimestamp: T, resourceVersion: R}
        spec: {}
        status:
          daemonEndpoints: {kubeletEndpoint: {Port: 0}}
          nodeInfo:
            {architecture: "", bootID: "", containerRuntimeVersion: "", kernelVersion: "", kubeProxyVersion: "",
             kubeletVersion: "", machineID: "", operatingSystem: "", osImage: "", systemUUID: ""}
        """,
    ),
    "Event": (
        """
        apiVersion: v1
        kind: Event
        metadata: {name: p.1, namespace: default}
        involvedObject: {kind: Pod, name: p, namespace: default}
        reason: Failed
        """,
        """
        apiVersion: v1
        eventTime: null
        firstTimestamp: null
        involvedObject: {kind: Pod, name: p, namespace: default}
        kind: Event
        lastTimestamp: null
        metadata: {name: p.1, namespace: default, uid: U, creationTimestamp: T, resourceVersion: R}
        reason: Failed
        reportingComponent: ""
        reportingInstance: ""
        source: {}
        """,
    ),
}


@pytest.mark.parametrize("name", WRITTEN_AND_READ)
def test_what_is_read(name: str) -> None:
    written, wanted = (yaml.safe_load(text) for text in WRITTEN_AND_READ[name])

    async def test(face: Face) -> None:
        version, kind = written["apiVersion"], written["kind"]
        plural = kind.lower() + ("" if kind == "Endpoints" else "s")
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        space = "/namespaces/default" if "namespace" in written["metadata"] else ""
        made = await face.ask("POST", f"{base}{space}/{plural}", written)
        assert made.code == 201, made.json
        assert normal(made.json) == wanted
        read = (await face.ask("GET", f"{base}{space}/{plural}/{written['metadata']['name']}")).json
        assert read == made.json
        again = await face.ask("PUT", f"{base}{space}/{plural}/{written['metadata']['name']}", read)
        assert again.json == read

    with_face(test)


@pytest.mark.parametrize("name", WRITTEN_AND_READ)
def test_the_store_holds_the_same(name: str) -> None:
    (obj,) = load([("a.yaml", WRITTEN_AND_READ[name][0])], whole=False).objects
    assert decode(type(obj), encode(obj)) == decode(type(obj), encode(decode(type(obj), encode(obj))))
    stored = json.loads(encode(obj))
    shown = to_dict(obj)
    empty = [field for field in ("endpoints", "ports") if field in shown and shown[field] is None]
    assert {**stored, **dict.fromkeys(empty)} == json.loads(json.dumps(shown))


def test_yaml_has_kubectls_order_of_keys(lab: ScriptedClient) -> None:
    obj = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "web", "labels": {"b": "1", "a": "2"}}}
    lab.objects = [{**obj, "spec": {"type": "ClusterIP", "ports": [{"protocol": "TCP", "port": 80}]}}]
    lines = CliRunner().invoke(app_of(), ["get", "svc", "web", "-o", "yaml"]).stdout.splitlines()
    assert lines[:3] == ["apiVersion: v1", "kind: Service", "metadata:"]
    assert [line.strip() for line in lines[3:9]] == ["labels:", 'a: "2"', 'b: "1"', "name: web", "spec:", "ports:"]
    many = CliRunner().invoke(app_of(), ["get", "svc", "-o", "yaml"]).stdout.splitlines()
    assert [line for line in many if line[0] not in " -"] == ["apiVersion: v1", "items:", "kind: List", "metadata:"]


def test_a_pod_of_an_older_version_is_read() -> None:
    stored = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "nginx"}], "nodeName": "node1"},
        "status": {
            "phase": "Running",
            "hostIP": "192.168.0.21",
            "containerStatuses": [{"name": "c", "ready": True, "state": "Running"}, {"name": "d", "state": "Waiting"}],
        },
    }
    pod = decode(Pod, json.dumps(stored).encode())
    assert isinstance(pod, Pod)
    one, other = pod.status.containerStatuses
    assert one.state.running and other.state.waiting
    assert [ip.ip for ip in pod.status.hostIPs] == ["192.168.0.21"]
    assert (pod.spec.containers[0].imagePullPolicy, pod.spec.tolerations[0].tolerationSeconds) == ("Always", 300)
    assert to_dict(pod)["status"]["qosClass"] == "BestEffort"
