"""Commands that use both the preparation of data and the networks."""

import dmcl_tf  # noqa: F401  # first of all, as it says what Ctrl-C does while modules are imported
