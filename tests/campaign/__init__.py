"""Damaged inputs by the hundred, and kills at random moments: `python -m tests.campaign --quick` or `--full`."""
