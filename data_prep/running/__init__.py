"""One function over many videos."""
