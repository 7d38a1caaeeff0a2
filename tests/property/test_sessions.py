"""Random histories of a session's refresh tokens against a model that remembers who was given what, and when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stark.apiserver.auth.sessions.rotation import REUSE_WINDOW_S, Over, Repeated, Rotated, Session, show

IDLE_S, LENGTH_S = 600.0, 3_000.0
steps = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 9.0, 10.0, 11.0, 60.0, 599.0, 600.0]), st.integers(-4, 2)),
    max_size=40,
)


@given(steps)
def test_a_token_is_good_once_and_its_repetition_only_for_a_moment(history: list[tuple[float, int]]) -> None:
    session, now_s = Session("ada@example.com", 0.0, LENGTH_S), 0.0
    given_at = {1: 0.0}  # the model: when each number was first given out; a number is exchanged when the next one is
    for wait_s, offset in history:
        now_s += wait_s
        shown = max(1, max(given_at) + offset)
        outcome = show(session, shown, now_s, IDLE_S)
        newest = max(given_at)
        is_late = now_s >= LENGTH_S or now_s - given_at[newest] >= IDLE_S
        if is_late:
            assert outcome == Over(reused=False)
            return
        if shown == newest:
            assert isinstance(outcome, Rotated)
            assert outcome.session.generation == newest + 1
            given_at[newest + 1] = now_s
            session = outcome.session
        elif shown + 1 == newest and now_s - given_at[newest] <= REUSE_WINDOW_S:
            assert outcome == Repeated(session)
        else:
            assert outcome == Over(reused=True)
            return
        assert Session.decode(session.encode()) == session
