"""The filter language of `capture` and pcapng: pure."""

__all__ = ["expression", "pcapng", "predicates"]
