"""What all controllers share: sources -> queue -> `reconcile(key) -> Outcome`, run under leader election.

A controller module defines `build(context: Context) -> Controller` and is named in `controllers/catalog.py`.
"""

from .controller import Builder, Clock, Context, Controller, Source, controller_key, split_key, utc_now
from .expectations import Expectations
from .furniture import is_furnished, unless_terminating
from .informers import InformerFactory
from .outcome import DONE, Done, Outcome, RequeueAfter
from .recorder import Recorder
from .running import Leadership, Runner, run_controllers
from .together import together

__all__ = [
    "DONE",
    "Builder",
    "Clock",
    "Context",
    "Controller",
    "Done",
    "Expectations",
    "InformerFactory",
    "Leadership",
    "Outcome",
    "Recorder",
    "RequeueAfter",
    "Runner",
    "Source",
    "controller_key",
    "is_furnished",
    "run_controllers",
    "split_key",
    "together",
    "unless_terminating",
    "utc_now",
]
