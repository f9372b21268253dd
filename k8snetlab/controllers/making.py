"""Pods as workloads make them of a template."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from k8snetlab.api.core import Pod, PodSpec, PodTemplateSpec
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.controllers.identity import owned_by


def pod_of(
    owner: Object,
    template: PodTemplateSpec,
    name: str,
    labels: Mapping[str, str],
    *,
    spec: PodSpec | None = None,
    generated: bool = True,
) -> Pod:
    """A pod of the owner's; `labels` come to those of the template, `spec` is in place of the template's."""
    metadata = ObjectMeta(
        name=name,
        generateName=f"{owner.name}-",
        namespace=owner.namespace,
        labels={**template.metadata.labels, **labels},
        annotations=template.metadata.annotations,
        finalizers=template.metadata.finalizers,
        ownerReferences=(owned_by(owner),),
    )
    if not generated:
        metadata = replace(metadata, generateName="")
    return Pod(metadata=metadata, spec=spec or template.spec)
