"""What the pipeline asks: a seat for a request, at once or after a wait that has an end.

A seat that was given must be given back exactly once, whatever happens to the request; whoever waits and is cancelled
leaves its place, also in the moment in which its turn had come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ..errors import TooManyRequests
from .levels import Flow, Levels
from .queueset import Refused, Ticket

RETRY_AFTER_S: Final = 1
"""When a client that was refused may come back; queues of requests of a few milliseconds are empty by then."""
WAIT_PART: Final = 0.25
"""Of the time a request may take in all, the part that it may wait for a seat, as in Kubernetes."""
DIVIDE_INTERVAL_S: Final = 10.0
"""How often seats are divided between the levels, as in Kubernetes."""
PRESSURE_INTERVAL_S: Final = 1.0
"""How soon they are divided again when requests of some level wait or are refused while others may have seats to lend."""
TIMED_OUT: Final = "time-out"
CANCELLED: Final = "cancelled"


class Seat(Ticket):
    """A request at the gate. `flow` tells where it belongs."""

    __slots__ = ("arrived_s", "turn")
    flow: Flow

    def __init__(self, flow: Flow, seats: int, now_s: float) -> None:
        super().__init__(flow, seats)
        self.arrived_s = now_s
        self.turn: asyncio.Future[bool] | None = None
        """Of one that waits: true when its turn has come, false when it has waited long enough."""


class Gate:
    """In front of everything that does not last as long as a client likes."""

    def __init__(self, seats: int, request_timeout_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wait_max_s = request_timeout_s * WAIT_PART
        self.levels = Levels(seats, clock())
        self._pressed = asyncio.Event()

    def enter(self, flow: Flow, seats: int) -> Seat:
        """A seat; when it is not `executing`, await `turn` next. Raises TooManyRequests."""
        now_s = self._clock()
        seat = Seat(flow, seats, now_s)
        try:
            dispatched = flow.level.queues.enter(seat, now_s)
        except Refused as refusal:
            flow.counts.reject(refusal.reason)
            self._pressed.set()
            raise _come_back() from None
        counts = flow.counts
        if dispatched:
            self._wake(dispatched, now_s)
        if seat.executing:
            counts.executing += 1
            counts.executing_seats += seats
            counts.at_once += 1
        else:
            counts.waiting += 1
            counts.waiting_seats += seats
            self._pressed.set()
        return seat

    async def turn(self, seat: Seat) -> None:
        """Wait for a seat that is not executing. Raises TooManyRequests when its turn does not come in time."""
        loop = asyncio.get_running_loop()
        seat.turn = loop.create_future()
        timer = loop.call_later(self._wait_max_s, self._give_up, seat)
        try:
            if not await seat.turn:
                raise _come_back()
        except asyncio.CancelledError:
            if seat.executing:
                self.leave(seat)
            elif seat.turn.cancelled():
                self._withdraw(seat)
                seat.flow.counts.reject(CANCELLED)
            raise
        finally:
            timer.cancel()

    def leave(self, seat: Seat) -> None:
        """The request is over. Nothing happens the second time."""
        if not seat.executing:
            return
        now_s = self._clock()
        flow = seat.flow
        counts = flow.counts
        counts.executing -= 1
        counts.executing_seats -= seat.seats
        dispatched = flow.level.queues.leave(seat, now_s)
        if dispatched:
            self._wake(dispatched, now_s)

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Use these PriorityLevelConfigurations and FlowSchemas from now on."""
        now_s = self._clock()
        self._wake(self.levels.apply(objects, now_s), now_s)

    def divide(self) -> None:
        """Give each level seats by what it wanted lately."""
        now_s = self._clock()
        self._wake(self.levels.divide(now_s), now_s)

    async def run(self) -> None:
        """Divide again and again: regularly, and sooner while requests wait."""
        while True:
            await asyncio.sleep(PRESSURE_INTERVAL_S)
            try:
                async with asyncio.timeout(DIVIDE_INTERVAL_S - PRESSURE_INTERVAL_S):
                    await self._pressed.wait()
            except TimeoutError:
                pass  # nobody waits: the regular time has come
            self._pressed.clear()
            self.divide()

    def _wake(self, dispatched: Sequence[Ticket], now_s: float) -> None:
        for seat in dispatched:
            assert isinstance(seat, Seat)
            if seat.turn is None:
                continue  # it has just come and never waited
            counts = seat.flow.counts
            counts.waiting -= 1
            counts.waiting_seats -= seat.seats
            counts.executing += 1
            counts.executing_seats += seat.seats
            counts.waited.add(now_s - seat.arrived_s)
            # One that is cancelled in this very moment gives its seat back by itself.
            if not seat.turn.done():
                seat.turn.set_result(True)

    def _give_up(self, seat: Seat) -> None:
        """It has waited long enough."""
        if seat.executing or seat.turn is None or seat.turn.done():
            return
        seat.turn.set_result(False)
        self._withdraw(seat)
        seat.flow.counts.reject(TIMED_OUT)
        seat.flow.counts.gave_up.add(self._clock() - seat.arrived_s)

    def _withdraw(self, seat: Seat) -> None:
        now_s = self._clock()
        counts = seat.flow.counts
        counts.waiting -= 1
        counts.waiting_seats -= seat.seats
        self._wake(seat.flow.level.queues.cancel(seat, now_s), now_s)


def _come_back() -> TooManyRequests:
    return TooManyRequests("Too many requests, please try again later.", retry_after_s=RETRY_AFTER_S)
