"""Kinds with rules of the sort that gateways' definitions have: listeners with protocols and TLS, routes with filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TEXT = {"type": "string", "maxLength": 253}
NAME = {"type": "string", "minLength": 1, "maxLength": 63}


def rule(text: str, message: str = "", **more: Any) -> dict[str, Any]:
    """One of x-kubernetes-validations."""
    return {"rule": text, **({"message": message} if message else {}), **more}


def obj(properties: Mapping[str, Any], *rules: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """The schema of an object with rules."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    if rules:
        schema["x-kubernetes-validations"] = list(rules)
    return schema


def listing(items: Mapping[str, Any], most: int, *rules: Mapping[str, Any], keys: Sequence[str] = ()) -> dict[str, Any]:
    """The schema of a list; of type map when it has keys."""
    schema: dict[str, Any] = {"type": "array", "items": dict(items), "maxItems": most}
    if keys:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    if rules:
        schema["x-kubernetes-validations"] = list(rules)
    return schema


def definition(
    kind: str, schema: Mapping[str, Any], *, group: str = "net.example.com", **version: Any
) -> dict[str, Any]:
    """A definition with one version, a status and these properties."""
    plural = f"{kind.lower()}s"
    whole = {"type": "object", **schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": whole},
                    "subresources": {"status": {}},
                    **version,
                }
            ],
        },
    }


TLS = obj(
    {
        "mode": {"type": "string", "enum": ["Terminate", "Passthrough"], "default": "Terminate"},
        "certificateRefs": listing(obj({"name": NAME}), 8),
        "options": {"type": "object", "maxProperties": 16, "additionalProperties": TEXT},
    },
    rule(
        "self.mode == 'Terminate' ? size(self.certificateRefs) > 0 || size(self.options) > 0 : true",
        "certificateRefs or options must be specified when mode is Terminate",
    ),
)
LISTENER = obj(
    {
        "name": NAME,
        "hostname": TEXT,
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string", "maxLength": 32},
        "tls": TLS,
    },
    required=("name", "port", "protocol"),
)
GATEWAY = definition(
    "Gateway",
    {
        "x-kubernetes-validations": [
            rule("self.metadata.name.size() <= 20", "the name must have at most 20 characters", fieldPath=".metadata"),
        ],
        "properties": {
            "metadata": {"type": "object"},
            "spec": obj(
                {
                    "gatewayClassName": {
                        **NAME,
                        "x-kubernetes-validations": [rule("self == oldSelf", "gatewayClassName is immutable")],
                    },
                    "listeners": listing(
                        LISTENER,
                        16,
                        rule(
                            "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
                            "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
                        ),
                        rule(
                            "self.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? (l.tls.mode == '' || "
                            "l.tls.mode == 'Terminate') : true)",
                            "tls mode must be Terminate for protocol HTTPS",
                        ),
                        rule(
                            "self.all(l, l.protocol in ['TCP', 'UDP'] ? (!has(l.hostname) || l.hostname == '') : true)",
                            "hostname must not be specified for protocols ['TCP', 'UDP']",
                        ),
                        rule(
                            "self.all(l1, self.exists_one(l2, l1.name == l2.name))",
                            "Listener name must be unique within the Gateway",
                            reason="FieldValueDuplicate",
                        ),
                        rule(
                            "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && "
                            "(has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : "
                            "!has(l1.hostname) && !has(l2.hostname))))",
                            "Combination of port, protocol and hostname must be unique for each listener",
                        ),
                    ),
                    "addresses": listing(
                        obj(
                            {"type": {"type": "string", "default": "IPAddress", "maxLength": 253}, "value": TEXT},
                            rule(
                                "self.type == 'Hostname' ? "
                                r"(!has(self.value) || self.value.matches(r'''^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?"
                                r"(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$''')) : true",
                                "Hostname value must be a valid DNS name",
                                fieldPath=".value",
                            ),
                            rule("self.type == 'IPAddress' ? !has(self.value) || isIP(self.value) : true", "no IP"),
                        ),
                        16,
                        rule(
                            "self.all(a1, a1.type == 'IPAddress' && has(a1.value) ? self.exists_one(a2, "
                            "a2.type == a1.type && has(a2.value) && a2.value == a1.value) : true)",
                            "IPAddress values must be unique",
                        ),
                    ),
                },
                required=("gatewayClassName", "listeners"),
            ),
            "status": obj(
                {"attached": {"type": "integer"}},
                rule("!has(self.attached) || self.attached >= 0", "attached must not be negative"),
            ),
        },
    },
    selectableFields=[{"jsonPath": ".spec.gatewayClassName"}],
)

_FILTERS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")
FILTER = obj(
    {
        "type": {"type": "string", "enum": list(_FILTERS)},
        "requestRedirect": obj({"port": {"type": "integer"}, "hostname": TEXT}),
        "urlRewrite": obj({"hostname": TEXT}),
    },
    rule(
        "!(has(self.requestRedirect) && self.type != 'RequestRedirect')",
        "filter.requestRedirect must be nil if the filter.type is not RequestRedirect",
    ),
    rule(
        "!(!has(self.requestRedirect) && self.type == 'RequestRedirect')",
        "filter.requestRedirect must be specified for RequestRedirect filter.type",
        reason="FieldValueRequired",
        fieldPath=".requestRedirect",
    ),
    required=("type",),
)
PATH = obj(
    {
        "type": {"type": "string", "enum": ["Exact", "PathPrefix", "RegularExpression"], "default": "PathPrefix"},
        "value": {"type": "string", "maxLength": 1024, "default": "/"},
    },
    rule(
        "(self.type in ['Exact', 'PathPrefix']) ? self.value.startsWith('/') : true",
        "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
    ),
    rule("(self.type in ['Exact', 'PathPrefix']) ? !self.value.contains('//') : true", "must not contain '//'"),
    rule("(self.type in ['Exact', 'PathPrefix']) ? !self.value.endsWith('/..') : true", "must not end with '/..'"),
    rule(
        "(self.type in ['Exact', 'PathPrefix']) ? "
        r"self.value.matches(r'''^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$''') : true",
        "must only contain valid characters",
    ),
)
ROUTE = definition(
    "HTTPRoute",
    {
        "properties": {
            "spec": obj(
                {
                    "rules": listing(
                        obj(
                            {
                                "matches": listing(obj({"path": {**PATH, "default": {}}}), 8),
                                "filters": listing(
                                    FILTER,
                                    16,
                                    rule(
                                        "!(self.exists(f, f.type == 'RequestRedirect') && "
                                        "self.exists(f, f.type == 'URLRewrite'))",
                                        "May specify either httpRouteFilterRequestRedirect or "
                                        "httpRouteFilterRequestRewrite, but not both",
                                    ),
                                    *(
                                        rule(
                                            f"self.filter(f, f.type == '{kind}').size() <= 1",
                                            messageExpression=f"'{kind} filter cannot be repeated, but is there ' + "
                                            f"string(self.filter(f, f.type == '{kind}').size()) + ' times'",
                                        )
                                        for kind in _FILTERS
                                    ),
                                ),
                                "backendRefs": listing(
                                    obj(
                                        {
                                            "name": NAME,
                                            "port": {"type": "integer"},
                                            "kind": {**TEXT, "default": "Service"},
                                        },
                                        rule(
                                            "self.kind == 'Service' ? has(self.port) : true",
                                            "Must have port for Service reference",
                                        ),
                                        required=("name",),
                                    ),
                                    16,
                                ),
                                "timeout": {"type": "string", "format": "duration"},
                                "retry": obj(
                                    {"attempts": {"x-kubernetes-int-or-string": True, "maxLength": 10}},
                                    rule(
                                        "!has(self.attempts) || (type(self.attempts) == int ? self.attempts > 0 : "
                                        "self.attempts.endsWith('%'))",
                                        "attempts must be positive or a percentage",
                                    ),
                                ),
                            },
                            rule(
                                "(has(self.backendRefs) && size(self.backendRefs) > 0) ? (!has(self.filters) || "
                                "self.filters.all(f, !has(f.requestRedirect))) : true",
                                "RequestRedirect filter must not be used together with backendRefs",
                            ),
                            rule(
                                "!has(self.timeout) || self.timeout <= duration('1h')",
                                "timeout must be at most an hour",
                                reason="FieldValueForbidden",
                                fieldPath=".timeout",
                            ),
                        ),
                        16,
                        rule(
                            "(self.size() > 0 ? self[0].?matches.orValue([]).size() : 0) + "
                            "(self.size() > 1 ? self[1].?matches.orValue([]).size() : 0) <= 10",
                            "While 16 rules and 8 matches per rule are allowed, the total number of matches must be at "
                            "most 10",
                        ),
                    )
                }
            )
        }
    },
)
