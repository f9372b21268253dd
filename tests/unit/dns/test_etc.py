"""The files of a pod's /etc, as kubelet writes them."""

from __future__ import annotations

import pytest
from golden import objects

from k8snetlab.api.core import Pod
from k8snetlab.api.dns import Dns
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import etc
from k8snetlab.dns.etc import Etc
from k8snetlab.dns.resolv import Resolv

HOST = Resolv(("203.0.113.10",))
NODE = "kind: Node\nmetadata: {name: node1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.0.21}]}"
LAB = Lab(spec=LabSpec(serviceCIDR="10.254.0.0/16", dns=Dns(enabled=True, address="10.254.0.2")))
WORLD = Snapshot.of([*objects(NODE), LAB])
LOCAL = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def files(spec: str, world: Snapshot = WORLD) -> Etc:
    """Of the pod `web-0` in `shop`, with two addresses."""
    status = "{podIP: 10.244.1.5, podIPs: [{ip: 10.244.1.5}, {ip: 'fd00::5'}]}"
    text = f"kind: Pod\nmetadata: {{name: web-0, namespace: shop}}\nspec: {spec}\nstatus: {status}"
    (pod,) = objects(text)
    assert isinstance(pod, Pod)
    return etc.of(pod, world, HOST)


def test_a_pod_asks_the_cluster_as_the_reference_shows_it() -> None:
    found = files("{}")
    assert found.resolv_conf == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.254.0.2\noptions ndots:5\n"
    )
    assert found.hosts == f"{LOCAL}10.244.1.5\tweb-0\nfd00::5\tweb-0\n"
    assert (found.hostname, found.warnings) == ("web-0\n", ())


def test_with_a_subdomain_the_whole_name_stands_first() -> None:
    found = files("{hostname: db, subdomain: sql}")
    name = "db.sql.shop.svc.cluster.local"
    assert found.hosts == f"{LOCAL}10.244.1.5\t{name}\tdb\nfd00::5\t{name}\tdb\n"
    assert found.hostname == "db\n"
    assert files("{hostname: db, subdomain: sql, setHostnameAsFQDN: true}").hostname == f"{name}\n"
    assert files("{hostname: db, setHostnameAsFQDN: true}").hostname == "db\n"


def test_host_aliases_stand_below() -> None:
    found = files("{hostAliases: [{ip: 192.0.2.7, hostnames: [a.example, b]}, {ip: 192.0.2.8, hostnames: [c]}]}")
    assert found.hosts.endswith(
        "fd00::5\tweb-0\n\n# Entries added by HostAliases.\n192.0.2.7\ta.example\tb\n192.0.2.8\tc\n"
    )


def test_the_policy_says_whose_server_is_asked() -> None:
    assert files("{dnsPolicy: Default}").resolv_conf == "nameserver 203.0.113.10\n"
    assert files("{nodeName: node1, hostNetwork: true}").resolv_conf == "nameserver 203.0.113.10\n"
    assert "10.254.0.2" in files("{nodeName: node1, hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet}").resolv_conf
    only = (
        "{dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.53], options: [{name: ndots, value: '2'}, {name: edns0}]}}"
    )
    assert files(only).resolv_conf == "nameserver 192.0.2.53\noptions ndots:2 edns0\n"


def test_a_pod_of_the_hosts_network_has_its_nodes_names_and_its_own_aliases() -> None:
    alias = "hostAliases: [{ip: 192.0.2.7, hostnames: [a]}]"
    found = files(
        f"{{nodeName: node1, hostNetwork: true, hostname: db, subdomain: x, setHostnameAsFQDN: true, {alias}}}"
    )
    assert found.hostname == "node1\n"
    assert found.hosts == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n192.168.0.21\tnode1\n"
        "\n# Entries added by HostAliases.\n192.0.2.7\ta\n"
    )


def test_a_whole_name_that_is_too_long_is_refused_in_kubelets_words() -> None:
    with pytest.raises(
        ValueError, match=r"FQDN d{40}\.sql\.shop\.svc\.cluster\.local is too long \(64 characters is the"
    ):
        files(f"{{hostname: {'d' * 40}, subdomain: sql, setHostnameAsFQDN: true}}")


def test_dns_config_is_added() -> None:
    found = files(
        "{dnsConfig: {nameservers: [192.0.2.53], searches: [corp.example], options: [{name: ndots, value: '2'}]}}"
    )
    assert found.resolv_conf == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
        "nameserver 10.254.0.2\nnameserver 192.0.2.53\noptions ndots:2\n"
    )


def test_what_is_above_a_limit_is_left_out_and_said() -> None:
    found = files("{dnsConfig: {nameservers: [192.0.2.1, 192.0.2.2, 192.0.2.3]}}")
    assert "192.0.2.3" not in found.resolv_conf
    assert found.warnings[0].startswith("Nameserver limits were exceeded")


def test_the_services_own_address_counts_where_it_has_another_one() -> None:
    service = "kind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec: {clusterIP: 10.254.0.9}"
    world = WORLD.changed([(type(obj), obj.key, obj) for obj in objects(service)], 2)
    assert "nameserver 10.254.0.9\n" in files("{}", world).resolv_conf


def test_a_lab_without_dns_gives_the_nodes() -> None:
    lab = Lab(spec=LabSpec(dns=Dns(enabled=False)))
    assert files("{}", Snapshot.of([lab])).resolv_conf == "nameserver 203.0.113.10\n"
