"""For how long a client waits, in seconds. Nothing is imported here: the command line shows them in its help."""

from __future__ import annotations

CHANGE_TIMEOUT = 120.0
"""For the kernels to be as a change says, when nothing else is asked for."""
ANSWER = 60.0
"""For a daemon to say something, where it is asked what it knows."""
LONG = 600.0
"""For a daemon to say something, where it has to try the network."""
