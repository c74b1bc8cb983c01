"""Events, accountant, ledger and mechanisms of differential privacy."""
