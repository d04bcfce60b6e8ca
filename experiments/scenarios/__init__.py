"""What a study can be about: one scenario a file."""
