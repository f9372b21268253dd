"""What a cluster's zone is called, and how it is served.

Source: the options of CoreDNS's plugin `kubernetes`, with the defaults of kubeadm's Corefile.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Pods = Literal["disabled", "insecure", "verified"]
REVERSE = ("in-addr.arpa.", "ip6.arpa.")


class Zones(msgspec.Struct, frozen=True):
    """`domain` is the cluster's, without a dot at its end. `pods` says whether names of pods' addresses
    (1-2-3-4.NAMESPACE.pod.DOMAIN) are not answered, answered whether there is such a pod or not, or only where there
    is. `ttl` is in seconds. `reverse` are the zones of addresses it answers for. `local` are the addresses of the
    server that answers, which decide over the name servers' names. `endpoint_pod_names`: an endpoint without a
    hostname is called as its pod, and not by its address.
    """

    domain: str = "cluster.local"
    ttl: int = 5
    pods: Pods = "insecure"
    reverse: tuple[str, ...] = REVERSE
    local: tuple[str, ...] = ()
    endpoint_pod_names: bool = False

    @property
    def apex(self) -> str:
        return f"{self.domain.lower()}."

    def of(self, name: str) -> str:
        """The longest zone that `name` (lower case, with its dot) is in, "" for none."""
        zones = (self.apex, *self.reverse)
        return max((z for z in zones if name == z or name.endswith(f".{z}")), key=len, default="")
