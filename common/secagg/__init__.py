"""SA1: secure aggregation with a roster, drop-outs and a coordinator that may cheat."""
