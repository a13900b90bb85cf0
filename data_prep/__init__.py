"""From folders of videos to TFRecords: dataset reader → frames → optical flow → TFRecords."""

import dmcl_tf  # noqa: F401  # first of all, as it says what Ctrl-C does while modules are imported
