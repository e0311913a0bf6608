"""`python -m pipeline` is `vocseg`."""

import sys

from pipeline.cli import main

sys.exit(main())
