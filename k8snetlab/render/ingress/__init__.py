"""The door for HTTP: Ingresses as nginx.conf, and the objects of the controller that has it."""

__all__ = [
    "addon",
    "annotated",
    "backends",
    "collect",
    "conf",
    "locations",
    "matching",
    "model",
    "status",
    "syntax",
    "upstreams",
]
