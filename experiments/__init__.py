"""Questions: studies, what they compare, and what comes out."""
