"""The parameters of a log request, checked as Kubernetes checks PodLogOptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ..errors import BadRequest, Cause, invalid
from ..request import Query

INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a container's log is wanted, and how."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since_seconds: int | None = None
    since_time: str = ""
    tail_lines: int | None = None
    limit_bytes: int | None = None

    def to_query(self) -> dict[str, str]:
        """The parameters for the agent; what is not asked for is left out."""
        flags = {"follow": self.follow, "previous": self.previous, "timestamps": self.timestamps}
        numbers = {
            "sinceSeconds": self.since_seconds,
            "tailLines": self.tail_lines,
            "limitBytes": self.limit_bytes,
        }
        query = {name: "true" for name, value in flags.items() if value}
        query |= {name: str(value) for name, value in numbers.items() if value is not None}
        return query | ({"sinceTime": self.since_time} if self.since_time else {})


def parse_log_options(query: Query) -> LogOptions:
    """Read the query string. Raises BadRequest for what is no number or time, Invalid for numbers out of range."""
    options = LogOptions(
        container=query.first("container"),
        follow=query.flag("follow"),
        previous=query.flag("previous"),
        timestamps=query.flag("timestamps"),
        since_seconds=_number(query, "sinceSeconds"),
        since_time=_time(query, "sinceTime"),
        tail_lines=_number(query, "tailLines"),
        limit_bytes=_number(query, "limitBytes"),
    )
    causes = list(_causes(options))
    if causes:
        raise invalid("PodLogOptions", "", causes)
    return options


def _causes(options: LogOptions) -> Iterator[Cause]:
    at_least = "must be greater than or equal to"
    if options.tail_lines is not None and options.tail_lines < 0:
        yield Cause("tailLines", f"Invalid value: {options.tail_lines}: {at_least} 0")
    if options.limit_bytes is not None and options.limit_bytes < 1:
        yield Cause("limitBytes", f"Invalid value: {options.limit_bytes}: must be greater than 0")
    if options.since_seconds is not None and options.since_time:
        message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        yield Cause("", message, "FieldValueForbidden")
    elif options.since_seconds is not None and options.since_seconds < 1:
        yield Cause("sinceSeconds", f"Invalid value: {options.since_seconds}: must be greater than 0")


def _number(query: Query, name: str) -> int | None:
    text = query.first(name)
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise BadRequest(f'{name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text[:21])
    if len(digits) > 19 or value > INT64_MAX:
        raise BadRequest(f'{name}: strconv.ParseInt: parsing "{text[:40]}": value out of range')
    return value


def _time(query: Query, name: str) -> str:
    text = query.first(name)
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # an unescaped + of the offset arrives as a blank
    except ValueError as error:
        raise BadRequest(f'{name}: parsing time "{text[:40]}" as RFC 3339: cannot parse') from error
    if moment.tzinfo is None:
        raise BadRequest(f'{name}: parsing time "{text[:40]}" as RFC 3339: the offset is missing')
    return moment.isoformat()
