"""A command inside a pod or node: this process becomes it, or another machine's daemon runs it for this one."""
