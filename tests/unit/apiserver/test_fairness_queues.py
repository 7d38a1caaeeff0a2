"""One priority level: who gets a seat, who waits where, who goes next."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from stark.apiserver.fairness.dealing import deal, entropy_bits, flow_hash
from stark.apiserver.fairness.queueset import NO_SEAT, QUEUE_FULL, QueueSet, Queuing, Refused, Ticket

FOUR = Queuing(queues=4, hand_size=1, length_max=2)


class Flow:
    """Always the same hand."""

    def __init__(self, *hand: int) -> None:
        self._hand = hand

    def hand(self, queuing: Queuing) -> Sequence[int]:
        return self._hand


A, B = Flow(0), Flow(1)


def entered(level: QueueSet, *flows: Flow, seats: int = 1, at: float = 0.0) -> list[Ticket]:
    tickets = [Ticket(flow, seats) for flow in flows]
    for ticket in tickets:
        level.enter(ticket, at)
    return tickets


def executing(tickets: Sequence[Ticket]) -> list[bool]:
    return [ticket.executing for ticket in tickets]


def test_seats_are_given_until_there_are_none() -> None:
    level = QueueSet(2, FOUR, 0.0)
    tickets = entered(level, A, A, A)
    assert executing(tickets) == [True, True, False]
    assert (level.in_use, level.waiting, level.executing) == (2, 1, 2)
    assert list(level.leave(tickets[0], 1.0)) == [tickets[2]]
    assert (level.in_use, level.waiting) == (2, 0)


def test_the_queues_of_a_flood_do_not_delay_another_flow() -> None:
    level = QueueSet(1, Queuing(4, 1, 50), 0.0)
    running, *flood = entered(level, *[A] * 40)
    (lone,) = entered(level, B)
    assert list(level.leave(running, 0.1)) == [lone], "what the flood already used counts against it"
    assert list(level.leave(lone, 0.2)) == [flood[0]]


def test_flows_take_turns_by_seats() -> None:
    level = QueueSet(4, Queuing(4, 1, 50), 0.0)
    (running,) = entered(level, Flow(3), seats=4)
    wide, narrow = entered(level, *[A] * 8, seats=4), entered(level, *[B] * 8)
    now, order = 0.0, []
    going = [running]
    while going:
        now += 0.003
        dispatched = [one for ticket in going for one in level.leave(ticket, now)]
        order += ["wide" if ticket in wide else "narrow" for ticket in dispatched]
        going = dispatched
    first = order[:5]
    assert (first.count("wide"), first.count("narrow")) == (1, 4), "four narrow ones are worth one wide one"
    assert len(order) == len(wide) + len(narrow)


def test_a_wide_request_is_not_overtaken_for_ever() -> None:
    level = QueueSet(2, FOUR, 0.0)
    first, second = entered(level, A, A)
    (wide,) = entered(level, B, seats=2)
    (later,) = entered(level, A, at=1.0)
    assert level.leave(first, 1.0) == [], "its turn has come: nobody goes before it"
    assert list(level.leave(second, 1.1)) == [wide]
    assert list(level.leave(wide, 1.2)) == [later]


def test_a_request_wider_than_the_level_goes_alone() -> None:
    level = QueueSet(2, FOUR, 0.0)
    (running,) = entered(level, A)
    (wide,) = entered(level, B, seats=5)
    assert list(level.leave(running, 0.1)) == [wide]
    (next_one,) = entered(level, A)
    assert not next_one.executing
    assert list(level.leave(wide, 0.2)) == [next_one]


def test_a_full_queue_refuses_and_others_do_not() -> None:
    level = QueueSet(1, FOUR, 0.0)
    entered(level, A, A, A)
    with pytest.raises(Refused) as refusal:
        entered(level, A)
    assert refusal.value.reason == QUEUE_FULL
    assert executing(entered(level, B)) == [False]
    assert level.waiting == 3


def test_a_flow_waits_in_the_queue_of_its_hand_with_the_least_work() -> None:
    level = QueueSet(1, FOUR, 0.0)
    entered(level, A, A, A)
    (dealt,) = entered(level, Flow(0, 2))
    assert dealt.queue is not None
    assert dealt.queue.number == 2


def test_a_level_without_queues_refuses_at_once() -> None:
    level = QueueSet(1, None, 0.0)
    (running,) = entered(level, A)
    with pytest.raises(Refused) as refusal:
        entered(level, B)
    assert refusal.value.reason == NO_SEAT
    level.leave(running, 1.0)
    assert executing(entered(level, B)) == [True]


def test_a_cancelled_request_leaves_its_place() -> None:
    level = QueueSet(2, FOUR, 0.0)
    running = entered(level, A, A)
    (wide,) = entered(level, B, seats=2)
    (behind,) = entered(level, B)
    level.leave(running[0], 0.1)
    assert not behind.executing
    assert list(level.cancel(wide, 0.2)) == [behind], "whom it held up may go"
    assert (level.waiting, level.waiting_seats, level.in_use) == (0, 0, 2)


def test_more_seats_are_used_at_once_and_fewer_when_they_are_free() -> None:
    level = QueueSet(1, FOUR, 0.0)
    tickets = entered(level, A, B, Flow(2))
    assert len(level.resize(3, 0.1)) == 2
    level.resize(1, 0.2)
    (waits,) = entered(level, Flow(3))
    assert level.leave(tickets[0], 0.3) == level.leave(tickets[1], 0.3) == []
    assert list(level.leave(tickets[2], 0.4)) == [waits]


def test_a_level_that_lost_all_its_seats_serves_nobody_until_it_borrows() -> None:
    level = QueueSet(0, FOUR, 0.0)
    (ticket,) = entered(level, A)
    assert not ticket.executing
    assert list(level.resize(1, 1.0)) == [ticket]


def test_other_queues_keep_who_waits() -> None:
    level = QueueSet(1, FOUR, 0.0)
    running, *waiting = entered(level, A, A, B)
    assert level.reshape(Queuing(8, 1, 1), 0.1) == []
    assert level.waiting == 2
    assert level.reshape(None, 0.1) == [], "nobody new may wait, but who does is served"
    with pytest.raises(Refused):
        entered(level, A)
    served = [*level.leave(running, 0.2), *level.leave(waiting[0], 0.3)]
    assert served == waiting


def test_an_exempt_level_never_lets_anybody_wait() -> None:
    level = QueueSet(math.inf, None, 0.0)
    assert all(executing(entered(level, *[A] * 5_000, seats=10)))


def test_hands_are_dealt_evenly_and_without_repetition() -> None:
    hands = [deal(flow_hash("s", str(number)), 128, 6) for number in range(2_000)]
    assert all(len(set(hand)) == 6 and max(hand) < 128 for hand in hands)
    uses = [sum(queue in hand for hand in hands) for queue in range(128)]
    assert min(uses) > 40
    assert max(uses) < 160
    assert len({frozenset(hand) for hand in hands}) == 2_000, "no two of two thousand flows share all queues"


def test_a_hand_of_the_whole_deck_has_every_card() -> None:
    assert sorted(deal(flow_hash("a", "b"), 5, 5)) == [0, 1, 2, 3, 4]
    assert entropy_bits(128, 6) == 42
