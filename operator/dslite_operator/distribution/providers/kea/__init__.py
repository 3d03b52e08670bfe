"""Kea: what we put into its configuration, and how that is changed without taking its service away."""
