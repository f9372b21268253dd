"""Every field that Kubernetes knows of the kinds we take: names and types, whether acted on here or not.

Made from the OpenAPI definitions of Kubernetes 1.36 (as the package kubernetes-validate has them) and, for
KubeProxyConfiguration, from its API reference v1alpha1. A line is `Type: field=type …`, with "!" before the type of a
required one. Types: s string, i integer of 32 bits, l integer of 64 bits, n number, b true or false, q quantity,
x number or string, d duration, t time, o anything, [T] a list, {T} a mapping from strings, else the name of a Type.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from k8snetlab.api import reference_groups


@cache
def fields(type_: str) -> Mapping[str, str]:
    """The fields of a Type and their types, without the "!"; none where the Type is not known."""
    return {name: kind.lstrip("!") for name, kind in _types().get(type_, {}).items()}


@cache
def required(type_: str) -> tuple[str, ...]:
    return tuple(name for name, kind in _types().get(type_, {}).items() if kind.startswith("!"))


@cache
def _types() -> Mapping[str, Mapping[str, str]]:
    types: dict[str, dict[str, str]] = {}
    for line in f"{_TEXT.strip()}\n{reference_groups.TEXT.strip()}".replace("\n  ", " ").splitlines():
        name, _, rest = line.partition(": ")
        types[name] = dict(word.split("=", 1) for word in rest.split())
    return types


def enumeration(type_: str, field: str) -> tuple[str, ...]:
    """The values that Kubernetes takes for a field that we do not act on; () where any will do."""
    return _ENUMERATIONS.get((type_, field), ())


_HOST_PATHS = (
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
    "",
)
_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_ENUMERATIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("PodSpec", "dnsPolicy"): ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None", ""),
    ("PodSpec", "preemptionPolicy"): ("Never", "PreemptLowerPriority", ""),
    ("PodSpec", "restartPolicy"): ("Always", "Never", "OnFailure", ""),
    ("PodOS", "name"): ("linux", "windows"),
    ("PodSecurityContext", "fsGroupChangePolicy"): ("Always", "OnRootMismatch"),
    ("PodSecurityContext", "supplementalGroupsPolicy"): ("Merge", "Strict"),
    ("Container", "imagePullPolicy"): ("Always", "IfNotPresent", "Never", ""),
    ("Container", "terminationMessagePolicy"): ("FallbackToLogsOnError", "File", ""),
    ("ContainerResizePolicy", "restartPolicy"): ("NotRequired", "RestartContainer"),
    ("HTTPGetAction", "scheme"): ("HTTP", "HTTPS", ""),
    ("SecurityContext", "procMount"): ("Default", "Unmasked", ""),
    ("SeccompProfile", "type"): ("Localhost", "RuntimeDefault", "Unconfined"),
    ("AppArmorProfile", "type"): ("Localhost", "RuntimeDefault", "Unconfined"),
    ("Toleration", "operator"): ("Equal", "Exists", "Gt", "Lt", ""),
    ("Toleration", "effect"): ("NoExecute", "NoSchedule", "PreferNoSchedule", ""),
    ("Taint", "effect"): ("NoExecute", "NoSchedule", "PreferNoSchedule"),
    ("TopologySpreadConstraint", "whenUnsatisfiable"): ("DoNotSchedule", "ScheduleAnyway"),
    ("TopologySpreadConstraint", "nodeAffinityPolicy"): ("Honor", "Ignore"),
    ("TopologySpreadConstraint", "nodeTaintsPolicy"): ("Honor", "Ignore"),
    ("NodeSelectorRequirement", "operator"): ("DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"),
    ("LabelSelectorRequirement", "operator"): ("DoesNotExist", "Exists", "In", "NotIn"),
    ("VolumeMount", "mountPropagation"): ("Bidirectional", "HostToContainer", "None", ""),
    ("VolumeMount", "recursiveReadOnly"): ("Disabled", "Enabled", "IfPossible"),
    ("HostPathVolumeSource", "type"): _HOST_PATHS,
    ("ImageVolumeSource", "pullPolicy"): ("Always", "IfNotPresent", "Never", ""),
    ("PersistentVolumeClaimSpec", "accessModes"): _ACCESS_MODES,
    ("PersistentVolumeClaimSpec", "volumeMode"): ("Block", "Filesystem", ""),
    **reference_groups.ENUMERATIONS,
}

_TEXT = """
AWSElasticBlockStoreVolumeSource: fsType=s partition=i readOnly=b volumeID=!s
Affinity: nodeAffinity=NodeAffinity podAffinity=PodAffinity podAntiAffinity=PodAntiAffinity
AggregationRule: clusterRoleSelectors=[LabelSelector]
AppArmorProfile: localhostProfile=s type=!s
AttachedVolume: devicePath=!s name=!s
AzureDiskVolumeSource: cachingMode=s diskName=!s diskURI=!s fsType=s kind=s readOnly=b
AzureFileVolumeSource: readOnly=b secretName=!s shareName=!s
CSIVolumeSource: driver=!s fsType=s nodePublishSecretRef=LocalObjectReference readOnly=b volumeAttributes={s}
Capabilities: add=[s] drop=[s]
CephFSVolumeSource: monitors=![s] path=s readOnly=b secretFile=s secretRef=LocalObjectReference user=s
CinderVolumeSource: fsType=s readOnly=b secretRef=LocalObjectReference volumeID=!s
ClientIPConfig: timeoutSeconds=i
ClusterRole: aggregationRule=AggregationRule apiVersion=s kind=s metadata=ObjectMeta rules=[PolicyRule]
ClusterRoleBinding: apiVersion=s kind=s metadata=ObjectMeta roleRef=!RoleRef subjects=[Subject]
ClusterTrustBundleProjection: labelSelector=LabelSelector name=s optional=b path=!s signerName=s
Condition: lastTransitionTime=!t message=!s observedGeneration=l reason=!s status=!s type=!s
ConfigMap: apiVersion=s binaryData={s} data={s} immutable=b kind=s metadata=ObjectMeta
ConfigMapEnvSource: name=s optional=b
ConfigMapKeySelector: key=!s name=s optional=b
ConfigMapNodeConfigSource: kubeletConfigKey=!s name=!s namespace=!s resourceVersion=s uid=s
ConfigMapProjection: items=[KeyToPath] name=s optional=b
ConfigMapVolumeSource: defaultMode=i items=[KeyToPath] name=s optional=b
Container: args=[s] command=[s] env=[EnvVar] envFrom=[EnvFromSource] image=s imagePullPolicy=s lifecycle=Lifecycle
  livenessProbe=Probe name=!s ports=[ContainerPort] readinessProbe=Probe resizePolicy=[ContainerResizePolicy]
  resources=ResourceRequirements restartPolicy=s restartPolicyRules=[ContainerRestartRule]
  securityContext=SecurityContext startupProbe=Probe stdin=b stdinOnce=b terminationMessagePath=s
  terminationMessagePolicy=s tty=b volumeDevices=[VolumeDevice] volumeMounts=[VolumeMount] workingDir=s
ContainerExtendedResourceRequest: containerName=!s requestName=!s resourceName=!s
ContainerImage: names=[s] sizeBytes=l
ContainerPort: containerPort=!i hostIP=s hostPort=i name=s protocol=s
ContainerResizePolicy: resourceName=!s restartPolicy=!s
ContainerRestartRule: action=!s exitCodes=ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes: operator=!s values=[i]
ContainerState: running=ContainerStateRunning terminated=ContainerStateTerminated waiting=ContainerStateWaiting
ContainerStateRunning: startedAt=t
ContainerStateTerminated: containerID=s exitCode=!i finishedAt=t message=s reason=s signal=i startedAt=t
ContainerStateWaiting: message=s reason=s
ContainerStatus: allocatedResources={q} allocatedResourcesStatus=[ResourceStatus] containerID=s image=!s imageID=!s
  lastState=ContainerState name=!s ready=!b resources=ResourceRequirements restartCount=!i started=b
  state=ContainerState stopSignal=s user=ContainerUser volumeMounts=[VolumeMountStatus]
ContainerUser: linux=LinuxContainerUser
DaemonEndpoint: Port=!i
Deployment: apiVersion=s kind=s metadata=ObjectMeta spec=DeploymentSpec status=DeploymentStatus
DeploymentCondition: lastTransitionTime=t lastUpdateTime=t message=s reason=s status=!s type=!s
DeploymentSpec: minReadySeconds=i paused=b progressDeadlineSeconds=i replicas=i revisionHistoryLimit=i
  selector=!LabelSelector strategy=DeploymentStrategy template=!PodTemplateSpec
DeploymentStatus: availableReplicas=i collisionCount=i conditions=[DeploymentCondition] observedGeneration=l
  readyReplicas=i replicas=i terminatingReplicas=i unavailableReplicas=i updatedReplicas=i
DeploymentStrategy: rollingUpdate=RollingUpdateDeployment type=s
DownwardAPIProjection: items=[DownwardAPIVolumeFile]
DownwardAPIVolumeFile: fieldRef=ObjectFieldSelector mode=i path=!s resourceFieldRef=ResourceFieldSelector
DownwardAPIVolumeSource: defaultMode=i items=[DownwardAPIVolumeFile]
EmptyDirVolumeSource: medium=s sizeLimit=q
Endpoint: addresses=![s] conditions=EndpointConditions deprecatedTopology={s} hints=EndpointHints hostname=s
  nodeName=s targetRef=ObjectReference zone=s
EndpointAddress: hostname=s ip=!s nodeName=s targetRef=ObjectReference
EndpointConditions: ready=b serving=b terminating=b
EndpointHints: forNodes=[ForNode] forZones=[ForZone]
EndpointPort: appProtocol=s name=s port=!i protocol=s
EndpointSlice: addressType=!s apiVersion=s endpoints=[Endpoint] kind=s metadata=ObjectMeta ports=[EndpointSlicePort]
EndpointSlicePort: appProtocol=s name=s port=i protocol=s
EndpointSubset: addresses=[EndpointAddress] notReadyAddresses=[EndpointAddress] ports=[EndpointPort]
Endpoints: apiVersion=s kind=s metadata=ObjectMeta subsets=[EndpointSubset]
EnvFromSource: configMapRef=ConfigMapEnvSource prefix=s secretRef=SecretEnvSource
EnvVar: name=!s value=s valueFrom=EnvVarSource
EnvVarSource: configMapKeyRef=ConfigMapKeySelector fieldRef=ObjectFieldSelector fileKeyRef=FileKeySelector
  resourceFieldRef=ResourceFieldSelector secretKeyRef=SecretKeySelector
EphemeralContainer: args=[s] command=[s] env=[EnvVar] envFrom=[EnvFromSource] image=s imagePullPolicy=s
  lifecycle=Lifecycle livenessProbe=Probe name=!s ports=[ContainerPort] readinessProbe=Probe
  resizePolicy=[ContainerResizePolicy] resources=ResourceRequirements restartPolicy=s
  restartPolicyRules=[ContainerRestartRule] securityContext=SecurityContext startupProbe=Probe stdin=b stdinOnce=b
  targetContainerName=s terminationMessagePath=s terminationMessagePolicy=s tty=b volumeDevices=[VolumeDevice]
  volumeMounts=[VolumeMount] workingDir=s
EphemeralVolumeSource: volumeClaimTemplate=PersistentVolumeClaimTemplate
Event: action=s apiVersion=s count=i eventTime=t firstTimestamp=t involvedObject=!ObjectReference kind=s
  lastTimestamp=t message=s metadata=!ObjectMeta reason=s related=ObjectReference reportingComponent=s
  reportingInstance=s series=EventSeries source=EventSource type=s
EventSeries: count=i lastObservedTime=t
EventSource: component=s host=s
ExecAction: command=[s]
FCVolumeSource: fsType=s lun=i readOnly=b targetWWNs=[s] wwids=[s]
FileKeySelector: key=!s optional=b path=!s volumeName=!s
FlexVolumeSource: driver=!s fsType=s options={s} readOnly=b secretRef=LocalObjectReference
FlockerVolumeSource: datasetName=s datasetUUID=s
ForNode: name=!s
ForZone: name=!s
GCEPersistentDiskVolumeSource: fsType=s partition=i pdName=!s readOnly=b
GRPCAction: port=!i service=s
GitRepoVolumeSource: directory=s repository=!s revision=s
GlusterfsVolumeSource: endpoints=!s path=!s readOnly=b
HTTPGetAction: host=s httpHeaders=[HTTPHeader] path=s port=!x scheme=s
HTTPHeader: name=!s value=!s
HostAlias: hostnames=[s] ip=!s
HostIP: ip=!s
HostPathVolumeSource: path=!s type=s
ISCSIVolumeSource: chapAuthDiscovery=b chapAuthSession=b fsType=s initiatorName=s iqn=!s iscsiInterface=s lun=!i
  portals=[s] readOnly=b secretRef=LocalObjectReference targetPortal=!s
ImageVolumeSource: pullPolicy=s reference=s
ImageVolumeStatus: imageRef=!s
KeyToPath: key=!s mode=i path=!s
LabelSelector: matchExpressions=[LabelSelectorRequirement] matchLabels={s}
LabelSelectorRequirement: key=!s operator=!s values=[s]
Lifecycle: postStart=LifecycleHandler preStop=LifecycleHandler stopSignal=s
LifecycleHandler: exec=ExecAction httpGet=HTTPGetAction sleep=SleepAction tcpSocket=TCPSocketAction
LinuxContainerUser: gid=!l supplementalGroups=[l] uid=!l
LoadBalancerIngress: hostname=s ip=s ipMode=s ports=[PortStatus]
LoadBalancerStatus: ingress=[LoadBalancerIngress]
LocalObjectReference: name=s
ManagedFieldsEntry: apiVersion=s fieldsType=s fieldsV1=o manager=s operation=s subresource=s time=t
NFSVolumeSource: path=!s readOnly=b server=!s
Namespace: apiVersion=s kind=s metadata=ObjectMeta spec=NamespaceSpec status=NamespaceStatus
NamespaceCondition: lastTransitionTime=t message=s reason=s status=!s type=!s
NamespaceSpec: finalizers=[s]
NamespaceStatus: conditions=[NamespaceCondition] phase=s
Node: apiVersion=s kind=s metadata=ObjectMeta spec=NodeSpec status=NodeStatus
NodeAddress: address=!s type=!s
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution=[PreferredSchedulingTerm]
  requiredDuringSchedulingIgnoredDuringExecution=NodeSelector
NodeAllocatableResourceClaimStatus: containers=[s] resourceClaimName=!s resources=!{q}
NodeCondition: lastHeartbeatTime=t lastTransitionTime=t message=s reason=s status=!s type=!s
NodeConfigSource: configMap=ConfigMapNodeConfigSource
NodeConfigStatus: active=NodeConfigSource assigned=NodeConfigSource error=s lastKnownGood=NodeConfigSource
NodeDaemonEndpoints: kubeletEndpoint=DaemonEndpoint
NodeFeatures: supplementalGroupsPolicy=b
NodeRuntimeHandler: features=NodeRuntimeHandlerFeatures name=s
NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts=b userNamespaces=b
NodeSelector: nodeSelectorTerms=![NodeSelectorTerm]
NodeSelectorRequirement: key=!s operator=!s values=[s]
NodeSelectorTerm: matchExpressions=[NodeSelectorRequirement] matchFields=[NodeSelectorRequirement]
NodeSpec: configSource=NodeConfigSource externalID=s podCIDR=s podCIDRs=[s] providerID=s taints=[Taint]
  unschedulable=b
NodeStatus: addresses=[NodeAddress] allocatable={q} capacity={q} conditions=[NodeCondition] config=NodeConfigStatus
  daemonEndpoints=NodeDaemonEndpoints declaredFeatures=[s] features=NodeFeatures images=[ContainerImage]
  nodeInfo=NodeSystemInfo phase=s runtimeHandlers=[NodeRuntimeHandler] volumesAttached=[AttachedVolume]
  volumesInUse=[s]
NodeSwapStatus: capacity=l
NodeSystemInfo: architecture=!s bootID=!s containerRuntimeVersion=!s kernelVersion=!s kubeProxyVersion=!s
  kubeletVersion=!s machineID=!s operatingSystem=!s osImage=!s swap=NodeSwapStatus systemUUID=!s
ObjectFieldSelector: apiVersion=s fieldPath=!s
ObjectMeta: annotations={s} creationTimestamp=t deletionGracePeriodSeconds=l deletionTimestamp=t finalizers=[s]
  generateName=s generation=l labels={s} managedFields=[ManagedFieldsEntry] name=s namespace=s
  ownerReferences=[OwnerReference] resourceVersion=s selfLink=s uid=s
ObjectReference: apiVersion=s fieldPath=s kind=s name=s namespace=s resourceVersion=s uid=s
OwnerReference: apiVersion=!s blockOwnerDeletion=b controller=b kind=!s name=!s uid=!s
PersistentVolumeClaimSpec: accessModes=[s] dataSource=TypedLocalObjectReference dataSourceRef=TypedObjectReference
  resources=VolumeResourceRequirements selector=LabelSelector storageClassName=s volumeAttributesClassName=s
  volumeMode=s volumeName=s
PersistentVolumeClaimTemplate: metadata=ObjectMeta spec=!PersistentVolumeClaimSpec
PersistentVolumeClaimVolumeSource: claimName=!s readOnly=b
PhotonPersistentDiskVolumeSource: fsType=s pdID=!s
Pod: apiVersion=s kind=s metadata=ObjectMeta spec=PodSpec status=PodStatus
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution=[WeightedPodAffinityTerm]
  requiredDuringSchedulingIgnoredDuringExecution=[PodAffinityTerm]
PodAffinityTerm: labelSelector=LabelSelector matchLabelKeys=[s] mismatchLabelKeys=[s]
  namespaceSelector=LabelSelector namespaces=[s] topologyKey=!s
PodAntiAffinity: preferredDuringSchedulingIgnoredDuringExecution=[WeightedPodAffinityTerm]
  requiredDuringSchedulingIgnoredDuringExecution=[PodAffinityTerm]
PodCertificateProjection: certificateChainPath=s credentialBundlePath=s keyPath=s keyType=!s maxExpirationSeconds=i
  signerName=!s userAnnotations={s}
PodCondition: lastProbeTime=t lastTransitionTime=t message=s observedGeneration=l reason=s status=!s type=!s
PodDNSConfig: nameservers=[s] options=[PodDNSConfigOption] searches=[s]
PodDNSConfigOption: name=s value=s
PodExtendedResourceClaimStatus: requestMappings=![ContainerExtendedResourceRequest] resourceClaimName=!s
PodIP: ip=!s
PodOS: name=!s
PodReadinessGate: conditionType=!s
PodResourceClaim: name=!s resourceClaimName=s resourceClaimTemplateName=s
PodResourceClaimStatus: name=!s resourceClaimName=s
PodSchedulingGate: name=!s
PodSchedulingGroup: podGroupName=s
PodSecurityContext: appArmorProfile=AppArmorProfile fsGroup=l fsGroupChangePolicy=s runAsGroup=l runAsNonRoot=b
  runAsUser=l seLinuxChangePolicy=s seLinuxOptions=SELinuxOptions seccompProfile=SeccompProfile
  supplementalGroups=[l] supplementalGroupsPolicy=s sysctls=[Sysctl] windowsOptions=WindowsSecurityContextOptions
PodSpec: activeDeadlineSeconds=l affinity=Affinity automountServiceAccountToken=b containers=![Container]
  dnsConfig=PodDNSConfig dnsPolicy=s enableServiceLinks=b ephemeralContainers=[EphemeralContainer]
  hostAliases=[HostAlias] hostIPC=b hostNetwork=b hostPID=b hostUsers=b hostname=s hostnameOverride=s
  imagePullSecrets=[LocalObjectReference] initContainers=[Container] nodeName=s nodeSelector={s} os=PodOS
  overhead={q} preemptionPolicy=s priority=i priorityClassName=s readinessGates=[PodReadinessGate]
  resourceClaims=[PodResourceClaim] resources=ResourceRequirements restartPolicy=s runtimeClassName=s
  schedulerName=s schedulingGates=[PodSchedulingGate] schedulingGroup=PodSchedulingGroup
  securityContext=PodSecurityContext serviceAccount=s serviceAccountName=s setHostnameAsFQDN=b
  shareProcessNamespace=b subdomain=s terminationGracePeriodSeconds=l tolerations=[Toleration]
  topologySpreadConstraints=[TopologySpreadConstraint] volumes=[Volume]
PodStatus: allocatedResources={q} conditions=[PodCondition] containerStatuses=[ContainerStatus]
  ephemeralContainerStatuses=[ContainerStatus] extendedResourceClaimStatus=PodExtendedResourceClaimStatus hostIP=s
  hostIPs=[HostIP] initContainerStatuses=[ContainerStatus] message=s
  nodeAllocatableResourceClaimStatuses=[NodeAllocatableResourceClaimStatus] nominatedNodeName=s observedGeneration=l
  phase=s podIP=s podIPs=[PodIP] qosClass=s reason=s resize=s resourceClaimStatuses=[PodResourceClaimStatus]
  resources=ResourceRequirements startTime=t
PodTemplateSpec: metadata=ObjectMeta spec=PodSpec
PolicyRule: apiGroups=[s] nonResourceURLs=[s] resourceNames=[s] resources=[s] verbs=![s]
PortStatus: error=s port=!i protocol=!s
PortworxVolumeSource: fsType=s readOnly=b volumeID=!s
PreferredSchedulingTerm: preference=!NodeSelectorTerm weight=!i
Probe: exec=ExecAction failureThreshold=i grpc=GRPCAction httpGet=HTTPGetAction initialDelaySeconds=i
  periodSeconds=i successThreshold=i tcpSocket=TCPSocketAction terminationGracePeriodSeconds=l timeoutSeconds=i
ProjectedVolumeSource: defaultMode=i sources=[VolumeProjection]
QuobyteVolumeSource: group=s readOnly=b registry=!s tenant=s user=s volume=!s
RBDVolumeSource: fsType=s image=!s keyring=s monitors=![s] pool=s readOnly=b secretRef=LocalObjectReference user=s
ReplicaSet: apiVersion=s kind=s metadata=ObjectMeta spec=ReplicaSetSpec status=ReplicaSetStatus
ReplicaSetCondition: lastTransitionTime=t message=s reason=s status=!s type=!s
ReplicaSetSpec: minReadySeconds=i replicas=i selector=!LabelSelector template=PodTemplateSpec
ReplicaSetStatus: availableReplicas=i conditions=[ReplicaSetCondition] fullyLabeledReplicas=i observedGeneration=l
  readyReplicas=i replicas=!i terminatingReplicas=i
ResourceClaim: name=!s request=s
ResourceFieldSelector: containerName=s divisor=q resource=!s
ResourceHealth: health=s message=s resourceID=!s
ResourceRequirements: claims=[ResourceClaim] limits={q} requests={q}
ResourceStatus: name=!s resources=[ResourceHealth]
Role: apiVersion=s kind=s metadata=ObjectMeta rules=[PolicyRule]
RoleBinding: apiVersion=s kind=s metadata=ObjectMeta roleRef=!RoleRef subjects=[Subject]
RoleRef: apiGroup=s kind=!s name=!s
RollingUpdateDeployment: maxSurge=x maxUnavailable=x
SELinuxOptions: level=s role=s type=s user=s
ScaleIOVolumeSource: fsType=s gateway=!s protectionDomain=s readOnly=b secretRef=!LocalObjectReference sslEnabled=b
  storageMode=s storagePool=s system=!s volumeName=s
SeccompProfile: localhostProfile=s type=!s
Secret: apiVersion=s data={s} immutable=b kind=s metadata=ObjectMeta stringData={s} type=s
SecretEnvSource: name=s optional=b
SecretKeySelector: key=!s name=s optional=b
SecretProjection: items=[KeyToPath] name=s optional=b
SecretVolumeSource: defaultMode=i items=[KeyToPath] optional=b secretName=s
SecurityContext: allowPrivilegeEscalation=b appArmorProfile=AppArmorProfile capabilities=Capabilities privileged=b
  procMount=s readOnlyRootFilesystem=b runAsGroup=l runAsNonRoot=b runAsUser=l seLinuxOptions=SELinuxOptions
  seccompProfile=SeccompProfile windowsOptions=WindowsSecurityContextOptions
Service: apiVersion=s kind=s metadata=ObjectMeta spec=ServiceSpec status=ServiceStatus
ServiceAccount: apiVersion=s automountServiceAccountToken=b imagePullSecrets=[LocalObjectReference] kind=s
  metadata=ObjectMeta secrets=[ObjectReference]
ServiceAccountTokenProjection: audience=s expirationSeconds=l path=!s
ServicePort: appProtocol=s name=s nodePort=i port=!i protocol=s targetPort=x
ServiceSpec: allocateLoadBalancerNodePorts=b clusterIP=s clusterIPs=[s] externalIPs=[s] externalName=s
  externalTrafficPolicy=s healthCheckNodePort=i internalTrafficPolicy=s ipFamilies=[s] ipFamilyPolicy=s
  loadBalancerClass=s loadBalancerIP=s loadBalancerSourceRanges=[s] ports=[ServicePort] publishNotReadyAddresses=b
  selector={s} sessionAffinity=s sessionAffinityConfig=SessionAffinityConfig trafficDistribution=s type=s
ServiceStatus: conditions=[Condition] loadBalancer=LoadBalancerStatus
SessionAffinityConfig: clientIP=ClientIPConfig
SleepAction: seconds=!l
StorageOSVolumeSource: fsType=s readOnly=b secretRef=LocalObjectReference volumeName=s volumeNamespace=s
Subject: apiGroup=s kind=!s name=!s namespace=s
Sysctl: name=!s value=!s
TCPSocketAction: host=s port=!x
Taint: effect=!s key=!s timeAdded=t value=s
Toleration: effect=s key=s operator=s tolerationSeconds=l value=s
TopologySpreadConstraint: labelSelector=LabelSelector matchLabelKeys=[s] maxSkew=!i minDomains=i
  nodeAffinityPolicy=s nodeTaintsPolicy=s topologyKey=!s whenUnsatisfiable=!s
TypedLocalObjectReference: apiGroup=s kind=!s name=!s
TypedObjectReference: apiGroup=s kind=!s name=!s namespace=s
Volume: awsElasticBlockStore=AWSElasticBlockStoreVolumeSource azureDisk=AzureDiskVolumeSource
  azureFile=AzureFileVolumeSource cephfs=CephFSVolumeSource cinder=CinderVolumeSource
  configMap=ConfigMapVolumeSource csi=CSIVolumeSource downwardAPI=DownwardAPIVolumeSource
  emptyDir=EmptyDirVolumeSource ephemeral=EphemeralVolumeSource fc=FCVolumeSource flexVolume=FlexVolumeSource
  flocker=FlockerVolumeSource gcePersistentDisk=GCEPersistentDiskVolumeSource gitRepo=GitRepoVolumeSource
  glusterfs=GlusterfsVolumeSource hostPath=HostPathVolumeSource image=ImageVolumeSource iscsi=ISCSIVolumeSource
  name=!s nfs=NFSVolumeSource persistentVolumeClaim=PersistentVolumeClaimVolumeSource
  photonPersistentDisk=PhotonPersistentDiskVolumeSource portworxVolume=PortworxVolumeSource
  projected=ProjectedVolumeSource quobyte=QuobyteVolumeSource rbd=RBDVolumeSource scaleIO=ScaleIOVolumeSource
  secret=SecretVolumeSource storageos=StorageOSVolumeSource vsphereVolume=VsphereVirtualDiskVolumeSource
VolumeDevice: devicePath=!s name=!s
VolumeMount: mountPath=!s mountPropagation=s name=!s readOnly=b recursiveReadOnly=s subPath=s subPathExpr=s
VolumeMountStatus: mountPath=!s name=!s readOnly=b recursiveReadOnly=s volumeStatus=VolumeStatus
VolumeProjection: clusterTrustBundle=ClusterTrustBundleProjection configMap=ConfigMapProjection
  downwardAPI=DownwardAPIProjection podCertificate=PodCertificateProjection secret=SecretProjection
  serviceAccountToken=ServiceAccountTokenProjection
VolumeResourceRequirements: limits={q} requests={q}
VolumeStatus: image=ImageVolumeStatus
VsphereVirtualDiskVolumeSource: fsType=s storagePolicyID=s storagePolicyName=s volumePath=!s
WeightedPodAffinityTerm: podAffinityTerm=!PodAffinityTerm weight=!i
WindowsSecurityContextOptions: gmsaCredentialSpec=s gmsaCredentialSpecName=s hostProcess=b runAsUserName=s
CustomResourceColumnDefinition: description=s format=s jsonPath=!s name=!s priority=i type=!s
CustomResourceConversion: strategy=!s webhook=WebhookConversion
CustomResourceDefinition: apiVersion=s kind=s metadata=ObjectMeta spec=!CustomResourceDefinitionSpec
  status=CustomResourceDefinitionStatus
CustomResourceDefinitionCondition: lastTransitionTime=t message=s observedGeneration=l reason=s status=!s type=!s
CustomResourceDefinitionNames: categories=[s] kind=!s listKind=s plural=!s shortNames=[s] singular=s
CustomResourceDefinitionSpec: conversion=CustomResourceConversion group=!s names=!CustomResourceDefinitionNames
  preserveUnknownFields=b scope=!s versions=![CustomResourceDefinitionVersion]
CustomResourceDefinitionStatus: acceptedNames=CustomResourceDefinitionNames
  conditions=[CustomResourceDefinitionCondition] observedGeneration=l storedVersions=[s]
CustomResourceDefinitionVersion: additionalPrinterColumns=[CustomResourceColumnDefinition] deprecated=b
  deprecationWarning=s name=!s schema=CustomResourceValidation selectableFields=[SelectableField] served=!b storage=!b
  subresources=CustomResourceSubresources
CustomResourceSubresourceScale: labelSelectorPath=s specReplicasPath=!s statusReplicasPath=!s
CustomResourceSubresources: scale=CustomResourceSubresourceScale status=o
CustomResourceValidation: openAPIV3Schema=JSONSchemaProps
JSONSchemaProps: $ref=s $schema=s additionalItems=o additionalProperties=o allOf=[JSONSchemaProps]
  anyOf=[JSONSchemaProps] default=o definitions={JSONSchemaProps} dependencies={o} description=s enum=[o] example=o
  exclusiveMaximum=b exclusiveMinimum=b externalDocs=o format=s id=s items=o maxItems=l maxLength=l maxProperties=l
  maximum=n minItems=l minLength=l minProperties=l minimum=n multipleOf=n not=JSONSchemaProps nullable=b
  oneOf=[JSONSchemaProps] pattern=s patternProperties={JSONSchemaProps} properties={JSONSchemaProps} required=[s]
  title=s type=s uniqueItems=b x-kubernetes-embedded-resource=b x-kubernetes-int-or-string=b
  x-kubernetes-list-map-keys=[s] x-kubernetes-list-type=s x-kubernetes-map-type=s
  x-kubernetes-preserve-unknown-fields=b x-kubernetes-validations=[ValidationRule]
SelectableField: jsonPath=!s
ValidationRule: fieldPath=s message=s messageExpression=s optionalOldSelf=b reason=s rule=!s
WebhookClientConfig: caBundle=s service=ServiceReference url=s
ServiceReference: name=!s namespace=!s path=s port=i
WebhookConversion: clientConfig=WebhookClientConfig conversionReviewVersions=![s]
KubeProxyConfiguration: bindAddress=s bindAddressHardFail=b clientConnection=ProxyClientConnection clusterCIDR=s
  configSyncPeriod=d conntrack=ProxyConntrack detectLocal=ProxyDetectLocal detectLocalMode=s enableProfiling=b
  featureGates={b} healthzBindAddress=s hostnameOverride=s iptables=ProxyIPTables ipvs=ProxyIPVS logging=o
  metadata=ObjectMeta metricsBindAddress=s mode=s nftables=ProxyNFTables nodePortAddresses=[s] oomScoreAdj=i portRange=s
  showHiddenMetricsForVersion=s winkernel=o windowsRunAsService=b
ProxyClientConnection: acceptContentTypes=s burst=i contentType=s kubeconfig=s qps=n
ProxyConntrack: maxPerCore=i min=i tcpBeLiberal=b tcpCloseWaitTimeout=d tcpEstablishedTimeout=d udpStreamTimeout=d
  udpTimeout=d
ProxyDetectLocal: bridgeInterface=s interfaceNamePrefix=s
ProxyIPTables: localhostNodePorts=b masqueradeAll=b masqueradeBit=i minSyncPeriod=d syncPeriod=d
ProxyIPVS: excludeCIDRs=[s] minSyncPeriod=d scheduler=s strictARP=b syncPeriod=d tcpFinTimeout=d tcpTimeout=d
  udpTimeout=d
ProxyNFTables: masqueradeAll=b masqueradeBit=i minSyncPeriod=d syncPeriod=d
"""
