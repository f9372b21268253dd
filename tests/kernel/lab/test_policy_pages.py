"""What the pages of the two scenarios of policies have a reader type: each command is run, and says what is told of
it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from k8snetlab.testing import eventually, running

ROOT = Path(__file__).parents[3]
Said = dict[str, tuple[int, str]]
"""By command: how it ends, and words that it says."""
NETWORK_POLICY: Said = {
    "policy matrix -f network-policy --port 80/TCP": (0, "into 3: denied by default/allow-nginxclient"),
    "policy explain nginx -f network-policy": (0, "only this may come into default/nginx"),
    "policy why client1 nginx:80 -f network-policy": (0, "allowed by default/allow-nginxclient"),
    "policy why client2 nginx:80 -f network-policy": (1, "one of them would have to say"),
    "policy lint -f network-policy": (0, "nothing surprising in 1 policy"),
    "probe client1 nginx:80": (0, "answered"),
    "probe client2 nginx:80": (1, "refused"),
    "trace client2 nginx:80": (1, "(NetworkPolicy default/allow-nginxclient, "),
    "diagnose": (0, "default/allow-nginxclient"),
    "probe --all": (0, ""),
    "rules --node node1": (0, "KUBE-POD-FW-"),
    "policy why client2 nginx:80": (1, "denied"),
    "policy why client1 nginx:81 -f network-policy": (1, "denied"),
    "pause node1": (0, ""),
    "exec node1 -- iptables -D FORWARD 1": (0, ""),
    "resume node1": (0, ""),
}
THREE_TIERS: Said = {
    "policy matrix -f three-tiers": (0, "3306/TCP, row to column:"),
    "policy explain db -f three-tiers": (0, "only this may come into shop/db"),
    "policy why web db:3306 -f three-tiers": (1, "in: denied"),
    "policy why visitor web:80 -f three-tiers": (0, "allowed by shop/web"),
    "policy lint -f three-tiers": (0, "nothing surprising in 5 policies"),
    "probe shop/web http://app": (0, "answered"),
    "probe shop/web shop/db:3306": (1, "refused"),
    "policy why shop/web svc/app:80": (0, ":8080"),
    "policy why shop/web kube-system/kube-dns:53/UDP": (0, "allowed by shop/allow-dns"),
    "diagnose": (0, "shop/default-deny"),
    "delete networkpolicy allow-dns -n shop": (0, ""),
}


PAGES = {"network-policy": NETWORK_POLICY, "three-tiers": THREE_TIERS}


def commands(page: str) -> list[str]:
    """All that k8snetlab is asked, in blocks and in sentences, in order; but `up`."""
    found = re.findall(r"^(?:sudo )?k8snetlab (.*?)(?:\s+#.*)?$|`(?:sudo )?k8snetlab ([^`]*)`", page, re.M)
    return [one or other for one, other in found if not (one or other).startswith("up ")]


@pytest.mark.parametrize(
    ("scenario", "said"),
    [("network-policy", NETWORK_POLICY), ("three-tiers", THREE_TIERS)],
    ids=lambda one: str(one)[:12],
)
def test_each_command_of_the_page_does_what_the_page_says(scenario: str, said: Said) -> None:
    page = (ROOT / "scenarios" / scenario / "README.md").read_text()
    asked = commands(page)
    assert set(asked) == set(said)
    with running(scenario) as lab:
        for command in asked:
            code, words = said[command]
            assert words in lab.run(*shlex.split(command), code=code), command
            if command.startswith("exec "):
                assert lab.probe("client2", "nginx:80").reached, "a fault, where the policy was none"
                assert "FORWARD" in lab.run("diagnose", code=1)
            if command.startswith("resume "):
                eventually(lambda: not lab.probe("client2", "nginx:80").reached)
        if scenario == "three-tiers":
            assert "forgets-dns" in lab.run("policy", "lint", code=1)
            lab.run("probe", "shop/web", "http://app", code=1)
