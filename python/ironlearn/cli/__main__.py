"""``python -m ironlearn.cli``."""

import sys

from ironlearn.cli import main

sys.exit(main())
