"""The LabelSelector model. The rules about selectors are in `selectors`, which must stay free of pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from .fields import LIST_ATOMIC, MAP_ATOMIC
from .meta import Model
from .selectors import Selector, from_label_selector

SelectorOperator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class LabelSelectorRequirement(Model):
    """One expression over one label."""

    key: str
    """The label's key."""
    operator: SelectorOperator
    """How the label's value relates to `values`."""
    values: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """At least one for In and NotIn, none for Exists and DoesNotExist."""


class LabelSelector(Model):
    """Labels an object must have: every pair of matchLabels and every expression. Empty selects everything."""

    match_labels: dict[str, str] = Field(default_factory=dict)
    """Labels with the values they must have."""
    match_expressions: list[LabelSelectorRequirement] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Expressions that must all hold."""

    def compiled(self) -> Selector:
        """The selector as a reusable test. Raises `selectors.SelectorError` when an expression makes no sense."""
        return from_label_selector(self.model_dump(by_alias=True, exclude_unset=True))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return self.compiled().matches(labels)


SELECTOR_MARKS = MAP_ATOMIC
"""Marks for a field that holds a selector: two appliers never mix their halves of one."""
