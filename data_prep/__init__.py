"""From folders of videos to TFRecords: dataset reader → frames → optical flow → TFRecords."""
