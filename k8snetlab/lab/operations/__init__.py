"""What the daemon does for the lab's own verbs."""

from __future__ import annotations

from dataclasses import dataclass

from k8snetlab.lab.operations.changing import Changing
from k8snetlab.lab.operations.explaining import Explaining
from k8snetlab.lab.operations.places import Places
from k8snetlab.lab.operations.standing import Standing
from k8snetlab.lab.operations.tables import Tables


@dataclass(frozen=True)
class Operations:
    """All of them, as this machine's daemon alone does them."""

    changing: Changing
    explaining: Explaining
    places: Places
    standing: Standing
    tables: Tables


__all__ = ["changing", "explaining", "places", "standing", "tables"]
