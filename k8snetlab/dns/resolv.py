"""What stands in a pod's /etc/resolv.conf, as kubelet and containerd make it.

Source: kubelet, pkg/kubelet/network/dns (GetPodDNS, appendDNSConfig, the limits and their Events); containerd,
parseDNSOptions (the order of the lines); resolv.conf(5).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from k8snetlab.dataplane.families import is_address

SERVERS, SEARCHES, CHARACTERS = 3, 32, 2048
"""So many name servers, search domains, and characters of these in one line, a file has at most."""
DOMAIN = 253
"""Characters of one search domain."""
NDOTS = "ndots:5"


class Resolv(msgspec.Struct, frozen=True):
    """Name servers' addresses, domains to search, options ("ndots:5", "edns0"), in order."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def with_more(self, nameservers: Iterable[str], searches: Iterable[str], options: Iterable[str]) -> Resolv:
        """With a Pod's dnsConfig: what is there twice is there once, an option of the same name is the later one."""
        named = {option.partition(":")[0]: option for option in (*self.options, *options)}
        return Resolv(_once(*self.nameservers, *nameservers), _once(*self.searches, *searches), tuple(named.values()))

    @property
    def text(self) -> str:
        lines = [f"search {' '.join(self.searches)}"] if self.searches else []
        lines += [f"nameserver {server}" for server in self.nameservers]
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)

    @property
    def servers(self) -> tuple[str, ...]:
        """Whom glibc asks of `nameservers`: the first ones that are addresses."""
        return tuple(server for server in self.nameservers if is_address(server.partition("%")[0]))[:SERVERS]

    @property
    def ndots(self) -> int:
        """So many dots a name has to have to be asked for as it is before anything else: 1, unless an option says."""
        return self._number("ndots", 1, 15)

    @property
    def timeout(self) -> int:
        """Seconds for which a reply is waited for (resolv.conf(5))."""
        return max(1, self._number("timeout", 5, 30))

    @property
    def attempts(self) -> int:
        """How often every name server is asked, at most."""
        return max(1, self._number("attempts", 2, 5))

    def _number(self, option: str, default: int, most: int) -> int:
        said = [text.partition(":")[2] for text in self.options if text.startswith(f"{option}:")]
        return min(most, int(said[-1])) if said and said[-1].isdecimal() else default


def cluster_first(server: Iterable[str], namespace: str, domain: str, host: Resolv) -> Resolv:
    """Of a pod with dnsPolicy ClusterFirst; `host` is its node's."""
    searches = _once(f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *host.searches)
    return Resolv(tuple(server), searches, (NDOTS,))


def fitting(wanted: Resolv) -> tuple[Resolv, tuple[str, ...]]:
    """What of it a file may have, and the messages of the Events DNSConfigForming where that is not all."""
    messages = []
    servers = wanted.nameservers[:SERVERS]
    if servers != wanted.nameservers:
        messages.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {' '.join(servers)}"
        )
    searches = tuple(search for search in wanted.searches[:SEARCHES] if len(search) <= DOMAIN)
    while len(" ".join(searches)) > CHARACTERS:
        searches = searches[:-1]
    if searches != wanted.searches:
        messages.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(searches)}"
        )
    return Resolv(servers, searches, wanted.options), tuple(messages)


def read(text: str) -> Resolv:
    """A file, as glibc reads it: the last `search` or `domain` counts, what is unknown is passed over."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        match line.split() if line[:1] not in "#;" else []:
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain" as what, *domains]:
                searches = tuple(domains if what == "search" else domains[:1])
            case ["options", *more]:
                options += more
    return Resolv(tuple(servers), searches, tuple(options))


def _once(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
