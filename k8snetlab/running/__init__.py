"""What runs in the daemon: agents, pods' lives, and waiting for a change to converge."""

__all__ = [
    "accounts",
    "agent_task",
    "agents",
    "announcements",
    "convergence",
    "doors",
    "followed",
    "halting",
    "ingress_refusals",
    "kubelet_link",
    "lifecycle",
    "logs",
    "overflows",
    "standins",
    "switching",
    "turning",
    "works",
]
