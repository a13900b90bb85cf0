"""One raw video: decoding, alignment, resizing."""
