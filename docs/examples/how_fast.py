"""Times a plain class and a compiled one on the same requests."""

from time import perf_counter

import tiersim
from tiersim.experiments.replays import read_requests

requests = read_requests("generated/loop-objects", requests=2_000_000)[1]
for policy in ("plain_lazy.py:PlainLazy", "lazy.py:Lazy"):
    for _ in range(2):  # the first round compiles
        begin = perf_counter()
        (row,) = tiersim.replay(requests, policy, "1%", regret=False).rows
        took = perf_counter() - begin
    print(f"{policy}: {row.misses:,} misses, {len(requests) / took / 1e6:.1f} million requests a second")
