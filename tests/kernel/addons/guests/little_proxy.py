"""A kube-proxy in little: asks the in-cluster API for Services and their endpoints, and writes kube-proxy's chains for
those that its command line names. What a guest of a test runs."""

from __future__ import annotations

import json
import os
import pathlib
import ssl
import subprocess
import sys
import time
import urllib.request
from typing import Any

BASE = "/var/run/secrets/kubernetes.io/serviceaccount"
JUMPS = """
*nat
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
COMMIT
"""


def get(path: str) -> Any:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    with pathlib.Path(f"{BASE}/token").open(encoding="utf-8") as token:
        headers = {"Authorization": f"Bearer {token.read()}"}
    request = urllib.request.Request(f"https://{host}:{port}{path}", headers=headers)
    context = ssl.create_default_context(cafile=f"{BASE}/ca.crt")
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        return json.load(answer)


def objects(name: str) -> list[Any]:
    """A Service, and its endpoints as the API has them."""
    service = get(f"/api/v1/namespaces/default/services/{name}")
    service["spec"].pop("selector", None)
    wanted = f"labelSelector=kubernetes.io/service-name={name}"
    items = [service]
    for number, found in enumerate(
        get(f"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?{wanted}")["items"]
    ):
        metadata = {"name": f"{name}-{number}", "labels": {"kubernetes.io/service-name": name}}
        items.append({**found, "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata})
    return items


def chains(names: list[str]) -> str:
    """What `k8snetlab render` says of these Services as the API has them."""
    items = [item for name in names for item in objects(name)]
    for node in get("/api/v1/nodes")["items"]:  # without their owner, the Lab, which is not among these
        items.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node["metadata"]["name"]}})
    command = [sys.executable, "-m", "k8snetlab", "render", "-f", "-", "--node", os.environ["HOSTNAME"], "--rules"]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def main() -> None:
    text = chains(sys.argv[1:])
    subprocess.run(["iptables-restore", "--noflush"], input=text, text=True, check=True)
    subprocess.run(["iptables-restore", "--noflush"], input=JUMPS, text=True, check=True)
    sys.stdout.write("synced\n")
    sys.stdout.flush()
    time.sleep(100_000)


if __name__ == "__main__":
    main()
