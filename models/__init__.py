"""Things that exist and cost time or space."""
