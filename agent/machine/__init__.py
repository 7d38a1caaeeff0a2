"""The agent's mind: a pure state machine. Stimuli in, effects out; no clock, no network, no processes, no asyncio.

`messages` names what can be said to it and what it can ask for, `container` and `pod` decide, `status` says how a pod
looks in the API, `node` holds all pods of the node. Every decision is taken again from the whole state after each
stimulus, so a stimulus that comes twice, late or out of order does no harm.
"""

from .messages import (
    Adopted,
    Called,
    Condemned,
    DeletePod,
    Effect,
    Emit,
    Exit,
    Exited,
    PodGone,
    PodSeen,
    Prepare,
    Prepared,
    PrepareFailed,
    Probed,
    ProbeKind,
    ProbeNow,
    Release,
    Released,
    Remembered,
    Retire,
    SetTimer,
    Shutdown,
    Start,
    Started,
    Stimulus,
    Stop,
    SupervisorLost,
    Tick,
    WriteStatus,
)
from .node import Machine
from .settings import MachineSettings

__all__ = [
    "Adopted",
    "Called",
    "Condemned",
    "DeletePod",
    "Effect",
    "Emit",
    "Exit",
    "Exited",
    "Machine",
    "MachineSettings",
    "PodGone",
    "PodSeen",
    "Prepare",
    "PrepareFailed",
    "Prepared",
    "ProbeKind",
    "ProbeNow",
    "Probed",
    "Release",
    "Released",
    "Remembered",
    "Retire",
    "SetTimer",
    "Shutdown",
    "Start",
    "Started",
    "Stimulus",
    "Stop",
    "SupervisorLost",
    "Tick",
    "WriteStatus",
]
