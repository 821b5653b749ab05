"""Whether the server has the rights that it uses, asked of the API server one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from ...base import BackendError
from ...findings import Finding, fail, ok, warn
from ..connect import Connection, Refused
from ..deploy.rights import Right
from ..settings import KubernetesSettings

_REVIEWS = "/apis/authorization.k8s.io/v1"
AT_ONCE = 8


async def rights(
    api: Connection,
    settings: KubernetesSettings,
    wanted: Sequence[Right],
    account: str = "",
    *,
    spared: Collection[Right] = (),
) -> list[Finding]:
    """``account``: the ServiceAccount that the server has; empty: whoever asks is the server. ``spared``: those of
    ``wanted`` that it was left without on purpose: what is lost by that is told.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def asked(right: Right) -> bool:
        async with slots:
            return await _may(api, settings, right, account)

    who = f"The ServiceAccount {account}" if account else "This account"
    try:
        answers = await asyncio.gather(*map(asked, wanted))
    except Refused as refused:
        if refused.status != 403:
            raise
        return [
            warn(
                "rights",
                f"You may not ask what {account or 'this account'} may do.",
                "Run it as somebody who may create subjectaccessreviews.authorization.k8s.io, or in the service's pod.",
            )
        ]
    except BackendError as error:
        return [fail("rights", error.message, error.remedy)]
    lacking = [right for right, may in zip(wanted, answers, strict=True) if not may]
    missing = [right for right in lacking if right not in spared]
    without = [right for right in lacking if right in spared]
    told = _lost(who, without)
    if not missing:
        have = len(wanted) - len(without)
        others = " other" if without else ""
        return [ok("rights", f"{who} may do all {have}{others} things that the server does."), *told]
    return told + [
        fail(
            "rights",
            f"{who} lacks the right to {right}"
            + (" in the whole cluster" if right.cluster else f" in {settings.namespace}")
            + f", needed to {right.why}.",
            "Run `jupyter trainjob deploy`, or have the cluster's operator apply what its --dry-run -o yaml prints.",
        )
        for right in missing
    ]


def _lost(who: str, without: Sequence[Right]) -> list[Finding]:
    """One remark for each kind of object."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in without:
        verbs.setdefault((right.resource, right.lost), []).append(right.verb)
    return [
        warn(
            "rights",
            f"{who} may not {' and '.join(may)} {resource} in the whole cluster: {lost}.",
            "Nothing, if that is meant. Else set KubernetesDeploySettings.all_pods and leave_out otherwise, or have "
            "the cluster's operator apply what `jupyter trainjob deploy --dry-run -o yaml --only cluster-rights` says.",
        )
        for (resource, lost), may in verbs.items()
    ]


async def _may(api: Connection, settings: KubernetesSettings, right: Right, account: str) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {"group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb}
    if not right.cluster:
        attributes["namespace"] = settings.namespace
    kind = "SelfSubjectAccessReview"
    spec: dict[str, Any] = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    if account:
        kind = "SubjectAccessReview"
        spec["user"] = f"system:serviceaccount:{settings.namespace}:{account}"
        spec["groups"] = [
            "system:serviceaccounts",
            f"system:serviceaccounts:{settings.namespace}",
            "system:authenticated",
        ]
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    reply = await api.request("POST", f"{_REVIEWS}/{kind.lower()}s", body=body)
    return bool((reply.body.get("status") or {}).get("allowed"))
