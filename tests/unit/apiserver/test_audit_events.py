"""What a policy says is recorded, and what an event tells of a request: never a secret, never more than its bounds."""

from __future__ import annotations

import gzip
import json
from functools import partial
from typing import Any

import pytest

from stark.apiserver.audit.errors import PolicyError
from stark.apiserver.audit.events import Encoder, Entry, Outcome
from stark.apiserver.audit.policy import DEFAULT_POLICY, Judgement, Level, parse_policy
from stark.apiserver.registry.bodies import decode
from stark.apiserver.request import Body, Peer, Query, Request, User
from stark.apiserver.routes import parse

ALICE = User("alice", ("team", "system:authenticated"))
BODY_MAX = 1_000


class NoBody:
    async def read(self, limit: int) -> bytes:
        return b""

    def chunks(self) -> Any:
        raise NotImplementedError


def request(method: str, target: str, **headers: str) -> Request:
    path, _, query = target.partition("?")
    body: Body = NoBody()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, Query(query), {"audit-id": "id-1", **named}, body, Peer("10.0.0.7:4711"), ALICE)


def rules(text: str) -> str:
    return f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{text}"


@pytest.mark.parametrize(
    ("policy", "asked", "level"),
    [
        (DEFAULT_POLICY, "GET /api/v1/pods", Level.METADATA),
        (DEFAULT_POLICY, "GET /readyz", Level.NONE),
        (DEFAULT_POLICY, "GET /livez/ping", Level.NONE),
        (DEFAULT_POLICY, "POST /auth/login", Level.METADATA),
        (rules("- {level: Request, users: [alice]}"), "GET /api/v1/pods", Level.REQUEST),
        (rules("- {level: Request, users: [bob]}"), "GET /api/v1/pods", Level.NONE),
        (rules("- {level: Request, userGroups: [x, team]}"), "GET /api/v1/pods", Level.REQUEST),
        (rules("- {level: Request, verbs: [list]}"), "GET /api/v1/pods", Level.REQUEST),
        (rules("- {level: Request, verbs: [get]}"), "GET /api/v1/pods", Level.NONE),
        (rules("- {level: Request, resources: [{group: ''}]}"), "GET /api/v1/pods", Level.REQUEST),
        (rules("- {level: Request, resources: [{group: apps}]}"), "GET /api/v1/pods", Level.NONE),
        (
            rules("- {level: Request, resources: [{resources: [pods]}]}"),
            "GET /api/v1/namespaces/a/pods/x/log",
            Level.NONE,
        ),
        (
            rules("- {level: Request, resources: [{resources: ['pods/*']}]}"),
            "GET /api/v1/namespaces/a/pods/x/log",
            Level.REQUEST,
        ),
        (
            rules("- {level: Request, resources: [{resources: ['*/log']}]}"),
            "GET /api/v1/namespaces/a/pods/x/log",
            Level.REQUEST,
        ),
        (
            rules("- {level: Request, resources: [{resources: ['*']}]}"),
            "GET /api/v1/namespaces/a/pods/x/log",
            Level.REQUEST,
        ),
        (
            rules("- {level: Request, resources: [{resources: [pods], resourceNames: [x]}]}"),
            "GET /api/v1/namespaces/a/pods/x",
            Level.REQUEST,
        ),
        (
            rules("- {level: Request, resources: [{resources: [pods], resourceNames: [x]}]}"),
            "GET /api/v1/namespaces/a/pods/y",
            Level.NONE,
        ),
        (rules("- {level: Request, namespaces: [a]}"), "GET /api/v1/namespaces/a/pods", Level.REQUEST),
        (rules("- {level: Request, namespaces: ['']}"), "GET /api/v1/nodes", Level.REQUEST),
        (rules("- {level: Request, namespaces: [a]}"), "GET /version", Level.NONE),
        (rules("- {level: Request, nonResourceURLs: ['/api*']}"), "GET /apis", Level.REQUEST),
        (rules("- {level: Request, nonResourceURLs: ['/api*']}"), "GET /api/v1/pods", Level.NONE),
        (rules("- {level: None, verbs: [get]}\n- {level: Request}"), "GET /api/v1/pods", Level.REQUEST),
        (rules("- level: RequestResponse"), "GET /api/v1/secrets", Level.METADATA),
        (rules("- level: RequestResponse"), "PATCH /api/v1/namespaces/a/secrets/x/status", Level.METADATA),
        (rules("- level: RequestResponse"), "POST /api/v1/namespaces/a/serviceaccounts/x/token", Level.METADATA),
        (rules("- level: RequestResponse"), "POST /apis/authentication.k8s.io/v1/tokenreviews", Level.METADATA),
        (rules("- level: RequestResponse"), "POST /auth/login", Level.METADATA),
        (rules("- level: RequestResponse"), "GET /apis/example.com/v1/secrets", Level.REQUEST_RESPONSE),
    ],
)
def test_the_first_rule_that_matches_says_how_much_is_recorded(policy: str, asked: str, level: Level) -> None:
    method, target = asked.split()
    found = parse_policy(policy)
    for _ in range(2):
        assert found.judge(ALICE, parse(method, target, Query(""))).level is level


def test_a_request_of_nobody_matches_no_rule_about_users() -> None:
    policy = parse_policy(rules("- {level: Request, users: [alice]}\n- {level: Metadata}"))
    asked = parse("GET", "/api/v1/pods", Query(""))
    assert policy.judge(None, asked).level is Level.METADATA
    assert policy.judge(ALICE, asked).level is Level.REQUEST


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML"),
        ("[]", "an object is expected"),
        ("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: []", "must be apiVersion: audit.k8s.io/v1"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "rules: a list is expected"),
        (rules("- level: Verbose"), "rules[0].level: must be one of None, Metadata"),
        (rules("- {level: None, user: [x]}"), "rules[0].user: there is no such field"),
        (rules("- {level: None, users: x}"), "rules[0].users: a list is expected"),
        (rules("- {level: None, nonResourceURLs: ['/a*b']}"), "only at its end"),
        (rules("- {level: None, nonResourceURLs: ['/a'], namespaces: [x]}"), "not both"),
        (rules("- {level: None, resources: [{group: apps/v1}]}"), "without a version"),
        (rules("- {level: None, resources: [{resourceNames: [x]}]}"), "means nothing without resources"),
        (rules("- {level: None, omitStages: [Never]}"), "is not one of RequestReceived"),
        (rules("- {level: None, omitManagedFields: 1}"), "true or false"),
    ],
)
def test_a_policy_that_is_not_understood_whole_is_refused(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says.replace("[", r"\[")):
        parse_policy(text)


def encoded(asked: Request, level: Level = Level.METADATA, **how: Any) -> dict[str, Any]:
    stage = how.pop("stage", "ResponseComplete")
    outcome = how.pop("outcome", Outcome(200))
    judgement = Judgement(level, is_secret=how.pop("is_secret", False), omits_managed_fields=how.pop("omits", False))
    sent = how.pop("sent", b"")
    about = parse(asked.method, asked.path, asked.query)
    entry = Entry(asked, about, judgement, ALICE, stage, 1_700_000_000.25, 1_700_000_000.5, outcome, sent, len(sent))
    found: dict[str, Any] = json.loads(Encoder(partial(decode, protobuf=None), BODY_MAX).encode(entry))
    return found


def test_an_event_has_kubernetes_fields() -> None:
    asked = request("POST", "/apis/apps/v1/namespaces/a/deployments?dryRun=All", user_agent="kubectl/1")
    asked.subject = {"name": "web", "uid": "u-1", "resourceVersion": "7", "labels": {"a": "b"}}
    asked.audit["authorization.k8s.io/decision"] = "allow"
    assert encoded(asked, outcome=Outcome(201)) == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "id-1",
        "stage": "ResponseComplete",
        "requestURI": "/apis/apps/v1/namespaces/a/deployments?dryRun=All",
        "verb": "create",
        "user": {"username": "alice", "groups": ["team", "system:authenticated"]},
        "sourceIPs": ["10.0.0.7"],
        "userAgent": "kubectl/1",
        "objectRef": {
            "resource": "deployments",
            "namespace": "a",
            "name": "web",
            "uid": "u-1",
            "apiGroup": "apps",
            "apiVersion": "v1",
            "resourceVersion": "7",
        },
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": "2023-11-14T22:13:20.250000Z",
        "stageTimestamp": "2023-11-14T22:13:20.500000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    }


def test_both_are_named_when_one_acts_as_another() -> None:
    asked = request("GET", "/api/v1/pods")
    asked.user = User("bob")
    event = encoded(asked)
    assert (event["user"]["username"], event["impersonatedUser"]) == ("alice", {"username": "bob"})


REFUSAL = json.dumps({"kind": "Status", "reason": "Invalid", "message": "data: planted"}).encode()


@pytest.mark.parametrize(
    ("outcome", "is_secret", "status"),
    [
        (Outcome(403, REFUSAL, "application/json"), False, ("Invalid", "data: planted")),
        (Outcome(403, REFUSAL, "application/json"), True, ("Invalid", None)),
        (Outcome(403, gzip.compress(REFUSAL), "application/json", True), False, ("Invalid", "data: planted")),
        (
            Outcome(403, b'{"error":{"code":"FORBIDDEN","message":"no"}}', "application/json"),
            False,
            ("FORBIDDEN", "no"),
        ),
        (Outcome(403, b"[", "application/json"), False, (None, None)),
        (Outcome(403, b"[1]", "application/json"), False, (None, None)),
        (Outcome(403, b"no", "text/plain"), False, (None, None)),
        (Outcome(499), False, ("ClientLeft", "the client left before it was answered")),
    ],
)
def test_a_refusal_tells_why_but_not_what_a_secret_was(
    outcome: Outcome, is_secret: bool, status: tuple[str | None, str | None]
) -> None:
    told = encoded(request("PUT", "/x"), outcome=outcome, is_secret=is_secret)["responseStatus"]
    assert (told.get("reason"), told.get("message"), told["code"]) == (*status, outcome.code)


@pytest.mark.parametrize(
    ("headers", "addresses"),
    [
        ({}, ["10.0.0.7"]),
        ({"x_forwarded_for": "1.2.3.4, 10.0.0.1"}, ["1.2.3.4", "10.0.0.1", "10.0.0.7"]),
        ({"x_forwarded_for": "1.2.3.4, 10.0.0.7"}, ["1.2.3.4", "10.0.0.7"]),
        ({"x_real_ip": "::1"}, ["::1", "10.0.0.7"]),
        ({"x_forwarded_for": "=cmd(), <b>"}, ["10.0.0.7"]),
        (
            {"x_forwarded_for": ",".join(f"1.1.1.{n}" for n in range(99))},
            [f"1.1.1.{n}" for n in range(16)] + ["10.0.0.7"],
        ),
    ],
)
def test_where_from_is_what_proxies_say_and_then_the_connection(headers: dict[str, str], addresses: list[str]) -> None:
    assert encoded(request("GET", "/x", **headers))["sourceIPs"] == addresses


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("/a/../b c", "/a/../b%20c"),
        ("/x?access_token=planted&b=1", "/x?access_token=REDACTED&b=1"),
        ("/x?b=1&Password=planted", "/x?b=1&Password=REDACTED"),
        ("/x?b=1&%74oken=planted", "/x?b=1&%74oken=REDACTED"),
        ("/x\n{}", "/x%0A%7B%7D"),
    ],
)
def test_an_address_is_shown_without_secrets_and_without_ends_of_lines(target: str, uri: str) -> None:
    assert encoded(request("GET", target))["requestURI"] == uri


OBJECT = {"kind": "Pod", "metadata": {"name": "x", "managedFields": [1]}}
JSON = json.dumps(OBJECT).encode()
LONG = json.dumps({"a": "x" * BODY_MAX}).encode()


@pytest.mark.parametrize(
    ("level", "how", "sent", "brought", "truncated"),
    [
        (Level.METADATA, {}, None, None, False),
        (Level.REQUEST, {}, OBJECT, None, False),
        (Level.REQUEST_RESPONSE, {}, OBJECT, OBJECT, False),
        (Level.REQUEST_RESPONSE, {"omits": True}, {"kind": "Pod", "metadata": {"name": "x"}}, ..., False),
        (Level.REQUEST_RESPONSE, {"sent": LONG}, None, OBJECT, True),
        (Level.REQUEST_RESPONSE, {"outcome": Outcome(200, LONG, "application/json")}, OBJECT, None, True),
        (
            Level.REQUEST_RESPONSE,
            {"outcome": Outcome(200, gzip.compress(LONG), "application/json", True)},
            OBJECT,
            None,
            True,
        ),
        (
            Level.REQUEST_RESPONSE,
            {"outcome": Outcome(200, [JSON[:9], JSON[9:]], "application/json")},
            OBJECT,
            OBJECT,
            False,
        ),
        (Level.REQUEST, {"sent": b"kind: Pod", "type": "application/yaml"}, {"kind": "Pod"}, None, False),
        (Level.REQUEST, {"sent": b"[1]", "type": "application/json-patch+json"}, [1], None, False),
        (Level.REQUEST, {"sent": b"{", "type": "application/json"}, None, None, False),
    ],
)
def test_objects_are_recorded_by_level_and_within_bounds(
    level: Level, how: dict[str, Any], sent: Any, brought: Any, truncated: bool
) -> None:
    asked = request("POST", "/api/v1/pods", content_type=how.get("type", "application/json"))
    answer = how.get("outcome", Outcome(200, JSON, "application/json"))
    event = encoded(asked, level, sent=how.get("sent", JSON), outcome=answer, omits=how.get("omits", False))
    assert event.get("requestObject") == sent
    if brought is not ...:
        assert event.get("responseObject") == brought
    assert ("audit.k8s.io/truncated" in event.get("annotations", {})) is truncated


def test_a_long_address_takes_no_longer_than_its_length() -> None:
    """A pattern that looks for a name anywhere needed half an hour for this one, and held up everybody."""
    assert encoded(request("GET", "/api?" + "token" * 1_600))["requestURI"] == "/api?" + "token" * 1_600


def test_text_that_is_no_unicode_does_not_stop_the_log() -> None:
    asked = request("GET", "/x", user_agent="a\udcff")
    assert encoded(asked)["userAgent"] == "a?"


def test_a_long_user_agent_is_cut() -> None:
    assert encoded(request("GET", "/x", user_agent="x" * 9_999))["userAgent"] == "x" * 1024 + "...TRUNCATED"
