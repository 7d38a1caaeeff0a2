"""What to do about a deployment whose pods fail: nothing, count, roll back, pause, or lift a pause. Pure.

What is known is in the deployment's annotations, and every decision is one write of them, together with the template when
it goes back. So any write may be the last one, and deciding twice from the same state is as good as once:

    failures in a row reach the threshold -> the version is blocked for its back-off, and
        the template that held last comes back, or, where there is none, the deployment is paused
    a pod holds, a person resumes, the template changes, or the back-off is over -> the pause ends
    a blocked template comes back within its time -> it is paused until then
    a rollout is complete and has held -> it is what the next failure goes back to
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from stark.crds.annotations import (
    BLOCKED_VERSIONS,
    CHANGE_CAUSE,
    COUNTED_FAILURES,
    CRASH_LOOP_PAUSED,
    LAST_SUCCESSFUL_PACK,
    LAST_SUCCESSFUL_TEMPLATE,
    LAST_SUCCESSFUL_VERSION,
    MODE,
    MODE_DAEMON_SET,
    AnnotationError,
    BlockedVersion,
    blocked_versions,
    format_blocked_versions,
)
from stark.crds.apps import Deployment
from stark.crds.crash_loop import (
    Counted,
    Settings,
    block_remaining_s,
    counted_of,
    format_counted,
    format_moment,
    moment,
    readable_blocks,
    remaining_s,
    settings_or_default,
)
from stark.crds.pods import Pod, PodTemplateSpec
from stark.crds.templates import fingerprint, pack_of, with_pack_version

from .counting import Count, count
from .steadiness import Steady

BLOCKS_MAX = 20
"""Versions that are remembered with their attempts; those whose block ends first are forgotten first."""
FORGOTTEN_AFTER = timedelta(days=1)
"""How long attempts are remembered when their block is over and nobody tried again."""


class Act(StrEnum):
    """What happened, as the reason of an event and a label of metrics."""

    ROLLED_BACK = "CrashLoopRollback"
    PAUSED = "CrashLoopPaused"
    HELD_BACK = "CrashLoopVersionBlocked"
    LIFTED = "CrashLoopPauseLifted"
    FAILED = "CrashLoopFailure"
    SUCCEEDED = "VersionSucceeded"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to tell, once it is written."""

    act: Act
    message: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Observed:
    """A deployment and the pods of its present template."""

    deployment: Deployment
    pods: Sequence[Pod] = ()
    history: Mapping[str, PodTemplateSpec] = field(default_factory=dict)
    """Fingerprint -> the templates that there are ReplicaSets of."""
    steady: Steady = field(default_factory=Steady)
    """For how long which pods have been Ready."""
    succeeded_at: datetime | None = None
    """When a pod of this template was last seen to hold, as far as this process remembers."""
    refused: str = ""
    """Why the template that would come back was refused at admission, when it was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write, in one write; and what to tell when it is written."""

    annotations: Mapping[str, str | None] = field(default_factory=dict)
    """Changes; None takes one off."""
    template: PodTemplateSpec | None = None
    """The template to go back to."""
    happenings: Sequence[Happening] = ()
    cause: str = ""
    """How the last failure came about, for people."""
    failed_at: datetime | None = None
    """When it did, by the node's clock."""
    pending: bool = False
    """The threshold is reached, and a person's pause keeps the rollback waiting."""
    succeeds: bool = False
    """A pod of the present template holds."""
    recheck_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything a decision needs."""

    observed: Observed
    settings: Settings
    known: Counted
    blocks: tuple[BlockedVersion, ...]
    now: datetime

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.observed.deployment.metadata.annotations

    @property
    def hold_s(self) -> float:
        """How long a pod must be Ready to be a success."""
        return max(self.observed.deployment.spec.min_ready_seconds, self.settings.success_s)

    @property
    def version(self) -> str:
        """What the present template is called: by its pack's version where that is what is new about it."""
        pack = pack_of(self.observed.deployment.spec.template)
        version = pack.version if pack is not None else None
        same = self.annotations.get(LAST_SUCCESSFUL_VERSION) == version
        return self.known.template if version is None or same else version


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step."""
    deployment = observed.deployment
    if deployment.metadata.deletion_timestamp is not None:
        return Plan()
    case = _case(observed, now)
    if not case.settings.enabled:
        return _switched_off(case)
    counted = counted_of(case.annotations)
    mended = _mended(case)
    if mended:
        return Plan(mended)
    if counted is not None and counted.template != case.known.template:
        return _new_template(case)
    paused = CRASH_LOOP_PAUSED in case.annotations
    if paused or case.known.retry_at is not None:
        return _while_paused(case, paused=paused)
    block = _present_block(case)
    if block is not None:
        return _hold_back(case, block)
    return _watch(case)


def is_quiet(deployment: Deployment, mark: str) -> bool:
    """Whether there is nothing to decide while no pod shows a failure: then pods need not be looked at, however many."""
    annotations = deployment.metadata.annotations
    if any(key in annotations for key in (COUNTED_FAILURES, CRASH_LOOP_PAUSED, BLOCKED_VERSIONS)):
        return False
    return annotations.get(LAST_SUCCESSFUL_TEMPLATE) == mark or not is_complete(deployment)


def _case(observed: Observed, now: datetime) -> _Case:
    annotations = observed.deployment.metadata.annotations
    mark = fingerprint(observed.deployment.spec.template)
    counted = counted_of(annotations)
    known = counted if counted is not None and counted.template == mark else Counted(mark)
    blocks = tuple(each for each in readable_blocks(annotations) if moment(each.until) + FORGOTTEN_AFTER > now)
    return _Case(observed, settings_or_default(annotations), known, blocks, now)


def _mended(case: _Case) -> dict[str, str | None]:
    """What lies further ahead than this controller writes: a clock was set back since, a setting lowered, or somebody
    wrote there by hand. It is brought near once, for a wait that is cut anew at every look never gets shorter; and what
    nobody can read, which would keep follow-latest from going on, goes."""
    changes: dict[str, str | None] = {}
    blocks = [_near(each, case) for each in case.blocks]
    if BLOCKED_VERSIONS in case.annotations and (blocks != list(case.blocks) or not _is_readable(case)):
        changes |= _blocks_change(case, blocks)
    known = case.known
    longest = timedelta(seconds=case.settings.max_backoff_s)
    ends = [moment(each.until) for each in blocks if each.template == known.template]
    if known.retry_at is not None and known.retry_at > case.now + longest:
        known = replace(known, retry_at=max(ends, default=case.now + longest))
    if known.since is not None and known.since > case.now:
        known = replace(known, since=case.now)
    if known != case.known:
        changes[COUNTED_FAILURES] = format_counted(known)
    return changes


def _near(block: BlockedVersion, case: _Case) -> BlockedVersion:
    latest = case.now + timedelta(seconds=case.settings.backoff_s(block.attempts))
    return replace(block, until=format_moment(latest)) if moment(block.until) > latest else block


def _is_readable(case: _Case) -> bool:
    try:
        return len(blocked_versions(case.annotations)) == len(readable_blocks(case.annotations))
    except AnnotationError:
        return False


def _switched_off(case: _Case) -> Plan:
    kept = (CRASH_LOOP_PAUSED, COUNTED_FAILURES, BLOCKED_VERSIONS)
    return Plan({key: None for key in kept if key in case.annotations})


def _new_template(case: _Case) -> Plan:
    """Somebody has changed the template: what was counted was about another one, and a pause is over."""
    changes: dict[str, str | None] = {COUNTED_FAILURES: None}
    if CRASH_LOOP_PAUSED not in case.annotations:
        return Plan(changes)
    told = Happening(Act.LIFTED, "The pause is over: there is a new template")
    return Plan({**changes, CRASH_LOOP_PAUSED: None}, happenings=(told,))


def _present_block(case: _Case) -> BlockedVersion | None:
    mine = [each for each in case.blocks if each.template == case.known.template]
    return next((each for each in mine if block_remaining_s(each, case.settings, case.now) > 0), None)


def _hold_back(case: _Case, block: BlockedVersion) -> Plan:
    """A template that has failed is back before its time: it waits."""
    until = min(moment(block.until), case.now + timedelta(seconds=case.settings.backoff_s(block.attempts)))
    text = f"version {block.version} crash-looped {_times(block.attempts)} and is blocked until {format_moment(until)}"
    state = format_counted(Counted(case.known.template, since=case.now, retry_at=until))
    told = Happening(Act.HELD_BACK, text[:1].upper() + text[1:])
    return Plan({CRASH_LOOP_PAUSED: text, COUNTED_FAILURES: state}, happenings=(told,))


def _while_paused(case: _Case, *, paused: bool) -> Plan:
    """Wait for one of the ends of the pause."""
    known, settings = case.known, case.settings
    state = format_counted(Counted(known.template, since=case.now))
    over: dict[str, str | None] = {COUNTED_FAILURES: state}
    if paused:
        over[CRASH_LOOP_PAUSED] = None
    if not paused:
        told = Happening(Act.LIFTED, "The pause is over: it was resumed")
        return Plan({**over, **_unblocked(case)}, happenings=(told,))
    if known.retry_at is None:
        return Plan(over)  # not our pause
    if _holds(case):
        told = Happening(Act.LIFTED, f"The pause is over: a pod has been Ready for {case.hold_s:g} s")
        return Plan({**over, **_unblocked(case)}, happenings=(told,), succeeds=True)
    left_s = remaining_s(known.retry_at, settings.max_backoff_s, case.now)
    if left_s <= 0:
        return Plan(over, happenings=(Happening(Act.LIFTED, "The pause is over: its time has passed"),))
    ready_s = _until_held_s(case)
    return Plan(recheck_after_s=left_s if ready_s is None else min(left_s, ready_s))


def _unblocked(case: _Case) -> dict[str, str | None]:
    """The present template may be tried again at once; how often it has failed is kept."""
    if _present_block(case) is None:
        return {}
    over = format_moment(case.now)
    mine = case.known.template
    return _blocks_change(case, [replace(each, until=over) if each.template == mine else each for each in case.blocks])


def _watch(case: _Case) -> Plan:
    """Count failures, unless a pod holds; and note a rollout that has held as a whole."""
    if _holds(case):
        return _cleared(case)
    has_held = case.annotations.get(LAST_SUCCESSFUL_TEMPLATE) == case.known.template
    counted = count(
        case.known, _since(case), case.observed.pods, case.settings, case.hold_s, case.now, has_held=has_held
    )
    fresh = counted.pods != case.known.pods or counted.count != case.known.count
    if counted.count >= case.settings.threshold:
        return _trip(case, counted, is_new=fresh)
    waits = [each for each in (counted.waits_until, _until_held_s(case)) if each is not None]
    recheck = min(waits) if waits else None
    if not fresh:
        return Plan(recheck_after_s=recheck)
    state = replace(case.known, count=counted.count, pods=counted.pods)
    told = _failure(case, counted)
    return Plan(
        {COUNTED_FAILURES: format_counted(state)},
        happenings=(told,),
        cause=counted.cause,
        failed_at=counted.at,
        recheck_after_s=recheck,
    )


def _failure(case: _Case, counted: Count) -> Happening:
    # After a run that held the count begins anew, so it may be less than before.
    fresh = counted.count - case.known.count
    limit = case.settings.threshold
    place = f"{counted.count} of {limit}" if counted.count <= limit else f"{counted.count} (the limit is {limit})"
    text = f"Failure {place} in a row of version {case.version}: {counted.cause}"
    return Happening(Act.FAILED, text, fresh if fresh > 0 else counted.count)


def _since(case: _Case) -> datetime | None:
    """Before which failures do not count. A clock that was set back must not hide those to come."""
    known = [each for each in (case.known.since, case.observed.succeeded_at) if each is not None]
    return min(max(known), case.now) if known else None


def _holds(case: _Case) -> bool:
    """Whether any pod of the present template is a success now."""
    told_s = case.observed.steady.told_s
    return any(told_s.get(pod.uid, -1.0) >= case.hold_s for pod in case.observed.pods)


def _until_held_s(case: _Case) -> float | None:
    """Seconds until a pod that is Ready is a success; None when none is, or nothing waits for it."""
    is_awaited = case.known.count or case.known.retry_at is not None or not _is_noted(case)
    told_s = case.observed.steady.told_s
    left = [case.hold_s - told_s[pod.uid] for pod in case.observed.pods if pod.uid in told_s]
    return max(0.0, min(left)) if left and is_awaited else None


def _is_noted(case: _Case) -> bool:
    mark = case.known.template
    blocked = any(each.template == mark or each.version == case.version for each in case.blocks)
    return case.annotations.get(LAST_SUCCESSFUL_TEMPLATE) == mark and not blocked


def _cleared(case: _Case) -> Plan:
    """A pod holds: nothing before it is in a row with what may come. When all hold, the version has succeeded."""
    changes: dict[str, str | None] = {}
    if case.known.count or case.known.pods:
        changes[COUNTED_FAILURES] = format_counted(Counted(case.known.template, since=case.now))
    if _is_noted(case) or not is_complete(case.observed.deployment):
        return Plan(changes, succeeds=True)
    seen_s = case.observed.steady.seen_s
    left_s = max((case.hold_s - seen_s.get(pod.uid, 0.0) for pod in _living(case)), default=0.0)
    if left_s > 0:
        return Plan(changes, succeeds=True, recheck_after_s=left_s)
    pack = pack_of(case.observed.deployment.spec.template)
    version = pack.version if pack is not None and pack.version is not None else case.known.template
    told = Happening(Act.SUCCEEDED, f"Version {version} has held for {case.hold_s:g} s on all pods")
    mine = (case.known.template, case.version)
    kept = [each for each in case.blocks if each.template != mine[0] and each.version != mine[1]]
    changes |= {LAST_SUCCESSFUL_VERSION: version, LAST_SUCCESSFUL_TEMPLATE: case.known.template}
    if pack is not None or LAST_SUCCESSFUL_PACK in case.annotations:
        changes[LAST_SUCCESSFUL_PACK] = pack.name if pack is not None else None
    return Plan({**changes, **_blocks_change(case, kept)}, happenings=(told,), succeeds=True)


def _living(case: _Case) -> list[Pod]:
    pods = case.observed.pods
    return [pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase != "Failed"]


def is_complete(deployment: Deployment) -> bool:
    """Whether the deployment controller says of this very spec that every pod is new and available, and there are any."""
    status, spec = deployment.status, deployment.spec
    if (status.observed_generation or 0) < (deployment.metadata.generation or 0):
        return False
    there = status.replicas or 0
    is_daemon = deployment.metadata.annotations.get(MODE) == MODE_DAEMON_SET
    all_wanted = is_daemon or there == spec.replicas
    return 0 < there == (status.updated_replicas or 0) == (status.available_replicas or 0) and all_wanted


def _trip(case: _Case, counted: Count, *, is_new: bool) -> Plan:
    """The threshold is reached: block the version, and go back or pause."""
    failure = (_failure(case, counted),) if is_new else ()
    state = replace(case.known, count=counted.count, pods=counted.pods)
    if case.observed.deployment.spec.paused:
        # What a person has stopped is theirs: this is done when they let it go on.
        noted = {COUNTED_FAILURES: format_counted(state)} if is_new else {}
        return Plan(noted, happenings=failure, cause=counted.cause, failed_at=counted.at, pending=True)
    attempts = 1 + max((each.attempts for each in case.blocks if each.version == case.version), default=0)
    until = case.now + timedelta(seconds=case.settings.backoff_s(attempts))
    cause = counted.cause or f"{counted.count} failures in a row"
    block = BlockedVersion(case.version, format_moment(until), attempts, case.known.template, cause)
    target = _target(case)
    if target is None:
        return _pause(case, counted, block, failure)
    template, version = target
    text = (
        f"crash-loop protection: version {case.version} failed {counted.count} times in a row ({cause}), "
        f"rolled back to {version}; it is blocked until {block.until} (attempt {attempts})"
    )
    mark = fingerprint(template)
    others = [each for each in case.blocks if each.version != case.version and each.template != mark]
    changes: dict[str, str | None] = {
        CHANGE_CAUSE: text,
        COUNTED_FAILURES: None,
        **_blocks_change(case, [*others, block]),
    }
    told = (*failure, Happening(Act.ROLLED_BACK, text[:1].upper() + text[1:]))
    return Plan(
        {key: value for key, value in changes.items() if value is not None or key in case.annotations},
        template=template,
        happenings=told,
        cause=cause,
        failed_at=counted.at,
    )


def _pause(case: _Case, counted: Count, block: BlockedVersion, failure: Sequence[Happening]) -> Plan:
    refused = case.observed.refused
    why = f"going back was refused: {refused}" if refused else "there is no other version that held"
    text = (
        f"version {case.version} failed {counted.count} times in a row ({block.cause}) and {why}; "
        f"it is tried again at {block.until} (attempt {block.attempts})"
    )
    others = [each for each in case.blocks if each.version != case.version]
    retry = moment(block.until)
    state = format_counted(Counted(case.known.template, since=case.now, retry_at=retry))
    told = (*failure, Happening(Act.PAUSED, text[:1].upper() + text[1:]))
    changes = {**_blocks_change(case, [*others, block]), CRASH_LOOP_PAUSED: text, COUNTED_FAILURES: state}
    left_s = max(0.0, (retry - case.now).total_seconds())
    return Plan(changes, happenings=told, cause=block.cause, failed_at=counted.at, recheck_after_s=left_s)


def _target(case: _Case) -> tuple[PodTemplateSpec, str] | None:
    """The template that held last, if it is another one, and what its version is called."""
    last, version = case.annotations.get(LAST_SUCCESSFUL_TEMPLATE), case.annotations.get(LAST_SUCCESSFUL_VERSION)
    if last == case.known.template or not version or case.observed.refused:
        return None
    template = case.observed.history.get(last or "")
    if template is not None:
        return template, version
    # The history is shorter than that (revisionHistoryLimit): at least the version of the pack can go back.
    present = case.observed.deployment.spec.template
    pack = pack_of(present)
    if pack is None or pack.version == version or version == last:
        return None
    if case.annotations.get(LAST_SUCCESSFUL_PACK, pack.name) != pack.name:
        return None  # that was a version of another pack
    return with_pack_version(present, pack.name, version), version


def _blocks_change(case: _Case, blocks: Sequence[BlockedVersion]) -> dict[str, str | None]:
    """The change that leaves these blocks, without those that are long over."""
    kept = [each for each in blocks if moment(each.until) + FORGOTTEN_AFTER > case.now]
    kept = sorted(kept, key=lambda each: moment(each.until))[-BLOCKS_MAX:]
    value = format_blocked_versions(tuple(kept)) if kept else None
    return {BLOCKED_VERSIONS: value} if case.annotations.get(BLOCKED_VERSIONS) != value else {}


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
