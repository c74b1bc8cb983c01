"""A site from nothing: its folder, whom it trusts, whether all is well, and its processes."""
