"""Names and uids drawn from hashes."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from k8snetlab.api.core import Service
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.controllers import identity


@pytest.mark.parametrize("revision", range(40))
def test_a_uid_is_what_uuid_makes_of_the_digest(revision: int) -> None:
    digest = hashlib.sha256(f"Service/bench/web/{revision}".encode()).digest()
    service = Service(metadata=ObjectMeta(name="web", namespace="bench"))
    assert identity.uid(service, revision) == str(uuid.UUID(bytes=digest[:16], version=5))
