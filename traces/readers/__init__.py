"""One file for each foreign format; `tiersim.traces.readers.contract` says what a reader is."""
