"""Random histories of one priority level: seats are never exceeded, nobody is forgotten, nobody is starved."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.apiserver.fairness.borrowing import Shares, Wanted, allot, bounds_of, divide
from stark.apiserver.fairness.dealing import deal, flow_hash
from stark.apiserver.fairness.demand import Observed
from stark.apiserver.fairness.queueset import SERVICE_ESTIMATE_S, QueueSet, Queuing, Refused, Ticket

SHAPES = (Queuing(1, 1, 3), Queuing(4, 2, 5), Queuing(16, 4, 50), None)


class Flow:
    def __init__(self, number: int) -> None:
        self.number = number

    def hand(self, queuing: Queuing) -> Sequence[int]:
        return deal(flow_hash("s", str(self.number)), queuing.queues, queuing.hand_size)


FLOWS = [Flow(number) for number in range(5)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 4), st.integers(1, 4)),
        st.tuples(st.just("leave"), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("resize"), st.integers(0, 6), st.just(0)),
        st.tuples(st.just("reshape"), st.integers(0, 3), st.just(0)),
    ),
    max_size=120,
)


class History:
    """A level, and what must be true of it from what happened."""

    def __init__(self) -> None:
        self.level = QueueSet(3, SHAPES[1], 0.0)
        self.now_s = 0.0
        self.waiting: list[Ticket] = []
        self.executing: list[Ticket] = []

    def step(self, act: str, number: int, seats: int) -> None:
        self.now_s += 0.001
        before = self.level.in_use
        match act:
            case "enter":
                self._enter(Ticket(FLOWS[number], seats))
            case "leave" if self.executing:
                self._moved(self.level.leave(self.executing.pop(number % len(self.executing)), self.now_s))
            case "cancel" if self.waiting:
                self._moved(self.level.cancel(self.waiting.pop(number % len(self.waiting)), self.now_s))
            case "resize":
                self._moved(self.level.resize(number, self.now_s))
            case "reshape":
                self._moved(self.level.reshape(SHAPES[number], self.now_s))
        self.check(before)

    def _enter(self, ticket: Ticket) -> None:
        try:
            dispatched = self.level.enter(ticket, self.now_s)
        except Refused:
            assert not ticket.executing
            return
        (self.executing if ticket.executing else self.waiting).append(ticket)
        self._moved([other for other in dispatched if other is not ticket])

    def _moved(self, dispatched: Sequence[Ticket]) -> None:
        for ticket in dispatched:
            assert ticket.executing
            self.waiting.remove(ticket)
            self.executing.append(ticket)

    def check(self, before: int) -> None:
        level = self.level
        assert level.in_use == sum(ticket.seats for ticket in self.executing)
        assert level.executing == len(self.executing)
        assert level.waiting == len(self.waiting)
        assert level.waiting_seats == sum(ticket.seats for ticket in self.waiting)
        if level.in_use > before:
            assert level.in_use <= level.limit or len(self.executing) == 1, "seats are never exceeded"
        if self.waiting and level.limit >= 1:
            widest = max(ticket.seats for ticket in self.waiting)
            assert self.executing, "with nobody at work somebody goes"
            assert level.in_use + widest > level.limit, "nobody waits while there is room for everybody"


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_seats_are_never_exceeded_and_nobody_is_forgotten(steps: list[tuple[str, int, int]]) -> None:
    history = History()
    for step in steps:
        history.step(*step)
    history.step("resize", 3, 0)
    while history.executing:
        history.step("leave", 0, 0)
    assert not history.waiting, "when everybody leaves, everybody has been served"


@pytest.mark.parametrize("noisy", [1, 20, 200])
def test_a_quiet_flow_is_served_at_its_pace_however_noisy_another_is(noisy: int) -> None:
    """A simulation in virtual time: one flow keeps `noisy` requests going, the other asks one after the other."""
    chance = random.Random(1)
    queuing, quiet, loud = Queuing(64, 6, 50), FLOWS[0], FLOWS[1]
    level = QueueSet(4, queuing, 0.0)
    now_s, ends, served = 0.0, list[tuple[float, Ticket]](), {quiet: 0, loud: 0}
    wanted = {quiet: 1, loud: noisy}
    asking = {quiet: 0, loud: 0}

    def begin(tickets: Sequence[Ticket]) -> None:
        ends.extend((now_s + chance.uniform(0.5, 1.5) * SERVICE_ESTIMATE_S, ticket) for ticket in tickets)

    for _ in range(4_000):
        for flow in (loud, quiet):
            while asking[flow] < wanted[flow]:
                ticket = Ticket(flow, 1)
                try:
                    dispatched = level.enter(ticket, now_s)
                except Refused:
                    assert flow is loud, "only a flood fills its queues"
                    break
                asking[flow] += 1
                begin([ticket] if ticket.executing and ticket not in dispatched else [])
                begin(dispatched)
        at = min(range(len(ends)), key=lambda one: ends[one][0])
        now_s, ticket = ends.pop(at)
        whose = quiet if ticket.flow is quiet else loud
        asking[whose] -= 1
        served[whose] += 1
        begin(level.leave(ticket, now_s))
    # Alone it would be served about once per service time; beside a flood it waits at most for a seat to come free.
    assert served[quiet] >= 0.4 * now_s / SERVICE_ESTIMATE_S


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 50), st.integers(0, 100)), min_size=1))
def test_shares_divide_all_the_seats(given_levels: dict[str, tuple[int, int]]) -> None:
    levels = {name: Shares(shares, lend) for name, (shares, lend) in given_levels.items()}
    bounds = bounds_of(levels, 600)
    total = sum(each.nominal for each in bounds.values())
    assert total >= 600 or all(level.shares == 0 for level in levels.values())
    assert total < 600 + len(levels)
    assert all(0 <= each.lower <= each.nominal <= each.upper for each in bounds.values())


WANTED = st.builds(
    lambda lower, room, target: Wanted(lower, lower + room, max(lower, target)),
    st.floats(0, 100),
    st.floats(0, 300),
    st.floats(0, 300),
)


@given(st.floats(0, 1_000), st.lists(WANTED, min_size=1, max_size=8))
def test_seats_are_divided_within_everybodys_bounds(total: float, wanted: list[Wanted]) -> None:
    amounts, _ = allot(total, wanted)
    for amount, each in zip(amounts, wanted, strict=True):
        assert each.lower - 1e-6 <= amount <= each.upper + 1e-6
    assert sum(amounts) <= max(total, sum(each.lower for each in wanted)) + 1e-3


@pytest.mark.parametrize("forgotten", [1e-10, 1e-18, 1e-300, 5e-324, 0.0])
def test_a_demand_that_is_long_over_takes_nothing_from_the_division(forgotten: float) -> None:
    amounts, fraction = allot(100, [Wanted(4, 100, 60.0), Wanted(5, 100, 30.0), Wanted(0, 100, forgotten)])
    assert amounts == pytest.approx([200 / 3, 100 / 3, 0.0], abs=1e-6)
    assert fraction == pytest.approx(10 / 9)


def test_a_busy_level_borrows_what_an_idle_one_lends_and_gives_it_back() -> None:
    levels = {"busy": Shares(10), "idle": Shares(10, lendable_percent=50), "exempt": Shares(0, 0, 0, is_exempt=True)}
    bounds = bounds_of(levels, 100)
    exempt = frozenset({"exempt"})

    def seats(busy: float, idle: float) -> dict[str, int]:
        observed = {name: Observed(want, want, 0.0) for name, want in (("busy", busy), ("idle", idle), ("exempt", 3.0))}
        return divide(bounds, observed, {"busy": busy, "idle": idle, "exempt": 3.0}, exempt)[0]

    assert seats(500.0, 0.0) == {"busy": 72, "idle": 25, "exempt": 3}
    assert seats(500.0, 50.0) == {"busy": 50, "idle": 50, "exempt": 3}, "a lender that needs its seats has them"
    assert seats(0.0, 500.0)["busy"] == 50, "what is not lendable stays"
