"""`reference` goes on: kinds of other groups than core and discovery, in the same form and from the same source."""

from __future__ import annotations

ENUMERATIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("ClusterNetworkPolicySpec", "tier"): ("Admin", "Baseline"),
    ("ClusterNetworkPolicyIngressRule", "action"): ("Accept", "Deny", "Pass"),
    ("ClusterNetworkPolicyEgressRule", "action"): ("Accept", "Deny", "Pass"),
    ("HTTPIngressPath", "pathType"): ("Exact", "ImplementationSpecific", "Prefix"),
    ("NetworkPolicySpec", "policyTypes"): ("Egress", "Ingress"),
    ("NetworkPolicyPort", "protocol"): ("SCTP", "TCP", "UDP", ""),
    ("PriorityClass", "preemptionPolicy"): ("Never", "PreemptLowerPriority", ""),
    ("DaemonSetUpdateStrategy", "type"): ("OnDelete", "RollingUpdate", ""),
    ("StatefulSetUpdateStrategy", "type"): ("OnDelete", "RollingUpdate", ""),
    ("StatefulSetSpec", "podManagementPolicy"): ("OrderedReady", "Parallel", ""),
    ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenDeleted"): ("Delete", "Retain", ""),
    ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenScaled"): ("Delete", "Retain", ""),
    ("JobSpec", "completionMode"): ("Indexed", "NonIndexed", ""),
    ("JobSpec", "podReplacementPolicy"): ("Failed", "TerminatingOrFailed", ""),
    ("CronJobSpec", "concurrencyPolicy"): ("Allow", "Forbid", "Replace", ""),
    ("PodFailurePolicyRule", "action"): ("Count", "FailIndex", "FailJob", "Ignore"),
    ("PodFailurePolicyOnExitCodesRequirement", "operator"): ("In", "NotIn"),
}

TEXT = """
ClusterNetworkPolicy: apiVersion=s kind=s metadata=ObjectMeta spec=!ClusterNetworkPolicySpec
  status=ClusterNetworkPolicyStatus
ClusterNetworkPolicyEgressPeer: domainNames=[s] namespaces=LabelSelector networks=[s] nodes=LabelSelector
  pods=NamespacedPod
ClusterNetworkPolicyEgressRule: action=!s name=s protocols=[ClusterNetworkPolicyProtocol]
  to=![ClusterNetworkPolicyEgressPeer]
ClusterNetworkPolicyIngressPeer: namespaces=LabelSelector pods=NamespacedPod
ClusterNetworkPolicyIngressRule: action=!s from=![ClusterNetworkPolicyIngressPeer] name=s
  protocols=[ClusterNetworkPolicyProtocol]
ClusterNetworkPolicyPort: number=i range=ClusterNetworkPolicyPortRange
ClusterNetworkPolicyPortRange: end=!i start=!i
ClusterNetworkPolicyProtocol: destinationNamedPort=s sctp=ClusterNetworkPolicyProtocolSCTP
  tcp=ClusterNetworkPolicyProtocolTCP udp=ClusterNetworkPolicyProtocolUDP
ClusterNetworkPolicyProtocolSCTP: destinationPort=ClusterNetworkPolicyPort
ClusterNetworkPolicyProtocolTCP: destinationPort=ClusterNetworkPolicyPort
ClusterNetworkPolicyProtocolUDP: destinationPort=ClusterNetworkPolicyPort
ClusterNetworkPolicySpec: egress=[ClusterNetworkPolicyEgressRule] ingress=[ClusterNetworkPolicyIngressRule]
  priority=!i subject=!ClusterNetworkPolicySubject tier=!s
ClusterNetworkPolicyStatus: conditions=![Condition]
ClusterNetworkPolicySubject: namespaces=LabelSelector pods=NamespacedPod
NamespacedPod: namespaceSelector=!LabelSelector podSelector=!LabelSelector
ControllerRevision: apiVersion=s data=o kind=s metadata=ObjectMeta revision=!l
CronJob: apiVersion=s kind=s metadata=ObjectMeta spec=!CronJobSpec status=CronJobStatus
CronJobSpec: concurrencyPolicy=s failedJobsHistoryLimit=i jobTemplate=!JobTemplateSpec schedule=!s
  startingDeadlineSeconds=l successfulJobsHistoryLimit=i suspend=b timeZone=s
CronJobStatus: active=[ObjectReference] lastScheduleTime=t lastSuccessfulTime=t
DaemonSet: apiVersion=s kind=s metadata=ObjectMeta spec=DaemonSetSpec status=DaemonSetStatus
DaemonSetCondition: lastTransitionTime=t message=s reason=s status=!s type=!s
DaemonSetSpec: minReadySeconds=i revisionHistoryLimit=i selector=!LabelSelector template=!PodTemplateSpec
  updateStrategy=DaemonSetUpdateStrategy
DaemonSetStatus: collisionCount=i conditions=[DaemonSetCondition] currentNumberScheduled=!i desiredNumberScheduled=!i
  numberAvailable=i numberMisscheduled=!i numberReady=!i numberUnavailable=i observedGeneration=l
  updatedNumberScheduled=i
DaemonSetUpdateStrategy: rollingUpdate=RollingUpdateDaemonSet type=s
HTTPIngressPath: backend=!IngressBackend path=s pathType=!s
HTTPIngressRuleValue: paths=![HTTPIngressPath]
IPAddress: apiVersion=s kind=s metadata=ObjectMeta spec=!IPAddressSpec
IPAddressSpec: parentRef=!ParentReference
IPBlock: cidr=!s except=[s]
Ingress: apiVersion=s kind=s metadata=ObjectMeta spec=IngressSpec status=IngressStatus
IngressBackend: resource=TypedLocalObjectReference service=IngressServiceBackend
IngressClass: apiVersion=s kind=s metadata=ObjectMeta spec=IngressClassSpec
IngressClassParametersReference: apiGroup=s kind=!s name=!s namespace=s scope=s
IngressClassSpec: controller=s parameters=IngressClassParametersReference
IngressLoadBalancerIngress: hostname=s ip=s ports=[IngressPortStatus]
IngressLoadBalancerStatus: ingress=[IngressLoadBalancerIngress]
IngressPortStatus: error=s port=!i protocol=!s
IngressRule: host=s http=HTTPIngressRuleValue
IngressServiceBackend: name=!s port=ServiceBackendPort
IngressSpec: defaultBackend=IngressBackend ingressClassName=s rules=[IngressRule] tls=[IngressTLS]
IngressStatus: loadBalancer=IngressLoadBalancerStatus
IngressTLS: hosts=[s] secretName=s
Job: apiVersion=s kind=s metadata=ObjectMeta spec=JobSpec status=JobStatus
JobCondition: lastProbeTime=t lastTransitionTime=t message=s reason=s status=!s type=!s
JobSpec: activeDeadlineSeconds=l backoffLimit=i backoffLimitPerIndex=i completionMode=s completions=i managedBy=s
  manualSelector=b maxFailedIndexes=i parallelism=i podFailurePolicy=PodFailurePolicy podReplacementPolicy=s
  selector=LabelSelector successPolicy=SuccessPolicy suspend=b template=!PodTemplateSpec ttlSecondsAfterFinished=i
JobStatus: active=i completedIndexes=s completionTime=t conditions=[JobCondition] failed=i failedIndexes=s ready=i
  startTime=t succeeded=i terminating=i uncountedTerminatedPods=UncountedTerminatedPods
JobTemplateSpec: metadata=ObjectMeta spec=JobSpec
Lease: apiVersion=s kind=s metadata=ObjectMeta spec=LeaseSpec
LeaseSpec: acquireTime=t holderIdentity=s leaseDurationSeconds=i leaseTransitions=i preferredHolder=s renewTime=t
  strategy=s
ModifyVolumeStatus: status=!s targetVolumeAttributesClassName=s
NetworkPolicy: apiVersion=s kind=s metadata=ObjectMeta spec=NetworkPolicySpec
NetworkPolicyEgressRule: ports=[NetworkPolicyPort] to=[NetworkPolicyPeer]
NetworkPolicyIngressRule: from=[NetworkPolicyPeer] ports=[NetworkPolicyPort]
NetworkPolicyPeer: ipBlock=IPBlock namespaceSelector=LabelSelector podSelector=LabelSelector
NetworkPolicyPort: endPort=i port=x protocol=s
NetworkPolicySpec: egress=[NetworkPolicyEgressRule] ingress=[NetworkPolicyIngressRule] podSelector=LabelSelector
  policyTypes=[s]
ParentReference: group=s name=!s namespace=s resource=!s
PersistentVolumeClaim: apiVersion=s kind=s metadata=ObjectMeta spec=PersistentVolumeClaimSpec
  status=PersistentVolumeClaimStatus
PersistentVolumeClaimCondition: lastProbeTime=t lastTransitionTime=t message=s reason=s status=!s type=!s
PersistentVolumeClaimStatus: accessModes=[s] allocatedResourceStatuses={s} allocatedResources={q} capacity={q}
  conditions=[PersistentVolumeClaimCondition] currentVolumeAttributesClassName=s modifyVolumeStatus=ModifyVolumeStatus
  phase=s
PodFailurePolicy: rules=![PodFailurePolicyRule]
PodFailurePolicyOnExitCodesRequirement: containerName=s operator=!s values=![i]
PodFailurePolicyOnPodConditionsPattern: status=s type=!s
PodFailurePolicyRule: action=!s onExitCodes=PodFailurePolicyOnExitCodesRequirement
  onPodConditions=[PodFailurePolicyOnPodConditionsPattern]
PriorityClass: apiVersion=s description=s globalDefault=b kind=s metadata=ObjectMeta preemptionPolicy=s value=i
ReplicationController: apiVersion=s kind=s metadata=ObjectMeta spec=ReplicationControllerSpec
  status=ReplicationControllerStatus
ReplicationControllerCondition: lastTransitionTime=t message=s reason=s status=!s type=!s
ReplicationControllerSpec: minReadySeconds=i replicas=i selector={s} template=PodTemplateSpec
ReplicationControllerStatus: availableReplicas=i conditions=[ReplicationControllerCondition] fullyLabeledReplicas=i
  observedGeneration=l readyReplicas=i replicas=!i
RollingUpdateDaemonSet: maxSurge=x maxUnavailable=x
RollingUpdateStatefulSetStrategy: maxUnavailable=x partition=i
ServiceBackendPort: name=s number=i
ServiceCIDR: apiVersion=s kind=s metadata=ObjectMeta spec=ServiceCIDRSpec status=ServiceCIDRStatus
ServiceCIDRSpec: cidrs=[s]
ServiceCIDRStatus: conditions=[Condition]
StatefulSet: apiVersion=s kind=s metadata=ObjectMeta spec=StatefulSetSpec status=StatefulSetStatus
StatefulSetCondition: lastTransitionTime=t message=s reason=s status=!s type=!s
StatefulSetOrdinals: start=i
StatefulSetPersistentVolumeClaimRetentionPolicy: whenDeleted=s whenScaled=s
StatefulSetSpec: minReadySeconds=i ordinals=StatefulSetOrdinals
  persistentVolumeClaimRetentionPolicy=StatefulSetPersistentVolumeClaimRetentionPolicy podManagementPolicy=s replicas=i
  revisionHistoryLimit=i selector=!LabelSelector serviceName=s template=!PodTemplateSpec
  updateStrategy=StatefulSetUpdateStrategy volumeClaimTemplates=[PersistentVolumeClaim]
StatefulSetStatus: availableReplicas=i collisionCount=i conditions=[StatefulSetCondition] currentReplicas=i
  currentRevision=s observedGeneration=l readyReplicas=i replicas=!i updateRevision=s updatedReplicas=i
StatefulSetUpdateStrategy: rollingUpdate=RollingUpdateStatefulSetStrategy type=s
SuccessPolicy: rules=![SuccessPolicyRule]
SuccessPolicyRule: succeededCount=i succeededIndexes=s
UncountedTerminatedPods: failed=[s] succeeded=[s]
"""
