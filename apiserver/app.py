"""The composition of the API server: which parts there are, who knows whom, in which order they begin and end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog

from .accounts import People
from .admission.account_secrets import AccountSecrets
from .admission.builtin import builtin_chain
from .admission.chain import BoundChain, Only, Step
from .admission.cluster import ClusterRules
from .admission.escalation import ROLE_KINDS, Escalation
from .admission.isolation import IsolationRights, isolation_concerns
from .admission.pack_trust import PackTrust
from .admission.podspecs import spec_concerns
from .admission.policies.compiled import Policies
from .admission.policies.metrics import PolicyMetrics
from .admission.policies.plugin import AdmissionPolicies
from .admission.webhooks.asking import Asking
from .admission.webhooks.conditions import MatchConditions
from .admission.webhooks.configurations import Configurations
from .admission.webhooks.metrics import WebhookMetrics
from .admission.webhooks.rounds import Webhooks
from .agentpage.logs import BrowserLogs, sweep_logs_forever
from .agentpage.logshelf import LogShelf
from .agentpage.page import AgentPage
from .agentpage.tokens import TokenDesk
from .another_authority import tell_of_another_authority
from .audit.logs import AuditLogs
from .audit.metrics import AuditCollector
from .audit.opening import FOLDER as AUDIT_FOLDER
from .audit.opening import make_audit, writing
from .auth.authentication import Authenticator, StaticTokens
from .auth.bootstrap_tokens import BootstrapTokens
from .auth.builtin import builtin_authorizer
from .auth.kubeconfig import issue_kubeconfig
from .auth.node_tokens import NodeTokens
from .auth.oidc import OidcTokens
from .auth.pki import AgentTls, Authority, ServerTls, listen_hosts
from .auth.rbac.authorizer import RoleAuthorizer
from .auth.rbac.index import Index
from .auth.review_forms import FORMS
from .auth.reviews import VirtualResource, virtual_resources
from .auth.revocation import Revocations
from .auth.service_accounts.issuer import Issuer
from .auth.service_accounts.keys import TokenKeys
from .auth.service_accounts.requests import Issuing, TokenRequests
from .auth.service_accounts.subresource import TokenSubresource
from .auth.service_accounts.tokens import ServiceAccountTokens
from .auth.token_reviews import token_reviews
from .bootstrap import SERVER, Bootstrap
from .cache.feed import Feed
from .cache.filter import EVERYTHING
from .cluster_config import ClusterSettings, cluster_defaults
from .definitions import Definitions
from .encryption.store import EncryptingStore
from .encryption.upkeep import KeyUpkeep
from .facade.encryption_keys import EncryptionKeys
from .facade.facade import Facade
from .facade.inner import Inner
from .facade.rest import rest_routes
from .fairness.gate import Gate
from .fairness.metrics import FairnessCollector
from .fairness.upkeep import Upkeep
from .fairness.widths import Widths
from .freshness import Freshness
from .health import Health
from .http.server import HttpServer
from .kinds import builtin_resources
from .limits import Limits
from .metrics import Metrics
from .packs.bundles import Bundles
from .packs.places import open_place
from .packs.sweeping import sweep_forever
from .pipeline import Pipeline, Served, SubresourceHandler
from .placements import Placements
from .proxy.callbacks import Callbacks
from .proxy.identity_provider import Provider
from .proxy.logs import PodLogs
from .proxy.relay import Relays
from .proxy.streams import PodStreams
from .proxy.usage import AgentUsage
from .registry.bodies import decode as read_object
from .registry.eviction import Evictions
from .registry.keys import prefix_of
from .registry.lists import Lists
from .registry.lookup import BoundPods, CachedCensus, CachedLookup, CachedObjects
from .registry.options import Target, Writing
from .registry.quotas import Quotas
from .registry.records import Records
from .registry.refusals import no_such_path
from .registry.schemas import Schemas
from .registry.strategies import strategy_of
from .registry.verbs import Parts, Verbs
from .registry.versions import Versions
from .registry.watching import Watches
from .registry.writes import Writes
from .request import Request, Response, Stream, Upgrade
from .resources import Resource, Resources
from .revoking import shut_out_forever
from .roles import BootstrapRoles
from .settings import Settings
from .signing import Signing
from .store.protocol import Store, StoreError
from .stores import compact_forever
from .usage.kinds import usage_kinds
from .wire.discovery import Discovery
from .wire.openapi import OpenApi
from .wire.protobuf import decode_protobuf
from .workers.place import ALONE, Place

log = structlog.get_logger(__name__)

CERTIFICATE_CHECK_INTERVAL_S: Final = 3_600.0
"""How often the server's certificate is looked at: it is renewed weeks before its end."""
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves."""

    url: str
    port: int
    authority: Authority
    feed: Feed
    health: Health
    resources: Resources
    background: asyncio.Task[None]
    """What goes on beside the requests. It never ends by itself: when it does, the server must stop."""

    async def ready(self) -> None:
        """Wait until /readyz says so."""
        while True:
            if await self.health.is_ready():
                return
            await asyncio.sleep(READY_POLL_S)


READY_POLL_S: Final = 0.02
TLS_VERSIONS: Final = {"VersionTLS12": ssl.TLSVersion.TLSv1_2, "VersionTLS13": ssl.TLSVersion.TLSv1_3}


@asynccontextmanager
async def serving(
    settings: Settings, store: Store, *, place: Place = ALONE, encrypted: bool = True
) -> AsyncIterator[Running]:
    """Serve `store` until the block ends. Raises OSError (address in use), PkiError, AuditError.

    `place`: which of several processes we are that serve it together. `encrypted` is False only where the cost of TLS is
    measured: no program of ours offers it.
    """
    authority = Authority.open(settings.data_dir / "pki")
    tls = ServerTls(
        authority,
        listen_hosts(settings.host, settings.names),
        min_version=TLS_VERSIONS[settings.tls_min_version],
        given=settings.certificates,
    )
    parts = _Parts(settings, store, authority, place)
    server = HttpServer(Pipeline(parts.served()).handle, settings.http)
    await parts.blobs.open()
    async with writing(parts.audit):
        context = tls.context if encrypted else None
        await server.listen(settings.host, settings.port, context, shares_port=place.count > 1)
        url = f"http{'s' if encrypted else ''}://{_host_of(settings.host)}:{server.port}"
        parts.issuer.served_at(f"https://{settings.names[0]}:{server.port}" if settings.names else url)
        if place.leads:
            _write_kubeconfigs(authority, settings, url)
        background = asyncio.create_task(_together(parts.background(tls, server)))
        try:
            yield Running(url, server.port, authority, parts.feed, parts.health, parts.resources, background)
        finally:
            parts.is_stopping = True
            server.stop_accepting()
            parts.feed.end_watches()
            parts.relays.close()
            await server.close(settings.shutdown_timeout_s)
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
            await parts.logs.close()
            await parts.usage.close()
            await parts.callbacks.close()
            parts.people.close()


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)


def _host_of(listen: str) -> str:
    if listen in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{listen}]" if ":" in listen else listen


def _write_kubeconfigs(authority: Authority, settings: Settings, url: str) -> None:
    for identity in ("admin", "controllers"):
        issue_kubeconfig(authority, identity, server=url, path=settings.data_dir / f"{identity}.kubeconfig")
    for node, path in settings.node_kubeconfigs:
        issue_kubeconfig(authority, f"node:{node}", server=url, path=path)


class _Parts:
    """Everything a server consists of but its sockets."""

    def __init__(self, settings: Settings, store: Store, authority: Authority, place: Place) -> None:
        self.settings, self.store, self._authority, self._place = settings, store, authority, place
        self.is_stopping = False
        self.resources = Resources(builtin_resources())
        self.feed = Feed(store)
        for prefix, paths in _stored(self.resources).items():
            self.feed.add(prefix, paths)
        self.lookup = CachedLookup(self.feed)
        self.records = Records(store, self.feed)
        self.roles = self._roles()
        self.metrics = Metrics(place)
        read = partial(read_object, protobuf=decode_protobuf)
        send = place.colleagues.record if place.colleagues is not None else None
        self.audit = make_audit(settings.data_dir, settings.audit, read, send)
        self.metrics.registry.register(AuditCollector(self.audit))
        self.callbacks = Callbacks(self.lookup)
        self.schemas = Schemas()
        self.versions = Versions(self.resources, self.schemas, self.callbacks)
        self.authorizer = builtin_authorizer(self.lookup, BoundPods(self.feed), self.roles)
        self.keys = TokenKeys.open(settings.data_dir / "pki", settings.service_accounts.key_files)
        self.config = ClusterSettings(self.feed, cluster_defaults(self.resources))
        self.placements = Placements(self.feed, self.records, self.authorizer, self.config)
        self.admission = self._admission(authority)
        self.writes = Writes(
            self.records,
            self.schemas,
            self.admission,
            self.versions,
            Quotas(self.resources, self.records),
        )
        self.blobs, self.partials = open_place(settings.blobs, settings.data_dir)
        self.agent_tls = AgentTls(authority)
        agents = self.agent_tls.context
        self.logs = PodLogs(self.lookup, agents)
        self.log_shelf = LogShelf(settings.data_dir / "browser-logs")
        self.browser_logs = BrowserLogs(self.lookup, self.log_shelf)
        self.relays = Relays(agents)
        self.usage = AgentUsage(self.lookup, agents)
        self.definitions = Definitions(self.resources, self.feed, self.writes)
        self.bootstrap = Bootstrap(self.resources, self.writes)
        self.bootstrap_roles = BootstrapRoles(self.resources, self.writes, self.lookup, self.feed.synced)
        self.gate = Gate(settings.limits.seats_max, settings.http.request_timeout_s)
        self.fairness = Upkeep(self.resources, self.feed, self.writes, self.gate)
        self.health = self._health()
        self.people = People(settings, store, self.feed, self.records, self.metrics, place)
        self.node_tokens = NodeTokens(self.people.keys, self.lookup)
        self.revocations = Revocations(CachedObjects(self.feed, "stark.dev", "certificaterevocations"))
        self.signing = Signing(
            authority,
            self.resources,
            self.feed,
            self.writes,
            self.revocations,
            timedelta(seconds=settings.certificate_lifetime_s),
            listen_hosts(settings.host, settings.names),
        )
        self.encryption = (
            KeyUpkeep(store, store.file) if isinstance(store, EncryptingStore) and store.file is not None else None
        )
        self.issuer = Issuer(settings.service_accounts.issuers[0], settings.service_accounts.keys_url, self.keys)
        given = settings.oidc
        self.provider = Provider(given.issuer_url, given.ca_file) if given.issuer_url else None
        self.authenticator = self._authenticator()
        self.virtual = self._add_virtual([*virtual_resources(self.authorizer), token_reviews(self.authenticator)])

    def _admission(self, authority: Authority) -> BoundChain:
        census = CachedCensus(self.feed)
        trust = PackTrust(CachedObjects(self.feed, "stark.dev", "packtrustpolicies"))
        judges: list[Step] = [
            Only(Escalation(self.authorizer, self.roles), *ROLE_KINDS),
            Only(IsolationRights(self.authorizer), when=isolation_concerns),
            Only(trust, when=spec_concerns, idle=trust.none),
        ]
        cluster = ClusterRules(self.config.spec, self.config.count)
        chain = builtin_chain(
            self.resources,
            census,
            self._webhooks(),
            self._policies(),
            self.authorizer,
            judges,
            cluster,
            AccountSecrets(self.keys, authority.certificate_pem),
        )
        return BoundChain(chain, self.lookup)

    def served(self) -> Served:
        """What the pipeline answers from."""
        verbs = Verbs(
            Parts(
                self.records,
                self.writes,
                Lists(self.store, self.feed, self.records),
                Watches(self.feed, self.records, self.versions),
                Evictions(self.resources, self.records, self.writes),
                self.versions,
                self.schemas,
                self.settings.http.body_bytes_max,
                decode_protobuf,
                usage_kinds(self.resources, self.records, self.usage),
                {("", "pods"): self.placements.foretell},
            )
        )
        inner = Inner()
        self.metrics.watch_feed(self.feed)
        self.metrics.registry.register(FairnessCollector(self.gate.levels))
        return Served(
            self.settings,
            self.resources,
            verbs,
            self.authenticator,
            self.authorizer,
            Limits(self.settings.limits),
            self.gate,
            Widths(self.feed),
            self.metrics,
            self.health,
            Discovery(self.resources),
            OpenApi(self.resources, "v1"),
            Facade(
                [
                    *self.people.routes(self.resources, self.writes, self.config, self.authorizer),
                    *AuditLogs(self.audit, self.settings.data_dir / AUDIT_FOLDER, self._place.colleagues).routes(),
                    *EncryptionKeys(self.encryption, self.authorizer).routes(),
                    *AgentPage().routes(),
                    *TokenDesk(self.node_tokens, self.lookup, self.authorizer).routes(),
                    *rest_routes(inner),
                ]
            ),
            inner,
            self.audit,
            self.people.rates,
            self.people.open_requests,
            self.virtual,
            self._subresources(verbs),
            self.issuer,
            Freshness(self.feed, self._place.newest) if self._place.newest is not None else None,
        )

    def _authenticator(self) -> Authenticator:
        given = self.settings.service_accounts
        audiences = given.audiences or given.issuers
        return Authenticator(
            [
                StaticTokens(self.settings.data_dir / "pki" / "tokens.csv"),
                self.people.tokens,
                self.node_tokens,
                ServiceAccountTokens(self.keys, given.issuers, audiences, self.lookup),
                *([OidcTokens(self.settings.oidc, self.provider)] if self.provider is not None else []),
                BootstrapTokens(self.lookup),
            ],
            audiences,
            self.revocations,
        )

    def _token_requests(self) -> TokenRequests:
        given, audiences = self.settings.service_accounts, self.authenticator.audiences
        issuing = Issuing(given.issuers[0], audiences, given.expiration_max_s, given.extends_pod_tokens)
        return TokenRequests(self.keys, issuing, self.lookup)

    def background(self, tls: ServerTls, server: HttpServer) -> Sequence[Coroutine[Any, Any, None]]:
        """What goes on beside the requests."""
        return (
            self.feed.run(),
            self.feed.bookmark_forever(),
            self.definitions.run(),
            self.bootstrap.run(),
            self.bootstrap_roles.run(),
            self.fairness.run(),
            self.gate.run(),
            *self.people.background(),
            *([self.signing.run()] if self._place.leads else []),
            tell_of_another_authority(self.feed, self.lookup, self._authority),
            *([self._sweep_bundles()] if self._place.leads else []),
            shut_out_forever(self.feed, self.revocations, server.cut_off),
            *([sweep_logs_forever(self.log_shelf, self.lookup, self.feed.synced)] if self._place.leads else []),
            *([compact_forever(self.store, self.settings.history_s)] if self._place.leads else []),
            _renew_forever(tls, self.agent_tls),
            *([self.provider.run()] if self.provider is not None else []),
            *([self.encryption.run()] if self.encryption is not None else []),
        )

    def _roles(self) -> RoleAuthorizer:
        kinds = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        return RoleAuthorizer(
            Index(*(CachedObjects(self.feed, "rbac.authorization.k8s.io", plural) for plural in kinds))
        )

    def _webhooks(self) -> Webhooks:
        kinds = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
        mutating, validating = (
            Configurations(CachedObjects(self.feed, "admissionregistration.k8s.io", plural), MatchConditions)
            for plural in kinds
        )
        metrics = WebhookMetrics(self.metrics.registry)
        return Webhooks(
            mutating,
            validating,
            Asking(self.resources, self.callbacks, self.versions.convert, metrics, self.authorizer),
        )

    def _policies(self) -> AdmissionPolicies:
        kinds = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
        policies, bindings = (CachedObjects(self.feed, "admissionregistration.k8s.io", plural) for plural in kinds)
        metrics = PolicyMetrics(self.metrics.registry)
        return AdmissionPolicies(
            Policies(policies, bindings), self.resources, self.versions.convert, metrics, self.authorizer
        )

    def _add_virtual(self, virtual: Sequence[VirtualResource]) -> Mapping[tuple[str, str, str], VirtualResource]:
        for item in virtual:
            self.resources.add(
                Resource(
                    item.group,
                    item.version,
                    item.kind,
                    item.plural,
                    item.singular,
                    item.namespaced,
                    schema=FORMS[item.kind],
                    verbs=("create",),
                )
            )
        return {(item.group, item.version, item.plural): item for item in virtual}

    def _health(self) -> Health:
        health = Health()

        async def store_answers() -> str:
            try:
                await self.store.revision()
            except StoreError as error:
                return str(error)
            return "" if self.feed.connected else "the store's watch is broken and being resumed"

        async def caches_synced() -> str:
            return "" if self.feed.synced.is_set() and self.definitions.settled.is_set() else "not filled yet"

        async def bootstrapped() -> str:
            return "" if self.bootstrap.done.is_set() else "bootstrap objects are not there yet"

        async def roles_kept() -> str:
            return "" if self.bootstrap_roles.done.is_set() else "bootstrap roles are not there yet"

        async def levels_kept() -> str:
            return "" if self.fairness.done.is_set() else "priority levels and flow schemas are not there yet"

        async def not_stopping() -> str:
            return "the server is stopping" if self.is_stopping else ""

        checks = (
            ("store", store_answers),
            ("informer-sync", caches_synced),
            ("poststarthook/bootstrap", bootstrapped),
            ("poststarthook/rbac/bootstrap-roles", roles_kept),
            ("poststarthook/priority-and-fairness-config-producer", levels_kept),
            ("shutdown", not_stopping),
        )
        for name, check in checks:
            health.add_ready(name, check)
        return health

    def _sweep_bundles(self) -> Coroutine[Any, Any, None]:
        return sweep_forever(self.blobs, self.partials, self._packs().all, self.metrics.registry)

    def _packs(self) -> _PackStatus:
        return _PackStatus(self.resources, self.records, self.writes)

    def _subresources(self, verbs: Verbs) -> Mapping[tuple[str, str, str], SubresourceHandler]:
        bundles = Bundles(self.blobs, self.partials, self._packs())
        streams = PodStreams(self.lookup, self.relays, self.admission.connect)

        async def log_of(request: Request, target: Target, rest: Sequence[str]) -> Response | Stream:
            if rest or request.method not in ("GET", "POST"):
                raise no_such_path()
            if request.method == "POST":
                return await self.browser_logs.take(request, target.namespace, target.name)
            if await self.browser_logs.has(target.namespace, target.name):
                return await self.browser_logs.get_log(request, target.namespace, target.name)
            return await self.logs.get_log(request, target.namespace, target.name)

        async def bundle(request: Request, target: Target, rest: Sequence[str]) -> Response | Stream:
            if len(rest) != 1:
                raise no_such_path()
            handlers: Mapping[str, Callable[..., Coroutine[Any, Any, Response | Stream]]] = {
                "GET": bundles.get_bundle,
                "HEAD": bundles.get_bundle,
                "PUT": bundles.put_bundle,
            }
            if request.method not in handlers:
                raise no_such_path()
            return await handlers[request.method](request, target.name, rest[0])

        def connecting(open_to: Callable[[Request, Target], Awaitable[Upgrade]]) -> SubresourceHandler:
            async def connected(request: Request, target: Target, rest: Sequence[str]) -> Upgrade:
                if request.method not in ("GET", "POST") or rest:
                    raise no_such_path()
                return await open_to(request, target)

            return connected

        tokens = TokenSubresource(self._token_requests(), verbs.read_body, self.admission.connect)
        return {
            ("", "serviceaccounts", "token"): tokens.answer,
            ("", "pods", "log"): log_of,
            ("", "pods", "placement"): self.placements.answer,
            ("", "pods", "exec"): connecting(streams.exec),
            ("", "pods", "attach"): connecting(streams.attach),
            ("", "pods", "portforward"): connecting(streams.port_forward),
            ("stark.dev", "packs", "bundles"): bundle,
        }


def _stored(resources: Resources) -> dict[Any, tuple[str, ...]]:
    """The prefixes of everything that is stored, with the field paths of all its versions."""
    paths: dict[Any, tuple[str, ...]] = {}
    for resource in resources:
        if not resource.verbs or "watch" in resource.verbs:
            prefix, view = prefix_of(resource), strategy_of(resource).view
            fields = [view.stored_path(path) if view else path for path in resource.selectable_fields]
            paths[prefix] = tuple(dict.fromkeys((*paths.get(prefix, ()), *fields)))
    return paths


class _PackStatus:
    """How bundle transfer reads packs and writes their status."""

    def __init__(self, resources: Resources, records: Records, writes: Writes) -> None:
        self._resources, self._records, self._writes = resources, records, writes

    async def read(self, name: str) -> Mapping[str, Any]:
        """The current pack. Raises NotFound."""
        return (await self._records.get(self._resource(), "", name)).decode()

    async def all(self) -> list[Mapping[str, Any]]:
        """Every pack as it is now. Raises ServiceUnavailable, Timeout rather than leave one out."""
        cache = await self._records.cache(self._resource())
        await self._records.fresh()
        return [entry.decode() for entry in cache.select(EVERYTHING)]

    async def update_status(self, name: str, change: Callable[[Object], None]) -> Mapping[str, Any]:
        """Apply `change` to the current pack and store it, anew on every conflict."""

        async def changed(pack: Object) -> Object:
            new = {**pack, "status": dict(pack.get("status") or {})}
            change(new)
            return new

        target = Target(self._resource(), "", name, "status")
        return (await self._writes.mutate(target, changed, Writing(SERVER, consults=False))).obj

    def _resource(self) -> Resource:
        resource = self._resources.find("stark.dev", "v1", "packs")
        assert resource is not None, "packs"
        return resource


async def _renew_forever(tls: ServerTls, agents: AgentTls) -> None:
    while True:
        await asyncio.sleep(CERTIFICATE_CHECK_INTERVAL_S)
        agents.refresh()
        if tls.refresh():
            log.info("server certificate renewed", expires_at=str(tls.expires_at))
