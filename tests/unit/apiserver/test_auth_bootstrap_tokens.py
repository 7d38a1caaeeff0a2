"""Which bootstrap tokens let somebody in, and as whom."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stark.apiserver.auth.bootstrap_tokens import BootstrapTokens
from stark.crds.bootstrap_tokens import DEFAULT_GROUP, Token, secret_of
from tests.support.server_side import Objects

NOW = datetime(2030, 1, 1, tzinfo=UTC)
GOOD = Token("abcdef", "0123456789abcdef", ("authentication",), (DEFAULT_GROUP,), NOW + timedelta(hours=1))
TEXT = "abcdef.0123456789abcdef"


def stored(token: Token, **changes: Any) -> dict[str, Any]:
    secret = secret_of(token)
    data = {key: b64encode(value.encode()).decode() for key, value in secret.pop("stringData").items()}
    return {**secret, "data": data, **changes}


@pytest.mark.parametrize(
    ("secret", "shown", "is_good"),
    [
        pytest.param(stored(GOOD), TEXT, True, id="one that is good"),
        pytest.param(stored(GOOD._replace(expires_at=None)), TEXT, True, id="one without an end"),
        pytest.param(stored(GOOD), "abcdef.0123456789abcdee", False, id="another secret"),
        pytest.param(stored(GOOD), "abcdeg.0123456789abcdef", False, id="another id"),
        pytest.param(stored(GOOD), TEXT + "0", False, id="no token"),
        pytest.param(stored(GOOD._replace(expires_at=NOW)), TEXT, False, id="one that is over"),
        pytest.param(stored(GOOD._replace(usages=("signing",))), TEXT, False, id="one that only signs"),
        pytest.param(stored(GOOD, type="Opaque"), TEXT, False, id="a Secret of another type"),
        pytest.param(
            stored(GOOD, metadata={"name": "bootstrap-token-abcdef", "deletionTimestamp": "x"}), TEXT, False, id="going"
        ),
        pytest.param(stored(GOOD._replace(groups=("system:masters",))), TEXT, False, id="a group it may not give"),
        pytest.param(stored(GOOD, data={"token-id": "%"}), TEXT, False, id="garbage"),
    ],
)
async def test_a_token_lets_in(secret: dict[str, Any], shown: str, is_good: bool) -> None:
    objects = Objects({("", "secrets", "kube-system", "bootstrap-token-abcdef"): secret})
    user = await BootstrapTokens(objects, lambda: NOW).user_of(shown)
    assert (user is not None) == is_good
    if user is not None:
        assert user.name == "system:bootstrap:abcdef"
        assert user.groups == ("system:bootstrappers", DEFAULT_GROUP)
