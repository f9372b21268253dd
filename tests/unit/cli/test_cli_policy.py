"""policy: matrix, explain, why and lint, from manifests alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError, ManifestError

WORLD = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}},
   spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}, status: {podIP: 10.0.0.1}}
- {apiVersion: v1, kind: Pod, metadata: {name: friend, labels: {app: friend}},
   spec: {containers: [{name: c}]}, status: {podIP: 10.0.0.2}}
- {apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {containers: [{name: c}]}, status: {podIP: 10.0.0.3}}
- {apiVersion: v1, kind: Pod, metadata: {name: host, labels: {app: web}},
   spec: {nodeName: n1, hostNetwork: true, containers: [{name: c}]}, status: {podIP: 192.168.0.21}}
- {apiVersion: v1, kind: Pod, metadata: {name: done, labels: {app: web}},
   spec: {containers: [{name: c}]}, status: {phase: Succeeded, podIP: 10.0.0.2}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
    - from:
      - ipBlock: {cidr: 10.0.0.2/32}
      ports:
      - port: http
"""


def _policy(tmp_path: Path, text: str, *words: str) -> tuple[int, str]:
    file = tmp_path / "world.yaml"
    file.write_text(text)
    done = CliRunner().invoke(app_of(), ["policy", *words, "-f", str(file)], standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    code = done.return_value if isinstance(done.return_value, int) else done.exit_code
    return code, done.stdout


def test_matrix_as_json_has_every_pair_and_port_and_these_keys_alone(tmp_path: Path) -> None:
    code, out = _policy(tmp_path, WORLD, "matrix", "--port", "80/TCP", "--port", "53/UDP", "-o", "json")
    found: dict[str, Any] = json.loads(out)
    pods = ["default/friend", "default/host", "default/other", "default/web"]
    pairs = [(c["from"], c["to"], c["port"], c["protocol"]) for c in found["checks"]]
    assert code == 0 and list(found) == ["checks"]
    assert pairs == [(a, b, n, p) for n, p in ((80, "TCP"), (53, "UDP")) for a in pods for b in pods]
    assert list(found["checks"][0]) == ["from", "to", "protocol", "port", "ingress", "egress", "allowed"]
    assert {key for check in found["checks"] for key in check} - set(found["checks"][0]) == {"ingressBy"}
    denied = {(c["from"], c["to"], c["port"]) for c in found["checks"] if not c["allowed"]}
    # host is in the network of web's own node: always let in; no policy selects it
    assert denied == {
        ("default/other", "default/web", 80),
        ("default/other", "default/web", 53),
        ("default/friend", "default/web", 53),
    }


STACKED = (
    WORLD
    + """
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny}
  spec: {podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}]}
- apiVersion: policy.networking.k8s.io/v1alpha2
  kind: ClusterNetworkPolicy
  metadata: {name: guard}
  spec:
    tier: Admin
    priority: 1
    subject: {namespaces: {}}
    ingress: [{action: Deny, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: friend}}}}]}]
"""
)


def test_matrix_says_by_which_policy_each_pair_is_allowed_or_denied(tmp_path: Path) -> None:
    _, out = _policy(tmp_path, STACKED, "matrix", "--port", "80", "-o", "json")
    by = {
        (c["from"], c["to"]): (c["allowed"], c.get("ingressBy"), c.get("egressBy")) for c in json.loads(out)["checks"]
    }
    assert by["default/friend", "default/web"] == (False, ["guard"], ["default/deny"])
    assert by["default/other", "default/web"] == (False, ["default/deny", "default/web"], ["default/deny"])
    assert by["default/web", "default/host"] == (True, None, ["default/deny"])
    assert by["default/host", "default/web"] == (True, None, None)  # from its own node
    assert by["default/web", "default/web"] == (True, None, None)


def test_a_table_says_below_it_which_policies_deny_and_allow(tmp_path: Path) -> None:
    _, out = _policy(tmp_path, WORLD, "matrix", "--port", "80")
    assert "\ninto 4: denied by default/web; 1 let in by default/web\n" in out
    _, out = _policy(tmp_path, STACKED, "matrix", "--port", "80")
    assert "\ninto 1: denied by default/deny\n" in out
    assert "\ninto 3: denied by guard: 1; denied by default/deny: 2, 4-5\n" in out
    assert "\nout of 1: 2-5 let out by default/deny\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_matrix_as_table_fits_80_columns_and_names_outside(tmp_path: Path) -> None:
    _, out = _policy(tmp_path, WORLD, "matrix", "--port", "80")
    assert "outside" in out and max(map(len, out.splitlines())) <= 80


def test_long_names_of_many_are_told_once_and_the_table_fits_80_columns(tmp_path: Path) -> None:
    pods = "".join(
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a-rather-long-name-of-a-workload-{number}}}\n"
        "spec: {containers: [{name: c}]}\n"
        for number in range(40)
    )
    _, out = _policy(tmp_path, pods, "matrix", "--port", "80")
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("workload-7\n") == 1 and out.count("\n  8   .  .") == 2  # two blocks of columns


def test_matrix_as_svg_has_a_square_for_each_pair(tmp_path: Path) -> None:
    _, out = _policy(tmp_path, WORLD, "matrix", "--port", "80", "-o", "svg")
    titles = [title.text for title in ElementTree.fromstring(out).iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 5 * 5  # outside is there too
    assert "default/other to default/web: denied by ingress; ingress by default/web" in titles
    assert "default/friend to default/web: allowed; ingress by default/web" in titles
    assert "default/web to default/friend: allowed" in titles
    assert out.count(">i</text>") == 2  # of other and outside, as in the table


def test_why_names_the_line_that_allows(tmp_path: Path) -> None:
    code, out = _policy(tmp_path, WORLD, "why", "friend", "web:80")
    assert code == 0 and "allowed by default/web: " in out
    assert "world.yaml:21" in out and "world.yaml:23" in out


def test_why_says_what_would_have_to_be_said(tmp_path: Path) -> None:
    code, out = _policy(tmp_path, WORLD, "why", "other", "web:80", "-o", "json")
    found = json.loads(out)
    assert code == 1 and found["egress"]["allowed"] and not found["ingress"]["allowed"]
    assert found["ingress"]["policies"] == ["default/web"]
    assert found["ingress"]["wanted"] == "ingress: [{from: [{podSelector: {}}], ports: [{protocol: TCP, port: 80}]}]"


def test_explain_says_who_may_come_in_and_that_all_may_go_out(tmp_path: Path) -> None:
    _, out = _policy(tmp_path, WORLD, "explain", "web")
    assert "addresses in 10.0.0.2/32, at TCP 80" in out
    assert "everything may go out of default/web" in out
    _, out = _policy(tmp_path, WORLD, "explain", "host")
    assert "no policy selects it" in out


SURPRISING = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: mon, labels: {team: mon}}}
- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: mon, labels: {role: agent}}, SPEC}
- {apiVersion: v1, kind: Pod, metadata: {name: q, namespace: mon}, SPEC}
- {apiVersion: v1, kind: Pod, metadata: {name: host, labels: {app: host}},
   spec: {hostNetwork: true, containers: [{name: c}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: [
   {name: c, ports: [{name: udp, protocol: UDP, containerPort: 1}, {containerPort: 8080}]}]}}
- {apiVersion: v1, kind: Service, metadata: {name: web},
   spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web}
  spec:
    podSelector: {matchLabels: {app: web}}
    policyTypes: [Ingress, Egress]
    ingress:
    - from: [{namespaceSelector: {matchLabels: {team: mon}}, podSelector: {matchLabels: {app: web}}}]
    - from: [{namespaceSelector: {matchLabels: {team: mon}}}, {podSelector: {matchLabels: {role: agent}}}]
      ports: [{port: udp}]
    - ports: [{port: 80}]
    egress:
    - to: [{podSelector: {matchLabels: {app: db}}}]
      ports: [{port: 5432}]
    - to: [{ipBlock: {cidr: 10.96.0.10/32}}]
      ports: [{port: 53, protocol: UDP}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: typo}
  spec: {podSelector: {matchLabels: {app: wbe}}, policyTypes: [Ingress], egress: [{}]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: host}
  spec: {podSelector: {matchLabels: {app: host}}}
"""
SPEC = "spec: {containers: [{name: c}]}"
KINDS = {
    "and-or": 21,
    "or-and": 22,
    "unknown-port-name": 23,
    "service-port": 24,
    "peer-matches-nothing": 26,
    "service-address": 28,
    "forgets-dns": 25,
    "selects-nothing": 33,
    "rules-without-type": 33,
    "selects-host-network": 37,
}


def test_lint_names_each_surprise_once_with_its_line(tmp_path: Path) -> None:
    code, out = _policy(tmp_path, SURPRISING.replace("SPEC", SPEC), "lint", "-o", "json")
    found = [(one["kind"], int(one["line"].rpartition(":")[2])) for one in json.loads(out)["surprises"]]
    assert code == 1 and sorted(found) == sorted(KINDS.items())
    assert "there is one of UDP" in out and "leads to port 8080" in out and "mean mon/p" in out
    assert _policy(tmp_path, WORLD, "lint")[0] == 0


USUAL = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: mon, labels: {team: mon}}}
- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: mon, labels: {role: agent}}, SPEC}
- {apiVersion: v1, kind: Pod, metadata: {name: agent, labels: {role: agent}}, SPEC}
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, SPEC}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web}
  spec:
    podSelector: {matchLabels: {app: web}}
    policyTypes: [Ingress, Egress]
    ingress:
    - from: [{namespaceSelector: {matchLabels: {team: mon}}}, {podSelector: {matchLabels: {role: agent}}}]
      ports: [{port: 80}]
    egress: EGRESS
"""


@pytest.mark.parametrize(
    "egress",
    [
        "[{}]",
        "[{ports: [{port: 53, protocol: UDP}]}]",
        "[{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: "
        "{matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}, {port: 53}]}]",
        "[{to: [{namespaceSelector: {}}]}]",
        "[{to: [{ipBlock: {cidr: 8.8.8.8/32}}], ports: [{port: 53, protocol: UDP}]}]",
    ],
)
def test_policies_that_people_write_are_no_surprise(tmp_path: Path, egress: str) -> None:
    code, out = _policy(tmp_path, USUAL.replace("SPEC", SPEC).replace("EGRESS", egress), "lint")
    assert code == 0 and out == "nothing surprising in 1 policy\n"


def test_dns_is_forgotten_where_nothing_is_let_out(tmp_path: Path) -> None:
    world = USUAL.replace("SPEC", SPEC).replace("EGRESS", "[]")
    code, out = _policy(tmp_path, world, "lint")
    assert code == 1 and "default/web is let out nowhere: names will not resolve (forgets-dns)" in out
    dns = """- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: dns}
  spec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}]}]}
"""
    assert _policy(tmp_path, world + dns, "lint") == (0, "nothing surprising in 2 policies\n")
    of_others = dns.replace("podSelector: {}", "podSelector: {matchLabels: {role: agent}}")
    assert _policy(tmp_path, world + of_others, "lint") == (0, "nothing surprising in 2 policies\n")
    elsewhere = dns.replace("name: dns}", "name: dns, namespace: mon}")
    assert _policy(tmp_path, world + elsewhere, "lint")[0] == 1


def test_dns_is_forgotten_by_a_policy_that_selects_nothing_yet(tmp_path: Path) -> None:
    policy = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: PORT, protocol: UDP}]}]}
"""
    for port, forgotten in (("443", True), ("53", False)):
        _, out = _policy(tmp_path, policy.replace("PORT", port), "lint")
        assert "(selects-nothing)" in out and ("(forgets-dns)" in out) == forgotten


def test_dns_of_pods_that_are_no_servers_is_forgotten(tmp_path: Path) -> None:
    egress = "[{to: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}]"
    code, out = _policy(tmp_path, USUAL.replace("SPEC", SPEC).replace("EGRESS", egress), "lint")
    assert code == 1 and "(forgets-dns)" in out  # no pod of this namespace is a DNS server


@pytest.mark.parametrize(
    "status", ["{podIP: 10.0.0.999}", "{podIP: 7}", "{podIPs: [{ip: 10.0.0.1/8}]}", "{podIPs: [x]}"]
)
def test_an_address_that_is_none_is_refused_with_its_line(tmp_path: Path, status: str) -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\nstatus: " + status
    with pytest.raises(ManifestError, match=r"world\.yaml:5: status\.podIP"):
        _policy(tmp_path, text, "matrix")


@pytest.mark.parametrize("port", ["0", "65536", "80/ICMP", "http", "", "80/TCP/x", "-1"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    with pytest.raises(InputError):
        _policy(tmp_path, WORLD, "matrix", f"--port={port}")
