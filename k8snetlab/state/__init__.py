"""What of a lab is on this machine besides its network: paths, the ledger, processes, its files, its store's place."""

__all__ = [
    "drills",
    "held",
    "injected",
    "interface",
    "labs",
    "ledger",
    "machine",
    "paths",
    "plane",
    "power",
    "processes",
    "rights",
    "scenarios",
    "snapshots",
    "store_spec",
    "turn",
]
