"""`python -m partscope.cli`, the same as `partscope`."""

import sys

from partscope.cli import main

sys.exit(main())
