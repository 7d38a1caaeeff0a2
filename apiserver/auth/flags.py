"""The program's flags about who is believed: named as kube-apiserver names them, since people know those."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..settings import OidcSettings, ServiceAccountSettings

OIDC_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
EXPIRATION_MIN_S: Final = 3_600


def add_identity_flags(parser: argparse.ArgumentParser) -> None:
    """Flags about tokens of service accounts and of an identity provider outside."""
    tokens = parser.add_argument_group("tokens of service accounts")
    tokens.add_argument(
        "--service-account-issuer",
        action="append",
        default=[],
        metavar="URL",
        help=f"who issues tokens (default: {ServiceAccountSettings().issuers[0]}); given again: others that are believed",
    )
    tokens.add_argument(
        "--service-account-key-file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a further key in PEM whose tokens are believed",
    )
    tokens.add_argument("--service-account-jwks-uri", default="", metavar="URL", help="where the keys are said to be")
    tokens.add_argument(
        "--service-account-max-token-expiration", type=int, default=0, metavar="SECONDS", help="default: any"
    )
    tokens.add_argument(
        "--no-service-account-extend-token-expiration",
        action="store_true",
        help="end a pod's token after an hour even if the pod has not read its new one",
    )
    tokens.add_argument(
        "--api-audiences", default="", metavar="NAME[,NAME]", help="our names in tokens (default: the issuers)"
    )
    oidc = parser.add_argument_group("an identity provider (OpenID Connect)")
    oidc.add_argument("--oidc-issuer-url", default="", metavar="URL", help="the provider, by HTTPS")
    oidc.add_argument("--oidc-client-id", default="", metavar="ID", help="for whom its tokens are meant")
    oidc.add_argument("--oidc-username-claim", default="sub", metavar="CLAIM", help="default %(default)s")
    oidc.add_argument(
        "--oidc-username-prefix", default="", metavar="TEXT", help="default: the issuer and #; - for none"
    )
    oidc.add_argument("--oidc-groups-claim", default="", metavar="CLAIM", help="the claim with the user's groups")
    oidc.add_argument("--oidc-groups-prefix", default="", metavar="TEXT", help="put before every group")
    oidc.add_argument(
        "--oidc-required-claim", action="append", default=[], metavar="CLAIM=VALUE", help="which every token must have"
    )
    oidc.add_argument("--oidc-ca-file", type=Path, metavar="FILE", help="who signs the provider's certificate")
    oidc.add_argument("--oidc-signing-algs", default="RS256", metavar="ALG[,ALG]", help="default %(default)s")


def service_account_settings(parsed: argparse.Namespace) -> ServiceAccountSettings:
    """Raises ValueError."""
    issuers = tuple(parsed.service_account_issuer) or ServiceAccountSettings().issuers
    for issuer in issuers:
        if ":" in issuer and (
            urlsplit(issuer).scheme != "https" or urlsplit(issuer).query or urlsplit(issuer).fragment
        ):
            raise ValueError(
                f"--service-account-issuer must be an https URL without query and fragment, not {issuer!r}"
            )
    longest = parsed.service_account_max_token_expiration
    if longest and longest < EXPIRATION_MIN_S:
        raise ValueError(f"--service-account-max-token-expiration must be at least {EXPIRATION_MIN_S}, not {longest}")
    return ServiceAccountSettings(
        issuers,
        tuple(name for name in parsed.api_audiences.split(",") if name),
        tuple(parsed.service_account_key_file),
        parsed.service_account_jwks_uri,
        longest,
        not parsed.no_service_account_extend_token_expiration,
    )


def oidc_settings(parsed: argparse.Namespace) -> OidcSettings:
    """Raises ValueError."""
    if bool(parsed.oidc_issuer_url) != bool(parsed.oidc_client_id):
        raise ValueError("--oidc-issuer-url and --oidc-client-id must be given together")
    url = urlsplit(parsed.oidc_issuer_url)
    if parsed.oidc_issuer_url and (url.scheme != "https" or not url.hostname):
        raise ValueError(f"--oidc-issuer-url must be an https URL, not {parsed.oidc_issuer_url!r}")
    algorithms = tuple(name for name in parsed.oidc_signing_algs.split(",") if name)
    unknown = [name for name in algorithms if name not in OIDC_ALGORITHMS]
    if unknown or not algorithms:
        raise ValueError(f"--oidc-signing-algs must be among {', '.join(OIDC_ALGORITHMS)}")
    return OidcSettings(
        parsed.oidc_issuer_url,
        parsed.oidc_client_id,
        parsed.oidc_username_claim,
        parsed.oidc_username_prefix,
        parsed.oidc_groups_claim,
        parsed.oidc_groups_prefix,
        tuple(_claim(text) for text in parsed.oidc_required_claim),
        parsed.oidc_ca_file,
        algorithms,
    )


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"--oidc-required-claim must be CLAIM=VALUE, not {text!r}")
    return name, value
