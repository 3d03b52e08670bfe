"""What can go wrong with a cluster, for the person at the terminal.

DsliteError
└── ClusterError        names what was wrong, and what to do
    └── BuildError      a binary or an image cannot be built; the message carries the builder's last words
"""

from dslite_contract.errors import DsliteError


class ClusterError(DsliteError):
    """Root of the cluster's own errors."""


class BuildError(ClusterError):
    """Go, gcc, mmdebstrap or buildah failed."""
