"""What a paper takes from a study: figures and tables in its formats, citations, and a bundle that runs elsewhere."""
