"""The schemas of the reviews: what is taken for a question, and what `kubectl create -f` and `explain` know of them.

No kind of `stark.crds` stands behind them, because nothing of a review is ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _texts(description: str) -> Schema:
    items = {"type": "string"}
    return {"type": "array", "items": items, "description": description, "x-kubernetes-list-type": "atomic"}


def _list(description: str, items: Schema) -> Schema:
    return {"type": "array", "items": items, "description": description, "x-kubernetes-list-type": "atomic"}


def _object(description: str, **properties: Schema) -> Schema:
    return {"type": "object", "description": description, "properties": properties}


def _review(description: str, spec: Schema, status: Schema, *, has_spec: bool = True) -> Schema:
    own = {"spec": spec, "status": status} if has_spec else {"status": status}
    return {**_object(description, **own), "required": ["spec"] if has_spec else []}


_EXTRA: Final[Schema] = {
    "type": "object",
    "description": "What else is known of the user, for authorizers and for the audit log.",
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
}
_USER_INFO = _object(
    "The user as the server sees it.",
    username=_text("The name; unique among those that are active."),
    uid=_text("Tells users apart who have had the name one after the other."),
    groups=_texts("The groups they are in."),
    extra=_EXTRA,
)


def _selector(what: str) -> Schema:
    requirement = _object(
        "One requirement.",
        key=_text("The key, or the field's path."),
        operator=_text("In, NotIn, Exists or DoesNotExist."),
        values=_texts("The values, for In and NotIn."),
    )
    return _object(
        f"The {what} that a list, watch or deletecollection is restricted by.",
        rawSelector=_text("As in a request's query. Not together with requirements."),
        requirements=_list("All of them hold.", requirement),
    )


_ASKED: Final[Mapping[str, Schema]] = {
    "resourceAttributes": _object(
        "An action on a resource. Either this or nonResourceAttributes.",
        namespace=_text("The namespace; empty for all of them, and for what has none."),
        verb=_text("get, list, watch, create, update, patch, delete, deletecollection ..., or `*`."),
        group=_text("The API group; empty for the core group, `*` for all."),
        version=_text("The API version, or `*`."),
        resource=_text("The resource, such as pods, or `*`."),
        subresource=_text("The subresource, such as log."),
        name=_text("The object; empty for all of them."),
        fieldSelector=_selector("fields"),
        labelSelector=_selector("labels"),
    ),
    "nonResourceAttributes": _object(
        "An action on a path that is no resource's.",
        path=_text("The path, such as /metrics."),
        verb=_text("get, post, put, delete ..."),
    ),
}
_SUBJECT: Final[Mapping[str, Schema]] = {
    "user": _text("About whom it is asked. Either this or groups."),
    "groups": _texts("The groups they are in."),
    "uid": _text("Their uid."),
    "extra": _EXTRA,
}
_VERDICT = _object(
    "The answer.",
    allowed=_flag("Whether they may."),
    denied=_flag("Whether it is forbidden whatever others say."),
    reason=_text("Why."),
    evaluationError=_text("What went wrong while it was decided."),
)
_RULES = _object(
    "The answer.",
    resourceRules=_list(
        "What may be done with resources.",
        _object(
            "Verbs on resources.",
            verbs=_texts("What may be done."),
            apiGroups=_texts("API groups of the resources."),
            resources=_texts("The resources."),
            resourceNames=_texts("Names of the objects; without any, all of them."),
        ),
    ),
    nonResourceRules=_list(
        "What may be done with paths.",
        _object("Verbs on paths.", verbs=_texts("What may be done."), nonResourceURLs=_texts("The paths.")),
    ),
    incomplete=_flag("Whether there may be more than is listed."),
    evaluationError=_text("Why it is not complete."),
)
_TOKEN = _object(
    "A token that somebody was shown.",
    token=_text("The token."),
    audiences=_texts("Names by which whoever asks knows itself; the server's own without any."),
)
_SPOKEN_FOR = _object(
    "The answer.",
    authenticated=_flag("Whether the token is good."),
    user=_USER_INFO,
    audiences=_texts("Those of the asked audiences that the token is for."),
    error=_text("Why it is not good."),
)

FORMS: Final[Mapping[str, Schema]] = {
    "SelfSubjectReview": _review("Who am I?", {}, _object("The answer.", userInfo=_USER_INFO), has_spec=False),
    "SelfSubjectAccessReview": _review("May I?", _object("What is asked.", **_ASKED), _VERDICT),
    "SelfSubjectRulesReview": _review(
        "What may I do in a namespace?", _object("What is asked.", namespace=_text("The namespace.")), _RULES
    ),
    "SubjectAccessReview": _review("May they?", _object("What is asked.", **_ASKED, **_SUBJECT), _VERDICT),
    "LocalSubjectAccessReview": _review(
        "May they, in this namespace?", _object("What is asked.", **_ASKED, **_SUBJECT), _VERDICT
    ),
    "TokenReview": _review("Whom does a token speak for?", _TOKEN, _SPOKEN_FOR),
}
"""By kind."""
