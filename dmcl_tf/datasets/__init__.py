"""What is known of each data set."""
