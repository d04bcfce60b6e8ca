"""`python -m tiersim`."""

from tiersim.cli import main

main()
