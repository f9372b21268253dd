"""`python -m k8snetlab.components`."""

import sys

from k8snetlab.components.main import main

sys.exit(main())
