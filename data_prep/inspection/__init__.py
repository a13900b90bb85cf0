"""What is wrong with records."""
