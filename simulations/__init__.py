"""Everything that needs no hospital."""
