"""The networks of single modalities, and the ensemble of them."""
