"""SA1: secure aggregation with a roster, drop-outs and a coordinator that may cheat.

Read docs/protocol.md beside it. `round` plays a whole round; `site` and `coordinator` are
the two sides, a function a stage; `layout` and `ring` turn tensors into words and back;
`roster` says who may take part under which rules. Neither side knows Flower, torch, a
clock, a log or global randomness: entropy is an argument.
"""
