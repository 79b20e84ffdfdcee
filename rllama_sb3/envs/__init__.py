"""Environments that pay shaped rewards."""
