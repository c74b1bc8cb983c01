"""Frozen pretrained encoders from a folder of the site: what may be opened, and how it is run."""
