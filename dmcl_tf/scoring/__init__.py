"""From networks and videos to accuracies."""
