"""Links between devices: what each carries, and at what cost in headers and time."""
