"""What happens to translations that no TLB has, one mechanism a file; see `tiersim.sim.translation_loop.Mechanism`."""
