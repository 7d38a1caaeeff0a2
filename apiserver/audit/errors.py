"""Why there is no audit log, and so no server: what cannot be recorded is not served."""

from __future__ import annotations


class AuditError(Exception):
    """The audit log cannot be kept; the message says why and what to do, in one sentence."""


class PolicyError(AuditError):
    """The policy cannot be used; the message says where and why."""


class SigningKeyError(AuditError):
    """The key of the log cannot be read."""


class JournalHeld(AuditError):
    """Another process writes this log."""
