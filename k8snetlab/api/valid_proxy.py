"""What can be wrong with a KubeProxyConfiguration.

Source: Kubernetes pkg/proxy/apis/config/validation, whose words these are; what is not acted on here is checked too.
"""

from __future__ import annotations

from ipaddress import ip_address

from k8snetlab.api import addressing
from k8snetlab.api.addressing import split
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.problems import Report
from k8snetlab.api.words import Path, shorten

PRIMARY = "primary"


def proxy(report: Report, config: KubeProxyConfiguration) -> None:
    if config.bindAddress:
        try:
            ip_address(config.bindAddress)
        except ValueError:
            message = (
                f'Invalid value: "{shorten(config.bindAddress)}": not a valid textual representation of an IP address'
            )
            report.error(config, ("bindAddress",), message)
    _cluster_cidr(report, config)
    if config.nodePortAddresses != (PRIMARY,):
        for number, text in enumerate(config.nodePortAddresses):
            _network(report, config, ("nodePortAddresses", number), text)
    for field in ("maxPerCore", "min"):
        value = getattr(config.conntrack, field)
        if value is not None and value < 0:
            report.error(config, ("conntrack", field), f"Invalid value: {value}: must be greater than or equal to 0")
    if config.detectLocalMode == "BridgeInterface":
        _interface(report, config, "bridgeInterface", config.detectLocal.bridgeInterface)
    if config.detectLocalMode == "InterfaceNamePrefix":
        _interface(report, config, "interfaceNamePrefix", config.detectLocal.interfaceNamePrefix)


def _cluster_cidr(report: Report, config: KubeProxyConfiguration) -> None:
    """One network, or one of either family; kube-proxy masks what is set beyond the prefix."""
    path: Path = ("clusterCIDR",)
    found = [_network(report, config, path, text) for text in split(config.clusterCIDR)]
    versions = [network.version for network in found if network]
    if len(found) > 2 or len(set(versions)) < len(versions):
        value = shorten(config.clusterCIDR)
        message = "must be a valid DualStack CIDR (e.g. 10.100.0.0/16,fde4:8dba:82e1::/48)"
        report.error(config, path, f'Invalid value: "{value}": {message}')


def _network(report: Report, config: KubeProxyConfiguration, path: Path, text: str) -> addressing.IPNetwork | None:
    try:
        return addressing.api_network(text.strip(), strict=False)
    except ValueError as error:
        report.error(config, path, str(error))
        return None


def _interface(report: Report, config: KubeProxyConfiguration, field: str, name: str) -> None:
    if not 1 <= len(name) <= 15 or not name.isascii() or not name.replace("-", "").replace(".", "").isalnum():
        message = f"detectLocalMode {config.detectLocalMode} needs an interface name of 1 to 15 characters"
        report.error(config, ("detectLocal", field), message)
