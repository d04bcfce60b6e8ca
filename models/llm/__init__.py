"""Models of language in numbers: shapes, how GPUs share them, and how long an iteration takes."""
