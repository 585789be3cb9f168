"""Which tests run here: those of `cluster` only in a process of their own, which `test_on_a_cluster.py` starts."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("NARFORMER_TEST_CLUSTER") else ["cluster"]
