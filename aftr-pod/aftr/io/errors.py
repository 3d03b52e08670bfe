"""Errors of devices and captures, each one sentence: what is wrong, with which value, what to do.

DsliteError
├── DeviceError        an interface cannot be opened, or not in the mode asked for
│   └── SteeringError  the XDP program cannot be loaded, attached or changed
└── CaptureError       a pcap file is refused; names the file and the offset
"""

from __future__ import annotations

from dslite_contract.errors import DsliteError


class DeviceError(DsliteError):
    """An interface cannot be opened, or not in the mode asked for."""


class SteeringError(DeviceError):
    """The XDP program cannot be loaded, attached or changed."""


class CaptureError(DsliteError):
    """A pcap file is refused."""
