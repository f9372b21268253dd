"""Fields of the Kubernetes API that are accepted and have no effect on the network.

Source: the API reference of Kubernetes 1.36. They are accepted silently, so that ordinary manifests load without noise;
every other field that a type does not have is named in a warning.
"""

from __future__ import annotations

from typing import Any

from k8snetlab.api.apps import DeploymentSpec, WorkloadSpec
from k8snetlab.api.core import (
    Condition,
    Container,
    EnvVar,
    LoadBalancerIngress,
    Namespace,
    NodeSpec,
    NodeStatus,
    PodSpec,
    ServiceSpec,
    ServiceStatus,
)
from k8snetlab.api.events import Event
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.meta import Object, ObjectMeta, OwnerReference


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONTAINER = _words(
    """envFrom imagePullPolicy lifecycle livenessProbe readinessProbe resizePolicy resources
    restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy
    tty volumeDevices volumeMounts"""
)
_POD = _words(
    """activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks
    ephemeralContainers hostAliases hostIPC hostPID hostUsers hostnameOverride imagePullSecrets os
    overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims resources
    runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName
    setHostnameAsFQDN shareProcessNamespace tolerations topologySpreadConstraints volumes"""
)
_WORKLOAD = _words("minReadySeconds paused progressDeadlineSeconds revisionHistoryLimit")
_NODE_STATUS = _words(
    """allocatable capacity config daemonEndpoints declaredFeatures features images nodeInfo phase runtimeHandlers
    volumesAttached volumesInUse"""
)
_KUBE_PROXY = _words(
    """bindAddressHardFail clientConnection configSyncPeriod enableProfiling featureGates healthzBindAddress ipvs
    logging metricsBindAddress nftables oomScoreAdj portRange showHiddenMetricsForVersion udpIdleTimeout
    windowsRunAsService winkernel"""
)

KNOWN: dict[type[Any], frozenset[str]] = {
    Object: _words("apiVersion kind"),
    ObjectMeta: _words("managedFields finalizers selfLink deletionGracePeriodSeconds clusterName"),
    OwnerReference: _words("blockOwnerDeletion"),
    Event: _words("action related series"),
    Container: _CONTAINER,
    EnvVar: _words("valueFrom"),
    PodSpec: _POD,
    WorkloadSpec: _WORKLOAD,
    DeploymentSpec: _WORKLOAD,
    Condition: _words("lastHeartbeatTime lastUpdateTime lastProbeTime observedGeneration"),
    Namespace: _words("spec status"),
    NodeSpec: _words("configSource externalID providerID taints"),
    NodeStatus: _NODE_STATUS,
    ServiceSpec: _words("topologyKeys"),
    ServiceStatus: _words("conditions"),
    LoadBalancerIngress: _words("ports"),
    KubeProxyConfiguration: _KUBE_PROXY,
}


def known(type_: type[Any]) -> frozenset[str]:
    return KNOWN.get(type_, frozenset()) | (KNOWN[Object] if issubclass(type_, Object) else frozenset())
