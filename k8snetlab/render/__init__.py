"""From objects to the dataplane of a node."""

__all__ = [
    "blocks",
    "bridge",
    "calico",
    "canvas",
    "hostports",
    "ingress",
    "lb",
    "netpol",
    "node",
    "nodelocal",
    "overlay",
    "picture",
    "picture_svg",
    "picture_text",
    "pods",
    "proxy",
    "routing",
    "subnet_env",
    "underlay",
    "uplink",
]
