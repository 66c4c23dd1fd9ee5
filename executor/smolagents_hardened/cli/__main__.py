"""`python -m smolagents_hardened.cli` is `hardened`."""

import sys

from smolagents_hardened.cli import main

sys.exit(main())
