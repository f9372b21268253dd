"""How lists of objects are merged by a strategic merge patch: by which key, or as a set; all other lists are replaced.

Source: the patchStrategy and patchMergeKey tags of k8s.io/api (core/v1, apps/v1, networking/v1 …).
"""

from __future__ import annotations

KEYS: dict[tuple[str, str], str] = {
    **{
        ("PodSpec", field): key
        for field, key in {
            "containers": "name",
            "initContainers": "name",
            "ephemeralContainers": "name",
            "volumes": "name",
            "imagePullSecrets": "name",
            "hostAliases": "ip",
            "topologySpreadConstraints": "topologyKey",
            "schedulingGates": "name",
            "resourceClaims": "name",
        }.items()
    },
    **{
        (container, field): key
        for container in ("Container", "EphemeralContainer")
        for field, key in {
            "ports": "containerPort",
            "env": "name",
            "volumeMounts": "mountPath",
            "volumeDevices": "devicePath",
        }.items()
    },
    ("ServiceSpec", "ports"): "port",
    ("ServiceAccount", "secrets"): "name",
    ("ObjectMeta", "ownerReferences"): "uid",
    ("NodeStatus", "addresses"): "type",
    ("PodStatus", "podIPs"): "ip",
    ("PodStatus", "hostIPs"): "ip",
    ("PodStatus", "resourceClaimStatuses"): "name",
    **{
        (f"{kind}Status", "conditions"): "type"
        for kind in (
            *("Namespace", "Node", "Pod", "Service", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"),
            *("ReplicationController", "Job"),
        )
    },
}
"""The merge key of a list of mappings, by type and field as `reference` names them."""
SETS = {("ObjectMeta", "finalizers"), ("NodeSpec", "podCIDRs")}
"""Lists of scalars that are merged as sets."""
RETAINED = {("DeploymentSpec", "strategy"), ("PodSpec", "volumes")}
"""Fields whose patch may say by `$retainKeys` which of their own fields stay."""
ASSUMED = {"protocol": "TCP"}
"""What a key is where the item does not say."""
