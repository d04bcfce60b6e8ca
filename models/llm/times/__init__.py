"""Time models: how long an iteration of a server of language models takes."""
