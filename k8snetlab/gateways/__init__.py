"""Which routes attach to which listeners of which Gateways, what is wrong with them, and what is said of it. Pure."""

__all__ = ["attaching", "listeners", "names", "objects", "references", "rules", "status", "telling"]
