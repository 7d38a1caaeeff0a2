"""From definitions to resources."""

from __future__ import annotations

from stark.apiserver.kinds import builtin_resources, resources_of
from stark.apiserver.resources import ScalePaths
from tests.support.wire_samples import CRONTAB, DEPLOYMENT, POD


def test_each_served_version_becomes_a_resource() -> None:
    beta, stable = resources_of(CRONTAB)
    assert [(r.version, r.storage_version) for r in (beta, stable)] == [("v1beta1", False), ("v1", True)]
    assert stable.custom
    assert stable.api_version == "stable.example.com/v1"
    assert (stable.list_kind, stable.singular, stable.short_names) == ("CronTabList", "crontab", ("ct",))
    assert [column.name for column in stable.columns] == ["Spec", "Replicas", "Age"]
    assert [column.name for column in beta.columns] == ["Age"], "a custom kind without columns shows its age"
    assert beta.deprecation_warning == "stable.example.com/v1beta1 CronTab is deprecated"
    assert stable.deprecation_warning == ""
    assert stable.merge_keys == {}, "custom resources have no strategic merge patch"


def test_subresources_scale_paths_selectable_fields_and_merge_keys_are_read() -> None:
    (deployment,) = resources_of(DEPLOYMENT, custom=False)
    assert deployment.subresources == ("status", "scale")
    assert deployment.scale == ScalePaths(".spec.replicas", ".status.replicas", ".spec.selector")
    assert deployment.merge_keys["spec.template.spec.containers"] == "name"
    (pod,) = resources_of(POD, custom=False)
    assert pod.selectable_fields == ("spec.nodeName",)
    assert (pod.group, pod.root, pod.group_resource, pod.scale) == ("", "/api/v1", "pods", None)


def test_the_built_in_kinds_are_served() -> None:
    served = {(r.group, r.version, r.plural) for r in builtin_resources()}
    assert {("", "v1", "pods"), ("apps", "v1", "deployments"), ("stark.dev", "v1", "packs")} <= served
    assert not any(r.custom for r in builtin_resources())
