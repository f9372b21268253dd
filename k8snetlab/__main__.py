"""`python -m k8snetlab` and the command `k8snetlab`."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Ctrl-C while the command line is still being imported ends as quietly as later."""
    try:
        from k8snetlab.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
