"""What every floor stands on: errors, units, the registry. Imports nothing else of tiersim."""
