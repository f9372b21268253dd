"""`reference` goes on: kinds of other groups than core and discovery, in the same form and from the same source."""

from __future__ import annotations

ENUMERATIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("ClusterNetworkPolicySpec", "tier"): ("Admin", "Baseline"),
    ("ClusterNetworkPolicyIngressRule", "action"): ("Accept", "Deny", "Pass"),
    ("ClusterNetworkPolicyEgressRule", "action"): ("Accept", "Deny", "Pass"),
    ("CalicoRule", "action"): ("Allow", "Deny", "Log", "Pass"),
    ("CalicoNetworkPolicySpec", "types"): ("Ingress", "Egress"),
    ("GlobalNetworkPolicySpec", "types"): ("Ingress", "Egress"),
    ("CalicoNetworkPolicySpec", "performanceHints"): ("AssumeNeededOnEveryNode",),
    ("GlobalNetworkPolicySpec", "performanceHints"): ("AssumeNeededOnEveryNode",),
    ("RouteNamespaces", "from"): ("All", "Selector", "Same"),
    ("ListenerTLSConfig", "mode"): ("Terminate", "Passthrough"),
    ("HTTPPathMatch", "type"): ("Exact", "PathPrefix", "RegularExpression"),
    ("HTTPHeaderMatch", "type"): ("Exact", "RegularExpression"),
    ("HTTPQueryParamMatch", "type"): ("Exact", "RegularExpression"),
    ("HTTPPathModifier", "type"): ("ReplaceFullPath", "ReplacePrefixMatch"),
    ("HTTPRequestRedirectFilter", "scheme"): ("http", "https"),
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
CalicoEntityRule: namespaceSelector=s nets=[s] notNets=[s] notPorts=[x] notSelector=s ports=[x] selector=s
  serviceAccounts=CalicoServiceAccountMatch services=CalicoServiceMatch
CalicoICMPFields: code=i type=i
CalicoNetworkPolicy: apiVersion=s kind=s metadata=ObjectMeta spec=!CalicoNetworkPolicySpec
CalicoNetworkPolicySpec: egress=[CalicoRule] ingress=[CalicoRule] order=n performanceHints=[s] selector=s
  serviceAccountSelector=s tier=s types=[s]
CalicoRule: action=!s destination=CalicoEntityRule http=o icmp=CalicoICMPFields ipVersion=i metadata=o
  notICMP=CalicoICMPFields notProtocol=x protocol=x source=CalicoEntityRule
CalicoServiceAccountMatch: names=[s] selector=s
CalicoServiceMatch: name=s namespace=s
GlobalNetworkPolicy: apiVersion=s kind=s metadata=ObjectMeta spec=!GlobalNetworkPolicySpec
GlobalNetworkPolicySpec: applyOnForward=b doNotTrack=b egress=[CalicoRule] ingress=[CalicoRule] namespaceSelector=s
  order=n performanceHints=[s] preDNAT=b selector=s serviceAccountSelector=s tier=s types=[s]
GlobalNetworkSet: apiVersion=s kind=s metadata=ObjectMeta spec=NetworkSetSpec
NetworkSet: apiVersion=s kind=s metadata=ObjectMeta spec=NetworkSetSpec
NetworkSetSpec: nets=[s]
AllowedRoutes: kinds=[RouteGroupKind] namespaces=RouteNamespaces
ExtensionReference: group=!s kind=!s name=!s
Fraction: denominator=i numerator=!i
Gateway: apiVersion=s kind=s metadata=ObjectMeta spec=!GatewaySpec status=GatewayStatus
GatewayClass: apiVersion=s kind=s metadata=ObjectMeta spec=!GatewayClassSpec status=GatewayClassStatus
GatewayClassSpec: controllerName=!s description=s parametersRef=ParametersReference
GatewayClassStatus: conditions=[Condition] supportedFeatures=[SupportedFeature]
GatewayInfrastructure: annotations={s} labels={s} parametersRef=LocalParametersReference
GatewaySpec: addresses=[GatewaySpecAddress] allowedListeners=o gatewayClassName=!s
  infrastructure=GatewayInfrastructure listeners=![Listener] tls=o
GatewaySpecAddress: type=s value=s
GatewayStatus: addresses=[GatewayStatusAddress] attachedListenerSets=i conditions=[Condition]
  listeners=[ListenerStatus]
GatewayStatusAddress: type=s value=!s
HTTPBackendRef: filters=[HTTPRouteFilter] group=s kind=s name=!s namespace=s port=i weight=i
HTTPCORSFilter: allowCredentials=b allowHeaders=[s] allowMethods=[s] allowOrigins=[s] exposeHeaders=[s] maxAge=i
HTTPHeader: name=!s value=!s
HTTPHeaderFilter: add=[HTTPHeader] remove=[s] set=[HTTPHeader]
HTTPHeaderMatch: name=!s type=s value=!s
HTTPPathMatch: type=s value=s
HTTPPathModifier: replaceFullPath=s replacePrefixMatch=s type=!s
HTTPQueryParamMatch: name=!s type=s value=!s
HTTPRequestMirrorFilter: backendRef=!RouteBackendReference fraction=Fraction percent=i
HTTPRequestRedirectFilter: hostname=s path=HTTPPathModifier port=i scheme=s statusCode=i
HTTPRoute: apiVersion=s kind=s metadata=ObjectMeta spec=HTTPRouteSpec status=RouteStatus
HTTPRouteFilter: cors=HTTPCORSFilter extensionRef=ExtensionReference requestHeaderModifier=HTTPHeaderFilter
  requestMirror=HTTPRequestMirrorFilter requestRedirect=HTTPRequestRedirectFilter
  responseHeaderModifier=HTTPHeaderFilter type=!s urlRewrite=HTTPURLRewriteFilter
HTTPRouteMatch: headers=[HTTPHeaderMatch] method=s path=HTTPPathMatch queryParams=[HTTPQueryParamMatch]
HTTPRouteRule: backendRefs=[HTTPBackendRef] filters=[HTTPRouteFilter] matches=[HTTPRouteMatch] name=s retry=o
  sessionPersistence=o timeouts=HTTPRouteTimeouts
HTTPRouteSpec: hostnames=[s] parentRefs=[RouteParentReference] rules=[HTTPRouteRule] useDefaultGateways=s
HTTPRouteTimeouts: backendRequest=s request=s
HTTPURLRewriteFilter: hostname=s path=HTTPPathModifier
Listener: allowedRoutes=AllowedRoutes hostname=s name=!s port=!i protocol=!s tls=ListenerTLSConfig
ListenerStatus: attachedRoutes=!i conditions=![Condition] name=!s supportedKinds=[RouteGroupKind]
ListenerTLSConfig: certificateRefs=[SecretObjectReference] mode=s options={s}
LocalParametersReference: group=!s kind=!s name=!s
ParametersReference: group=!s kind=!s name=!s namespace=s
ReferenceGrant: apiVersion=s kind=s metadata=ObjectMeta spec=ReferenceGrantSpec
ReferenceGrantFrom: group=!s kind=!s namespace=!s
ReferenceGrantSpec: from=![ReferenceGrantFrom] to=![ReferenceGrantTo]
ReferenceGrantTo: group=!s kind=!s name=s
BackendRef: group=s kind=s name=!s namespace=s port=i weight=i
TCPRoute: apiVersion=s kind=s metadata=ObjectMeta spec=!TCPRouteSpec status=RouteStatus
TCPRouteRule: backendRefs=![BackendRef] name=s
TCPRouteSpec: parentRefs=[RouteParentReference] rules=![TCPRouteRule] useDefaultGateways=s
TLSRoute: apiVersion=s kind=s metadata=ObjectMeta spec=!TLSRouteSpec status=RouteStatus
TLSRouteRule: backendRefs=![BackendRef] name=s
TLSRouteSpec: hostnames=![s] parentRefs=[RouteParentReference] rules=![TLSRouteRule] useDefaultGateways=s
RouteBackendReference: group=s kind=s name=!s namespace=s port=i
RouteGroupKind: group=s kind=!s
RouteNamespaces: from=s selector=LabelSelector
RouteParentReference: group=s kind=s name=!s namespace=s port=i sectionName=s
RouteParentStatus: conditions=![Condition] controllerName=!s parentRef=!RouteParentReference
RouteStatus: parents=![RouteParentStatus]
SecretObjectReference: group=s kind=s name=!s namespace=s
SupportedFeature: name=!s
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
