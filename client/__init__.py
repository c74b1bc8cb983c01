"""A site: one hospital or lab."""
