"""The shared store: one protocol, kept in SQLite inside the daemon or in etcd."""
