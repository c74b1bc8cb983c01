"""A coordinator from nothing: its authority, its roster, its units, and its processes."""
