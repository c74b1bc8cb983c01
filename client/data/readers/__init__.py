"""Recordings as arrays: one module for each kind of file, each within fixed bounds."""
