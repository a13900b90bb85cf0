"""Scripts that measure speed and memory, each beside an alternative."""

import dmcl_tf  # noqa: F401, as it tells TensorFlow what to use, which reads that when it is loaded
