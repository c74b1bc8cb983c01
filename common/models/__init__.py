"""Multimodal models that train under differential privacy."""
