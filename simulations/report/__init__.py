"""A finished run as one page and as one screen."""
