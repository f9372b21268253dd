"""What this machine offers a lab, what a lab of a size meets on it, and what labs have left behind."""

__all__ = ["audit", "doctor", "peer", "room"]
