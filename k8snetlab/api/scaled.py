"""The kinds whose number of pods can be set, as `scheme` has them: who scales one needs no more of a lab's kinds, and
all of them take 20 ms to load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Scaled(NamedTuple):
    """`names` are all that it is called by, lower case."""

    kind: str
    version: str
    plural: str
    names: tuple[str, ...]
    namespaced: bool = True


SCALED = (
    Scaled("Deployment", "apps/v1", "deployments", ("deployments", "deployment", "deploy")),
    Scaled("ReplicaSet", "apps/v1", "replicasets", ("replicasets", "replicaset", "rs")),
    Scaled("StatefulSet", "apps/v1", "statefulsets", ("statefulsets", "statefulset", "sts")),
    Scaled(
        "ReplicationController",
        "v1",
        "replicationcontrollers",
        ("replicationcontrollers", "replicationcontroller", "rc"),
    ),
)
_BY_NAME = {name: one for one in SCALED for name in one.names}


def named(word: str) -> Scaled | None:
    return _BY_NAME.get(word.lower())


def target(words: Sequence[str]) -> tuple[Scaled, str] | None:
    """Of KIND/NAME, or of KIND and NAME; None where the words are anything else."""
    parts = words[0].split("/") if len(words) == 1 else words
    found = named(parts[0]) if len(parts) == 2 and all(parts) and "/" not in parts[1] else None
    return (found, parts[1]) if found else None
