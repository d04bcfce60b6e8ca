"""Expert replacement: which expert of a mixture-of-experts model leaves the fast memory for another."""
