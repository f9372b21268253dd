"""Calico's own policies are refused with their line: passed over, what they guard would be open."""

from __future__ import annotations

import pytest

from k8snetlab.api.load import load
from k8snetlab.errors import ManifestError


@pytest.mark.parametrize("version", ["projectcalico.org/v3", "crd.projectcalico.org/v1"])
@pytest.mark.parametrize("kind", ["NetworkPolicy", "GlobalNetworkPolicy"])
def test_a_policy_that_nobody_brings_about_is_no_policy_that_is_ignored(version: str, kind: str) -> None:
    text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: deny}}\nspec: {{selector: all()}}\n"
    with pytest.raises(ManifestError) as failure:
        load([("calico.yaml", text)])
    (problem,) = failure.value.problems
    assert problem.startswith(f"calico.yaml:1: kind: {version} {kind} is not brought about here")
