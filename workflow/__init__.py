"""Commands that use both the preparation of data and the networks."""
