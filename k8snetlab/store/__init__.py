"""The shared store: one protocol, kept in SQLite inside the daemon or in etcd."""

__all__ = [
    "bootstrap",
    "informer",
    "keys",
    "open",
    "pki",
    "protocol",
    "serve",
    "served",
    "serving",
    "signing",
    "tokens",
    "within",
]
