"""Translation: what stands between the TLBs and the page table.

A class registered in the family ``translation`` says what happens to translations that no TLB has, by its fields; the
engine has the operations (`tiersim.sim.mechanisms`), and docs/explanation/translation.md specifies them.

A class registered in the family ``walk-cost-predictor`` tells which translations are worth keeping, with one static
verb in plain Python that the engine compiles:

``costly(freq, cost)``   whether a page is costly to walk for that was walked for `freq` times (counted up to 7), `cost`
                         times of which memory was read (up to 15)
"""
