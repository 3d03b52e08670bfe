"""What can go wrong with a lab, for the person at the terminal.

DsliteError
└── LabError            names the lab, what was wrong, and what to do
    ├── LabExistsError  a lab or a namespace of that name is there already
    └── NotReadyError   something that was started did not become ready
"""

from dslite_contract.errors import DsliteError


class LabError(DsliteError):
    """Root of the lab's own errors."""


class LabExistsError(LabError):
    """A lab of this name, or a network namespace that it needs, exists."""


class NotReadyError(LabError):
    """A program or a path did not become ready in time; the message carries the program's last words."""
