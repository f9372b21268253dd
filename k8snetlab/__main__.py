"""`python -m k8snetlab` and the command `k8snetlab`."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

GARBAGE = 100_000
"""Objects more than there were before Python looks for those that hold each other: a command is over sooner."""


def main() -> NoReturn:
    """Ctrl-C while the command line is still being imported ends as quietly as later.

    All is written when a verb has ended, and what Python would take apart then the kernel takes as a whole: of a
    command's 85 ms that were 13.
    """
    gc.set_threshold(GARBAGE)
    begun = False
    try:
        from k8snetlab.client import early

        early.ask(sys.argv[1:])
        begun = early.has_changed()
        from k8snetlab.cli.main import main as run
    except KeyboardInterrupt:
        if begun:
            sys.stderr.write("interrupted: what was begun stays as it is\n")
        sys.exit(130)
    try:
        run()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)


if __name__ == "__main__":
    main()
