"""One priority level: seats, and queues in front of them that are served fairly. Pure: time comes in, nobody is waited for.

As long as every request finds a seat there are no queues, and entering costs a comparison. With the first that finds none a
busy spell begins: each flow is dealt a hand of queues, waits in the one with the least work, and the queue whose next
request would finish first in virtual time is served first (fair queuing by seats, as in KEP-1040). Virtual time runs as
fast as each busy queue would be served if all had their equal part. What a request really used corrects the estimate with
which it was dispatched. The spell ends when nobody waits and half of the seats are free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .demand import Demand

SERVICE_ESTIMATE_S: Final = 0.003
"""How long a request is taken to last until we know better: most are faster, lists and slow disks are not."""
QUEUE_FULL: Final = "queue-full"
NO_SEAT: Final = "concurrency-limit"


class Refused(Exception):
    """No seat and no place to wait; `reason` as in the metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Queuing:
    """How requests wait: `queues` of at most `length_max` requests, `hand_size` of which a flow may use."""

    queues: int
    hand_size: int
    length_max: int


class Dealt(Protocol):
    """A flow, as far as queues are concerned."""

    def hand(self, queuing: Queuing) -> Sequence[int]:
        """The numbers of the queues it may use, all different."""
        ...


class Ticket:
    """One request: waiting, executing (it holds its seats), or neither any more."""

    __slots__ = ("began_s", "executing", "flow", "queue", "seats")

    def __init__(self, flow: Dealt, seats: int) -> None:
        self.flow, self.seats = flow, seats
        self.executing = False
        self.began_s = 0.0
        self.queue: Queue | None = None


class Queue:
    """Exists while somebody waits in it or executes from it. `starts_at` is the virtual time of its next dispatch."""

    __slots__ = ("in_use", "number", "starts_at", "turn", "waiting", "waiting_seats")

    def __init__(self, number: int, starts_at: float) -> None:
        self.number, self.starts_at = number, starts_at
        self.waiting: deque[Ticket] = deque()
        self.waiting_seats = self.in_use = self.turn = 0


class QueueSet:
    """Seats and queues. `limit` may be infinite: then nobody ever waits."""

    def __init__(self, limit: float, queuing: Queuing | None, now_s: float) -> None:
        self.limit, self.queuing = limit, queuing
        self.in_use = self.waiting = self.waiting_seats = 0
        self.demand = Demand(now_s)
        self._executing: set[Ticket] = set()
        self._queues: dict[int, Queue] | None = None
        """The queues in use, during a busy spell."""
        self._nonempty: dict[Queue, None] = {}
        self._virtual = self._virtual_at_s = 0.0
        self._turn = 0

    @property
    def executing(self) -> int:
        """Requests that hold seats."""
        return len(self._executing)

    def enter(self, ticket: Ticket, now_s: float) -> Sequence[Ticket]:
        """Seat the request, or let it wait. Gives those that were dispatched from queues. Raises Refused."""
        if self._queues is None and self.in_use + ticket.seats <= self.limit:
            self.in_use += ticket.seats
            ticket.executing = True
            ticket.began_s = now_s
            self._executing.add(ticket)
            self.demand.move(self.in_use, now_s)
            return ()
        return self._enter_busy(ticket, now_s)

    def leave(self, ticket: Ticket, now_s: float) -> Sequence[Ticket]:
        """An executing request is over: its seats are free. Gives those that are dispatched."""
        assert ticket.executing, ticket.seats
        ticket.executing = False
        self._executing.remove(ticket)
        if self._queues is None:
            self.in_use -= ticket.seats
            self.demand.move(self.in_use, now_s)
            return ()
        return self._leave_busy(ticket, now_s)

    def cancel(self, ticket: Ticket, now_s: float) -> Sequence[Ticket]:
        """A waiting request is given up: its place is free. Gives those that are dispatched."""
        queue = ticket.queue
        assert queue is not None, ticket.seats
        assert not ticket.executing, ticket.seats
        self._advance(now_s)
        queue.waiting.remove(ticket)
        self._unqueue(queue, ticket)
        return self._settle(now_s)

    def resize(self, limit: float, now_s: float) -> Sequence[Ticket]:
        """Another number of seats. With fewer, those in use are waited for. Gives those that are dispatched."""
        self._advance(now_s)
        self.limit = limit
        return self._settle(now_s)

    def reshape(self, queuing: Queuing | None, now_s: float) -> Sequence[Ticket]:
        """Other queues. Whoever waits is dealt again and keeps waiting, also where nobody new may. Gives the dispatched."""
        if queuing == self.queuing:
            return ()
        self.queuing = queuing
        if self._queues is None:
            return ()
        self._advance(now_s)
        waiting = [ticket for queue in self._queues.values() for ticket in queue.waiting]
        self._nonempty.clear()
        self.waiting = self.waiting_seats = 0
        self._assign(now_s)
        for ticket in waiting:
            self._append(self._queue_of(ticket), ticket)
        return self._settle(now_s)

    def _enter_busy(self, ticket: Ticket, now_s: float) -> Sequence[Ticket]:
        if self.queuing is None:
            if self.in_use + ticket.seats > self.limit or self.waiting:
                raise Refused(NO_SEAT)
        elif self._queues is None:
            self._assign(now_s)
        self._advance(now_s)
        queue = self._queue_of(ticket)
        if self.queuing is not None and len(queue.waiting) >= self.queuing.length_max:
            raise Refused(QUEUE_FULL)
        self._append(queue, ticket)
        return self._settle(now_s)

    def _leave_busy(self, ticket: Ticket, now_s: float) -> Sequence[Ticket]:
        self._advance(now_s)
        self.in_use -= ticket.seats
        queue = ticket.queue
        assert queue is not None, ticket.seats
        queue.in_use -= ticket.seats
        queue.starts_at += (now_s - ticket.began_s - SERVICE_ESTIMATE_S) * ticket.seats
        self._drop_if_idle(queue)
        return self._settle(now_s)

    def _assign(self, now_s: float) -> None:
        """Begin a busy spell: what executes already counts for the queues of its flow, or a flood would start unburdened."""
        self._queues = {}
        self._virtual, self._virtual_at_s = 0.0, now_s
        for ticket in self._executing:
            queue = ticket.queue = self._queue_of(ticket)
            self._queues[queue.number] = queue
            queue.in_use += ticket.seats
            queue.starts_at += SERVICE_ESTIMATE_S * ticket.seats

    def _queue_of(self, ticket: Ticket) -> Queue:
        """The queue of the flow's hand with the least work; the first of equals."""
        assert self._queues is not None
        best: Queue | None = None
        # Whoever still waits where queuing has ended drains from a single queue.
        for number in ticket.flow.hand(self.queuing) if self.queuing is not None else (0,):
            queue = self._queues.get(number)
            if queue is None:
                return Queue(number, self._virtual)
            if best is None or queue.waiting_seats + queue.in_use < best.waiting_seats + best.in_use:
                best = queue
        assert best is not None
        return best

    def _append(self, queue: Queue, ticket: Ticket) -> None:
        assert self._queues is not None
        self._queues[queue.number] = queue
        self._nonempty[queue] = None
        ticket.queue = queue
        queue.waiting.append(ticket)
        queue.waiting_seats += ticket.seats
        self.waiting += 1
        self.waiting_seats += ticket.seats

    def _unqueue(self, queue: Queue, ticket: Ticket) -> None:
        """The ticket has been taken out of the queue."""
        queue.waiting_seats -= ticket.seats
        self.waiting -= 1
        self.waiting_seats -= ticket.seats
        if not queue.waiting:
            del self._nonempty[queue]
            self._drop_if_idle(queue)

    def _drop_if_idle(self, queue: Queue) -> None:
        if not queue.waiting and not queue.in_use and self._queues is not None:
            self._queues.pop(queue.number, None)

    def _advance(self, now_s: float) -> None:
        """Let virtual time catch up: faster the more seats there are, slower the more queues share them."""
        if self._queues:
            rate = min(self.limit, self.in_use + self.waiting_seats) / len(self._queues)
            self._virtual += rate * (now_s - self._virtual_at_s)
        self._virtual_at_s = now_s

    def _settle(self, now_s: float) -> Sequence[Ticket]:
        """Dispatch what can be, and end the spell when it is over."""
        dispatched: list[Ticket] = []
        while self._nonempty:
            queue = min(self._nonempty, key=_finish)
            ticket = queue.waiting[0]
            # A request wider than the whole level goes alone, or it would wait for ever.
            if self.limit < 1 or (self.in_use and self.in_use + ticket.seats > self.limit):
                break
            queue.waiting.popleft()
            self._dispatch(queue, ticket, now_s)
            dispatched.append(ticket)
        if self._queues is not None and not self.waiting and 2 * self.in_use <= self.limit:
            self._queues = None
        self.demand.move(self.in_use + self.waiting_seats, now_s)
        return dispatched

    def _dispatch(self, queue: Queue, ticket: Ticket, now_s: float) -> None:
        self._turn += 1
        queue.turn = self._turn
        queue.starts_at += SERVICE_ESTIMATE_S * ticket.seats
        queue.in_use += ticket.seats
        self._unqueue(queue, ticket)
        self.in_use += ticket.seats
        ticket.executing = True
        ticket.began_s = now_s
        self._executing.add(ticket)


def _finish(queue: Queue) -> tuple[float, int]:
    """When the queue's next request would finish, in virtual time; of equals the one whose turn was longest ago."""
    return queue.starts_at + SERVICE_ESTIMATE_S * queue.waiting[0].seats, queue.turn
