"""What workers and the keeper say to each other besides what is about the store."""

from __future__ import annotations

from typing import Final

HELLO: Final = "hello"
"""News to the keeper: this link is the worker's of that number."""
RECORD: Final = "record"
"""Question to the keeper: who sends, the batch's number, its audit records, and whether they must be on disk."""
TAKE: Final = "take"
"""Question to the keeper: one from a bucket that all share, by its name and key. The seconds to wait, or 0."""
GIVE_BACK: Final = "give-back"
"""News to the keeper: what was taken did not count."""
FILL: Final = "fill"
"""News to the keeper: a bucket is full again."""
TO_OTHERS: Final = "to-others"
"""News to the keeper: news for all other workers, and their values."""
GATHER: Final = "gather"
"""Question to the keeper: a question for all other workers. Their answers, each with the worker's number."""
COUNTED: Final = "counted"
"""News to workers: another has taken from a bucket of which each has its own; its name, key, and how much."""
METRICS: Final = "metrics"
"""Question to workers: what they count."""
SETTLE: Final = "settle"
"""Question to workers: have every audit record that there is written."""
FAILED: Final = "failed"
"""The name of an error whose message says everything."""
