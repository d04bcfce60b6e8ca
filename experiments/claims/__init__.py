"""Published figures, how a study measures them, and whether it does."""
