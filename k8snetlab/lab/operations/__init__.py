"""What this machine's daemon does for each of the lab's own verbs, a method for each declaration in `messages/`."""

__all__ = [
    "attaching",
    "changing",
    "control_plane",
    "drilling",
    "explaining",
    "faulting",
    "following",
    "guests",
    "ingresses",
    "linking",
    "machine",
    "pausing",
    "places",
    "powering",
    "processes",
    "reaching",
    "scheduling",
    "snapshotting",
    "standing",
    "tables",
]
