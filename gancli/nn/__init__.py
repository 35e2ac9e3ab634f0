"""Layers that know nothing but torch."""
