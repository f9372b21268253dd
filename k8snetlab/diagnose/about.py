"""A finding about one object, whoever wrote that."""

from __future__ import annotations

from k8snetlab.api.meta import Object
from k8snetlab.api.problems import title
from k8snetlab.diagnose.finding import Finding
from k8snetlab.trace.owners import at


def about(obj: Object, *, fault: str, message: str, consequence: str, show: str, mend: str) -> Finding:
    """Of the object's kind, in small letters; its owner is the object, with the place in its manifest."""
    return Finding(
        kind=obj.KIND.lower(),
        fault=fault,
        node="",
        object=f"{obj.namespace}/{obj.name}",
        message=message,
        consequence=consequence,
        show=show,
        mend=mend,
        owner=f"{title(obj)}{at(obj)}",
    )
