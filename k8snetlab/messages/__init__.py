"""What is asked of a lab's daemon and answered by it: each of the lab's own verbs, declared once, with its messages."""

__all__ = ["capture", "diagnose", "places", "probe", "rules", "tables", "tokens", "trace", "verb", "watch"]
