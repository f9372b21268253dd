"""What runs in the daemon: agents, pods' lives, and when a change has come to rest."""
