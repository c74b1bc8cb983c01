"""From a manifest of recordings to the arrays a model sees."""
