"""Manifests by the standard of kube-apiserver 1.36: what it takes is taken, what it refuses is refused in its words."""

from __future__ import annotations

from typing import Literal

import pytest

from k8snetlab.api.apps import Deployment
from k8snetlab.api.body import decode
from k8snetlab.api.core import Endpoints, Namespace, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import IngressSettings, Lab, LabNetworkPolicy, LabSpec
from k8snetlab.api.load import Loaded, load
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.networking import Ingress, NetworkPolicy
from k8snetlab.api.source import parse
from k8snetlab.api.unserved import warning_of
from k8snetlab.errors import ManifestError


def loaded(text: str) -> Loaded:
    return load([("f.yaml", text)], whole=False)


def refused(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        loaded(text)
    return caught.value.problems


def service(spec: str, name: str = "web", more: str = "") -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}{more}}}\nspec: {spec}\n"


def pod(spec: str, name: str = "p") -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def container(more: str) -> str:
    return pod(f"{{containers: [{{name: c, image: x, {more}}}]}}")


def deployment(template: str, more: str = "") -> str:
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec: {{{more}selector: {{matchLabels: {{a: b}}}},"
        f" template: {{metadata: {{labels: {{a: b}}}}, spec: {template}}}}}\n"
    )


def endpoint_slice(more: str, endpoints: str = "[{addresses: [10.9.9.9]}]", type_: str = "IPv4") -> str:
    return (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        f"metadata: {{name: s, labels: {{kubernetes.io/service-name: web}}}}\naddressType: {type_}\n"
        f"endpoints: {endpoints}\n{more}\n"
    )


def only(text: str) -> Object:
    (obj,) = loaded(text).objects
    return obj


# --- taken ------------------------------------------------------------------------------------------------------------


def test_empty_strings_and_nulls_are_what_is_left_out() -> None:
    empty = (
        '{type: "", sessionAffinity: "", externalTrafficPolicy: "", clusterIP: "", ports: [{port: 80, protocol: ""}]}'
    )
    null = (
        "{type: null, sessionAffinity: ~, sessionAffinityConfig: , internalTrafficPolicy: null, ipFamilies: null,"
        " trafficDistribution: null, ports: [{port: 80, protocol: null, targetPort: null, name: null}]}"
    )
    left_out = only(service("{ports: [{port: 80}]}"))
    assert isinstance(left_out, Service)
    for text in (empty, null, '{ports: [{port: 80, targetPort: ""}]}', "{ports: [{port: 80, targetPort: 0}]}"):
        other = only(service(text))
        assert isinstance(other, Service)
        assert other.spec == left_out.spec
    one, two = (
        only(pod('{restartPolicy: "", dnsPolicy: "", schedulerName: "", containers: [{name: c}]}')),
        only(pod("{containers: [{name: c}], initContainers: null, nodeSelector: ~}")),
    )
    assert isinstance(one, Pod) and isinstance(two, Pod)
    assert one.spec == two.spec
    rolling = only(deployment("{containers: [{name: c}]}", 'strategy: {type: ""}, '))
    assert isinstance(rolling, Deployment)
    assert rolling.spec.strategy.rollingUpdate is not None


def test_the_config_of_an_affinity_that_is_none_is_dropped() -> None:
    given = only(
        service("{sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}, ports: [{port: 1}]}")
    )
    assert isinstance(given, Service)
    assert given.spec.sessionAffinityConfig is None


@pytest.mark.parametrize(
    "text",
    [
        service("{ports: [{port: 80}]}", "1st-web"),
        service("{trafficDistribution: PreferSameNode, ports: [{port: 80}]}"),
        service("{type: ExternalName, externalName: db.example.com, ports: [{port: 80}]}"),
        service("{type: LoadBalancer, allocateLoadBalancerNodePorts: false, loadBalancerClass: a.io/b, ports: [{port: 80}]}"),
        container("ports: [{containerPort: 80, name: a}, {containerPort: 80, name: b}]"),
        container("ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 80, hostPort: 8081}]"),
        container('env: [{name: "a.b-c d", value: ""}, {name: 1st}, {name: X, value: "$(X)"}]'),
        container("resources: {limits: {cpu: 1, memory: 1e3, a.io/b: 1.5Gi}, requests: {cpu: 100m}}"),
        container("livenessProbe: {httpGet: {port: http, path: /}}, readinessProbe: {tcpSocket: {port: 80}}"),
        pod("{terminationGracePeriodSeconds: -5, containers: [{name: c}]}"),
        pod("{hostNetwork: true, containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]}"),
        pod("{containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, emptyDir: {}}]}"),
        endpoint_slice("ports: [{name: a, port: 80}, {name: b, port: 80}]", "[{addresses: [239.1.2.3]}]"),
        endpoint_slice("ports: [{port: 80}]", "[{addresses: [db.example.com]}]", "FQDN"),
        "kind: List\napiVersion: v1\nmetadata: {resourceVersion: ''}\nitems:\n- " + service("{ports: [{port: 1}]}").replace("\n", "\n  "),
        '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "creationTimestamp": null}}',
        "\ufeff# first\r\n---\r\napiVersion: v1\r\nkind: Namespace\r\nmetadata:\r\n  name: a\r\n---\r\n# nothing\r\n",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {UPPER.example.com/x: 'any = text'}}",
    ],
)  # fmt: skip
def test_what_kubernetes_takes_is_taken(text: str) -> None:
    assert loaded(text).objects


def test_ipv6_addresses_are_taken_in_any_spelling_and_compared_in_one() -> None:
    text = "{clusterIP: 'FD00:0:0::0009', externalIPs: ['2001:DB8:0::1'], ports: [{port: 80}]}"
    given = only(service(text))
    assert isinstance(given, Service)
    assert (given.clusterIPs, given.spec.externalIPs) == (("fd00::9",), ("2001:db8::1",))
    by_hand = only(endpoint_slice("ports: [{port: 80}]", "[{addresses: ['FD00::0:1']}]", "IPv6"))
    assert isinstance(by_hand, EndpointSlice)
    assert by_hand.endpoints[0].addresses == ("fd00::1",)
    old = only("{apiVersion: v1, kind: Endpoints, metadata: {name: a}, subsets: [{addresses: [{ip: 'FD00::0:1'}]}]}")
    assert isinstance(old, Endpoints)
    assert old.subsets[0].addresses[0].ip == "fd00::1"


def test_the_namespace_of_an_object_that_is_in_none_is_dropped() -> None:
    found = loaded("{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}")
    (namespace,) = found.objects
    assert isinstance(namespace, Namespace) and namespace.metadata.namespace == ""
    assert found.warnings == ("f.yaml:1: metadata.namespace: a Namespace is in no namespace; ignored",)


def test_ports_that_a_pod_has_twice_are_warned_of_as_kube_apiserver_does() -> None:
    two = "{containers: [{name: a, ports: [{containerPort: 81, name: http}]}, {name: b, ports: [{containerPort: 80, name: http}]}]}"
    assert loaded(pod(two)).warnings == (
        'f.yaml:4: spec.containers[1].ports[0]: duplicate port name "http" with spec.containers[0].ports[0], services and'
        " probes that select ports by name will use spec.containers[0].ports[0]",
    )
    twice = container(
        "ports: [{containerPort: 80}, {containerPort: 80, hostPort: 9}, {containerPort: 80, hostPort: 9, hostIP: 10.0.0.1}]"
    )
    assert [w.rpartition(": ")[2] for w in loaded(twice).warnings] == [
        "overlapping port definition with spec.containers[0].ports[0]",
        "overlapping port definition with spec.containers[0].ports[0]",
        "dangerously ambiguous port definition with spec.containers[0].ports[1]",
    ]


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (service("{trafficDistribution: preferclose, ports: [{port: 80}]}"), 'trafficDistribution: Unsupported value: "preferclose": supported values: "PreferClose"'),
        (service('{internalTrafficPolicy: "", ports: [{port: 80}]}'), 'internalTrafficPolicy: Unsupported value: ""'),
        (service('{trafficDistribution: "", ports: [{port: 80}]}'), 'trafficDistribution: Unsupported value: ""'),
        (service("{ipFamilies: [IPv4, IPv5], ports: [{port: 80}]}"), 'spec.ipFamilies[1]: Unsupported value: "IPv5"'),
        (service("{ports: [{port: 80, appProtocol: 'a b'}]}"), "appProtocol:"),
        (service("{ports: [{port: 80, targetPort: '80'}]}"), "is no port name"),
        (service("{ports: [{port: '80'}]}"), "expected a whole number"),
        (service("{loadBalancerClass: a/b, ports: [{port: 80}]}"), "may only be used when `type` is 'LoadBalancer'"),
        (service("{allocateLoadBalancerNodePorts: true, ports: [{port: 80}]}"), "may only be used when `type` is 'LoadBalancer'"),
        (service("{type: LoadBalancer, ports: [{port: 10250}]}"), "may not expose port 10250 externally since it is used by kubelet"),
        (service("{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.5/8], ports: [{port: 80}]}"), "must not have bits set beyond the prefix length"),
        (service("{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/08], ports: [{port: 80}]}"), "must not have leading 0s"),
        (service("{ports: [{port: 80}]}", more=", annotations: {service.beta.kubernetes.io/load-balancer-source-ranges: 10.0.0.0/8}"), "may only be used when"),
        (service("{externalIPs: ['::ffff:1.2.3.4'], ports: [{port: 80}]}"), "must not be an IPv4-mapped IPv6 address"),
        (service("{externalIPs: [0.0.0.0], ports: [{port: 80}]}"), "may not be unspecified (0.0.0.0 or ::)"),
        (service("{externalIPs: [224.0.0.5], ports: [{port: 80}]}"), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        (service("{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, ports: [{port: 80}]}"), "86401"),
        (service("{ports: [{port: 80}], topologyKeys: ['*']}"), 'unknown field "spec.topologyKeys"'),
        (service("{ports: [{port: 80}]}", more=", labels: {Example.com/a: b}"), "is no label key"),
        (endpoint_slice("").replace("addressType: IPv4\n", ""), "addressType: Required value"),
        (endpoint_slice("ports: [{port: 80}]", "[{addresses: [127.0.0.1]}]"), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (endpoint_slice("ports: [{name: a, port: 80}, {name: a, port: 81}]"), "names another port already"),
        (endpoint_slice("ports: [{port: 80, protocol: tcp}]"), 'Unsupported value: "tcp"'),
        (endpoint_slice("", "[{addresses: [10.0.0.1], hints: {forZones: [{name: a}, {name: a}]}}]"), 'Duplicate value: "a"'),
        (endpoint_slice("", "[{addresses: [10.0.0.1], nodeName: A_1}]"), "endpoints[0].nodeName"),
        (endpoint_slice("", "[{addresses: [10.0.0.1], conditions: {ready: 'true'}}]"), "expected true or false"),
        (container('env: [{name: "A=B"}]'), "printable ASCII characters other than '='"),
        (container('env: [{name: ""}]'), "env[0].name: Required value"),
        (container('env: [{name: "ä"}]'), "printable ASCII characters other than '='"),
        (container('env: [{name: A, value: "a\\0b"}]'), "has a NUL in it"),
        (container('command: ["a\\0b"]'), "command[0]"),
        (container('args: ["a", "\\0"]'), "args[1]"),
        (container('workingDir: "/a\\0"'), "workingDir"),
        (container("workingDir: data"), "is no absolute path"),
        (container("env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"), "may not be specified when `value` is not empty"),
        (container("env: [{name: A, valueFrom: {}}]"), "must specify one of"),
        (container("ports: [{containerPort: 80, name: a}, {containerPort: 81, name: a}]"), 'Duplicate value: "a"'),
        (container("volumeMounts: [{name: v, mountPath: /v}]"), 'volumeMounts[0].name: Not found: "v"'),
        (container("livenessProbe: {httpGet: {prot: 80}}"), 'unknown field "spec.containers[0].livenessProbe.httpGet.prot"; did you mean "port"?'),
        (container("livenessProbe: {httpGet: {path: /}}"), "livenessProbe.httpGet.port: Required value"),
        (container("livenessProbe: {httpGet: {port: 80, scheme: https}}"), 'Unsupported value: "https": supported values: "HTTP", "HTTPS"'),
        (container("resources: {limits: {cpu: lots}}"), "expected a quantity"),
        (container("imagePullPolicy: always"), 'Unsupported value: "always"'),
        (container("securityContext: {runAsUser: root}"), "expected a whole number"),
        (pod("{hostNetwork: true, containers: [{name: c, ports: [{containerPort: 80, hostPort: 81}]}]}"), "hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"),
        (pod("{containers: [{name: c}], initContainers: [{name: c}]}"), '"c" names another container already'),
        (pod("{containers: [{name: c}], initContainers: [{name: i, restartPolicy: always}]}"), 'Unsupported value: "always"'),
        (pod("{containers: [{name: c}], tolerations: [{operator: Is}]}"), 'Unsupported value: "Is"'),
        (pod("{containers: [{name: c}], volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}]}"), "may not specify more than 1 volume type"),
        (pod("{containers: [{name: c}], volumes: [{name: v}, {name: v}]}"), 'Duplicate value: "v"'),
        (pod("{containers: [{name: c}], volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce, Any]}}}}]}"), 'accessModes[1]: Unsupported value: "Any"'),
        (pod("{containers: [{name: c}], restartPolicy: Sometimes}"), 'Unsupported value: "Sometimes"'),
        (deployment("{containers: [{name: c}], restartPolicy: Never}"), 'restartPolicy: Unsupported value: "Never": supported values: "Always"'),
        (deployment("{containers: [{name: c}]}", "revisionHistoryLimit: -1, "), "must be greater than or equal to 0"),
        (deployment("{containers: [{name: c}]}", "template2: {}, "), 'unknown field "spec.template2"; did you mean "template"?'),
    ],
)  # fmt: skip
def test_what_kubernetes_refuses_is_refused_in_its_words(text: str, said: str) -> None:
    problems = refused(text)
    assert any(said in problem for problem in problems), problems
    for document in parse(text, "f.yaml")[0]:  # and by a bare request: not what is said of unknown fields only
        if "unknown field" not in said and "tcp" not in text:
            with pytest.raises(ManifestError):
                _admitted(decode(document.value))


def _admitted(obj: Object) -> None:
    from k8snetlab.api.snapshot import Snapshot
    from k8snetlab.controllers.admission import admit

    admit(obj, None, Snapshot())


@pytest.mark.parametrize("digits", ["9" * 4301, "9" * 20, "٣"])
def test_numbers_without_end_are_refused_like_others(digits: str) -> None:
    for text in (
        service(f"{{ports: [{{port: '{digits}'}}]}}"),
        service(f"{{ports: [{{port: {digits}}}]}}"),
        service(f"{{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/{digits}], ports: [{{port: 1}}]}}"),
        f"apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {{podCIDR: '10.0.0.0/{digits}'}}\n",
        container(f"resources: {{limits: {{cpu: '{digits}x'}}}}"),
        deployment("{containers: [{name: c}]}", f"strategy: {{rollingUpdate: {{maxSurge: '{digits}%'}}}}, "),
    ):
        assert all(len(problem) < 400 for problem in refused(text))


# --- named ------------------------------------------------------------------------------------------------------------


def test_fields_that_nobody_acts_on_are_named_once_a_kind_with_their_count() -> None:
    one = pod("{containers: [{name: c, securityContext: {runAsUser: 1}}], hostPID: true}")
    two = pod("{containers: [{name: c, tty: true}]}", "q")
    assert loaded(one).warnings == (
        "f.yaml:4: Pod p has fields that nothing here acts on: spec.containers[].securityContext, spec.hostPID",
    )
    assert loaded(f"{one}---\n{two}").warnings == (
        "f.yaml:4: Pod: 2 objects have fields that nothing here acts on: spec.containers[].{securityContext, tty},"
        " spec.hostPID",
    )


def test_a_sidecar_is_acted_on() -> None:
    text = "{containers: [{name: c}], initContainers: [{name: s, restartPolicy: Always, ports: [{containerPort: 80, name: h}]}]}"
    assert loaded(pod(text)).warnings == ()


def test_fields_that_say_nothing_need_no_warning() -> None:
    text = pod(
        "{containers: [{name: c, resources: {}, terminationMessagePath: /dev/termination-log, imagePullPolicy: Always}],"
        " volumes: [], affinity: {}, securityContext: {}, dnsPolicy: ClusterFirst, schedulerName: default-scheduler,"
        " enableServiceLinks: true, priority: 0, serviceAccountName: default, restartPolicy: Always, hostPID: false}"
    )
    assert loaded(text).warnings == ()


def test_kinds_of_others_are_counted() -> None:
    scaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: p}\n"
    found = loaded(scaler)
    assert (found.objects, found.others) == ((), True)
    assert found.warnings == (
        "f.yaml:1: HorizontalPodAutoscaler p: this kind is not part of the lab's network, ignored",
    )
    assert loaded(f"{scaler}---\n{scaler}---\n{scaler}").warnings == (
        "f.yaml:1: HorizontalPodAutoscaler: 3 objects: this kind is not part of the lab's network, ignored",
    )


def test_who_writes_an_ingress_is_warned_where_the_lab_has_no_controller() -> None:
    door = Ingress(metadata=ObjectMeta(name="p"))
    assert not warning_of(door, Lab(spec=LabSpec(ingress=IngressSettings(controller="nginx"))))
    assert warning_of(door, Lab()).startswith("Ingress p: it is stored, and opens no door: the lab has no Ingress")


CONTROLLERS: tuple[Literal["kube-router"], Literal["none"]] = ("kube-router", "none")


def test_who_writes_a_policy_is_warned_where_the_lab_has_no_controller() -> None:
    policy = NetworkPolicy(metadata=ObjectMeta(name="p"))
    said = {
        controller: warning_of(policy, Lab(spec=LabSpec(networkPolicy=LabNetworkPolicy(controller))))
        for controller in CONTROLLERS
    }
    assert not said["kube-router"]
    assert said["none"].startswith("NetworkPolicy p: it is stored, and holds no packet back")


def test_a_service_of_a_kind_that_is_ignored_is_told_so() -> None:
    text = (
        "{apiVersion: apps/v1, kind: DeploymentConfig, metadata: {name: db}, spec: {template: {metadata: {labels: {app: db}}}}}\n---\n"
        + service("{selector: {app: db}, ports: [{port: 80}]}")
    )
    assert load([("f.yaml", text)]).warnings[1] == (
        "f.yaml:6: spec.selector: selects the pods of DeploymentConfig db, which is ignored: the Service will have no endpoints"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 010", 8), ("a: 0o10", 8), ("a: 0b11", 3), ("a: yes", True), ("a: off", False), ("a: 'yes'", "yes"),
        ("a: 1e3", 1000), ("a: ~", None), ("a: 12:30", "12:30"), ("a: 1_000", 1000), ("a: 09", 9),
    ],
)  # fmt: skip
def test_scalars_are_read_as_kubernetes_yaml_reader_does(text: str, value: object) -> None:
    assert parse(text, "f")[0][0].value.get("a") == value


# --- kube-proxy's configuration ---------------------------------------------------------------------------------------

PROXY = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
KUBEADM = """bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: "", qps: 0}
clusterCIDR: 10.244.7.9/16
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null,
  udpStreamTimeout: 0s, udpTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s, tcpFinTimeout: 0s,
  tcpTimeout: 0s, udpTimeout: 0s}
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
metricsBindAddress: ""
mode: ""
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
"""


def test_what_kubeadm_writes_for_kube_proxy_loads_without_a_word() -> None:
    assert loaded(PROXY + KUBEADM).warnings == ()


def test_what_kube_proxy_would_heed_and_nobody_does_here_is_named() -> None:
    text = "iptables: {syncPeriod: 5s}\nfeatureGates: {AllowServiceExternalIPs: false, AllAlpha: true}\nmetricsBindAddress: 0.0.0.0:1\n"
    assert loaded(PROXY + text).warnings == (
        "f.yaml:3: KubeProxyConfiguration kube-proxy has fields that nothing here acts on: iptables.syncPeriod,"
        " metricsBindAddress, featureGates.AllAlpha",
    )
    (unknown,) = loaded(PROXY + "clusterCIDRs: 10.0.0.0/8\n").warnings
    assert unknown == 'f.yaml:3: unknown field "clusterCIDRs"; did you mean "clusterCIDR"?'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode: ipvs", 'mode: Unsupported value: "ipvs": supported values: "iptables"'),
        ("bindAddress: here", "not a valid textual representation of an IP address"),
        ("clusterCIDR: 10.0.0.0/8,10.1.0.0/16", "must be a valid DualStack CIDR"),
        ("clusterCIDR: 10.0.0.0", "must be a valid CIDR value"),
        ("nodePortAddresses: [primary, 10.0.0.0/8]", 'Invalid value: "primary"'),
        ("iptables: {masqueradeBit: 32}", "32 is out of range"),
        ("featureGates: {AllowServiceExternalIPs: 'no'}", "expected true or false"),
        ("conntrack: {min: -1}", "must be greater than or equal to 0"),
        ("ipvs: {syncPeriod: soon}", "expected a duration"),
        ("iptables: {syncPeriod: soon}", "expected a duration"),
        ("detectLocalMode: Bridge", 'Unsupported value: "Bridge"'),
    ],
)
def test_configurations_that_kube_proxy_refuses(text: str, said: str) -> None:
    problems = refused(PROXY + text)
    assert any(said in problem for problem in problems), problems


TEMPLATE_OF_JOB = "template: {metadata: {labels: {job: x}}, spec: {containers: [{name: c}]}}"


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("argoproj.io/v1alpha1, kind: Rollout", f"{{{TEMPLATE_OF_JOB}}}"),
        ("batch/v1, kind: CronJob", f"{{jobTemplate: {{spec: {{{TEMPLATE_OF_JOB}}}}}}}"),
    ],
)
def test_a_service_of_any_ignored_kind_is_told_so(kind: str, spec: str) -> None:
    text = (
        f"---\n{{apiVersion: {kind}, metadata: {{name: x}}, spec: {spec}}}\n"
        "---\n{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {selector: {job: x}, ports: [{port: 80}]}}\n"
    )
    assert any(
        f"selects the pods of {kind.rpartition(' ')[2]} x, which is ignored" in told
        for told in load([("f.yaml", text)]).warnings
    )
