"""The bookkeeping of one probe: when it is due, and what its answers mean together."""

from __future__ import annotations

from dataclasses import dataclass

from stark.crds.pods import Probe

from .messages import ProbeKind


@dataclass(slots=True)
class ProbeRun:
    """One probe of one run of a container."""

    kind: ProbeKind
    probe: Probe
    next_at: float
    asked: bool = False
    successes: int = 0
    failures: int = 0
    passing: bool = False
    """The verdict so far. Liveness is believed until it fails, the others must succeed first."""
    broken: bool = False
    """Startup or liveness has failed for good: the container must be restarted."""

    @classmethod
    def begin(cls, kind: ProbeKind, probe: Probe, started_at: float) -> ProbeRun:
        """A probe of a container that began to run at `started_at`."""
        run = cls(kind, probe, started_at + probe.initial_delay_seconds)
        run.passing = kind is ProbeKind.LIVENESS
        return run

    def answer(self, ok: bool, now: float) -> None:
        """Count one answer and plan the next question."""
        self.asked = False
        self.next_at = now + self.probe.period_seconds
        self.successes, self.failures = (self.successes + 1, 0) if ok else (0, self.failures + 1)
        if self.successes >= self.probe.success_threshold:
            self.passing = True
        if self.failures >= self.probe.failure_threshold:
            self.passing = False
            self.broken = self.kind is not ProbeKind.READINESS
