"""The engine: compiled batch replay of traces, and what it needs."""
