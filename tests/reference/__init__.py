"""A reference AFTR in plain Python: slow, readable, and written without looking at the kernels (see README.md)."""

from reference.aftr import Reference
from reference.policy import Policy

__all__ = ["Policy", "Reference"]
