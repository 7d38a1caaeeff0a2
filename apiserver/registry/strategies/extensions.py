"""CustomResourceDefinitions: what a schema cannot say about a definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ...admission.validate_admission_policies import admission_policy_causes
from ...admission.webhooks.conditions import expression_causes
from ...cel import offload
from ...cel.review import check_rules, check_selectable
from ...errors import Cause
from ...naming import ESTABLISHED, TERMINATING, condition_of, with_condition
from ...schema import check_structural
from ...times import timestamp
from ..metadata import now
from .base import Known, Object, Strategy, immutable, shown
from .definition_rules import spec_causes, stored_version_causes

DELETION_PENDING = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"


class DefinitionStrategy(Strategy):
    """A definition names itself after its kind, is stored in one version, and has structural schemas."""

    def prepare_create(self, obj: Object) -> None:
        """Names that follow from others; the stored versions begin with the only one."""
        self._prepare(obj)
        versions = [version["name"] for version in obj["spec"]["versions"] if version.get("storage")]
        obj["status"] = {"storedVersions": versions, "conditions": []}

    def prepare_update(self, new: Object, old: Known) -> None:
        """The same; a version that was ever stored stays on the list."""
        self._prepare(new)
        status = new.setdefault("status", {})
        stored = list(status.get("storedVersions") or [])
        current = [version["name"] for version in new["spec"]["versions"] if version.get("storage")]
        status["storedVersions"] = [*stored, *(name for name in current if name not in stored)]

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """Name, storage version, schemas."""
        spec = obj["spec"]
        found: list[Cause] = []
        expected = f"{spec['names']['plural']}.{spec['group']}"
        if obj["metadata"]["name"] != expected:
            message = f'Invalid value: {shown(obj["metadata"]["name"])}: must be spec.names.plural+"."+spec.group'
            found.append(Cause("metadata.name", message))
        found += spec_causes(spec)
        for index, version in enumerate(spec["versions"]):
            schema = (version.get("schema") or {}).get("openAPIV3Schema")
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            if schema is None:
                found.append(Cause(path, "Required value: schemas are required", "FieldValueRequired"))
            else:
                found += check_structural(schema, path)
        return found

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """The same; and the group, the scope and the names that are in keys and URLs stay."""
        before, after = old["spec"], new["spec"]
        found = [*self.create_problems(new)]
        if _is_established(old):
            found += immutable("spec.scope", after.get("scope"), before.get("scope"))
            found += immutable("spec.names.kind", after["names"].get("kind"), before["names"].get("kind"))
        found += immutable("spec.group", after.get("group"), before.get("group"))
        found += immutable("spec.names.plural", after["names"].get("plural"), before["names"].get("plural"))
        found += stored_version_causes((new.get("status") or {}).get("storedVersions") or [], after["versions"])
        return found

    def status_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """Whoever has rewritten every object may take a version off the list, but not the one that is stored now."""
        stored = (new.get("status") or {}).get("storedVersions") or []
        return list(stored_version_causes(stored, new["spec"]["versions"]))

    def begin_deletion(self, obj: Object) -> None:
        """From this moment nothing is created any more."""
        told = ("True", "InstanceDeletionPending", DELETION_PENDING)
        status = obj.get("status") or {}
        conditions = with_condition(status.get("conditions") or (), TERMINATING, told, timestamp(now()))
        obj["status"] = {**status, "conditions": conditions}

    async def review(self, new: Known, old: Known | None) -> Sequence[Cause]:
        """The rules in the schemas compile and are bounded; field selectors point at fields."""
        if old is not None and old["spec"]["versions"] == new["spec"]["versions"]:
            return ()
        return await offload.aside(lambda: _version_problems(new["spec"]["versions"]))

    def _prepare(self, obj: Object) -> None:
        names = obj["spec"]["names"]
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
        obj["spec"].setdefault("conversion", {"strategy": "None"})


def _is_established(definition: Known) -> bool:
    condition = condition_of(definition.get("status") or {}, ESTABLISHED)
    return condition is not None and condition.get("status") == "True"


def _version_problems(versions: Sequence[Known]) -> list[Cause]:
    found: list[Cause] = []
    for index, version in enumerate(versions):
        schema, path = version["schema"]["openAPIV3Schema"], f"spec.versions[{index}]"
        found += check_selectable(version.get("selectableFields") or [], schema, f"{path}.selectableFields")
        found += check_rules(schema, f"{path}.schema.openAPIV3Schema")
    return found


class WebhookConfigurationStrategy(Strategy):
    """Its webhooks are its spec."""

    counts_generation: ClassVar[bool] = True

    async def review(self, new: Known, old: Known | None) -> Sequence[Cause]:
        """The expressions of its match conditions compile."""
        webhooks, known = new.get("webhooks") or (), (old or {}).get("webhooks") or ()
        if not any(webhook.get("matchConditions") for webhook in webhooks):
            return ()
        return await offload.aside(lambda: expression_causes(webhooks, known))


class AdmissionPolicyStrategy(Strategy):
    """A policy is mostly expressions."""

    async def review(self, new: Known, old: Known | None) -> Sequence[Cause]:
        """It is well-formed, and its expressions compile."""
        if old is not None and old["spec"] == new["spec"]:
            return ()
        return await offload.aside(lambda: list(admission_policy_causes(new)))
