"""What of a lab is on this machine besides its network: paths, the ledger, processes, its store's place."""
