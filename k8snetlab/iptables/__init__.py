"""What an iptables rule says, how two rule sets differ, and whether a packet matches: pure."""

__all__ = ["matching", "patch", "syntax"]
