"""Objects that cannot be deleted as others can."""

from __future__ import annotations

from k8snetlab.api.coordination import Lease
from k8snetlab.api.core import Namespace, Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import is_machine
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import IPAddress
from k8snetlab.api.renewal import EVERY
from k8snetlab.controllers import namespaces
from k8snetlab.errors import ForbiddenError, InputError


def refuse_deletion(obj: Object) -> None:
    """Raises InputError, ForbiddenError for an object that a controller would only create again."""
    if isinstance(obj, Lab):
        raise InputError("a lab is not deleted among its objects", "`k8snetlab down` takes it down")
    if isinstance(obj, Node) and is_machine(obj):
        if all(c.status != "Unknown" for c in obj.status.conditions if c.type == "Ready"):
            raise InputError(f"{obj.name} is a machine that lives", "`k8snetlab node leave` on it takes it out")
    elif isinstance(obj, Node):
        raise InputError("a node comes and goes with the lab file", "take it out of spec.nodes and `up` again")
    if isinstance(obj, IPAddress) and obj.allocated and (parent := obj.spec.parentRef):
        holder = f"{parent.namespace}/{parent.name}"
        raise InputError(f"the address {obj.name} is Service {holder}'s", "it goes when the Service does")
    if isinstance(obj, Lease) and EVERY in obj.metadata.annotations:
        raise InputError(f"the lab itself keeps Lease {obj.name}", "it goes when its holder does")
    if isinstance(obj, Namespace) and obj.name in namespaces.SYSTEM:
        error = ForbiddenError(f'namespaces "{obj.name}" is forbidden: this namespace may not be deleted')
        error.about = ("", "namespaces", obj.name)
        raise error
