"""The one door through which objects change, and the controllers' loop."""

__all__ = ["admitted", "cluster", "deletion", "failing", "leading", "nearby", "node_events", "node_status", "stamps"]
