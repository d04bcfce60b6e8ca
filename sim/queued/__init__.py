"""The queued engine: a SimPy clock in whole picoseconds, and the stations where jobs wait for each other."""
