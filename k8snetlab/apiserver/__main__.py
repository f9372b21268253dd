"""`python -m k8snetlab.apiserver`."""

import sys

from k8snetlab.apiserver.main import main

sys.exit(main())
