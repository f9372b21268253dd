"""The door of a Gateway: its listeners and routes as nginx.conf."""

__all__ = ["collect", "conf", "matching", "model", "streaming", "streams"]
