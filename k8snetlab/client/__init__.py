"""The way to a lab's daemon."""
