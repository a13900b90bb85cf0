"""Records of videos, and the batches that training and evaluation read from them."""
