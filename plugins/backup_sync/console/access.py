"""Who asks, and what they may: as Airflow's own pages and API have it.

A plugin's routes are open to everybody unless they ask
(https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html).
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, bearer_scheme, get_user
from airflow.models.dag import DagModel
from airflow.sdk.configuration import conf
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials
from itsdangerous import BadSignature, URLSafeTimedSerializer

from backup_sync.settings import read_settings

User = GetUserDep
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)]

FORM_SECONDS = 12 * 3_600
"""How long a page's forms may be sent after it was loaded."""


def readable(user: Any) -> set[str]:
    """The ids of the DAGs that a user may look at."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def may_start(user: Any, dag_ids: Collection[str]) -> set[str]:
    """Those of the DAGs of which a user may start runs."""
    manager = get_auth_manager()
    return {
        dag_id
        for dag_id in dag_ids
        if manager.is_authorized_dag(
            method="POST",
            access_entity=DagAccessEntity.RUN,
            details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
            user=user,
        )
    }


def token_of(request: Request, bearer: HTTPAuthorizationCredentials | None) -> str:
    """The token with which the caller is known to Airflow."""
    return bearer.credentials if bearer else request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")


def by_bearer(bearer: Bearer, user: User) -> Any:
    """The user of a request that brings a token in its header. A cookie is sent along by any page that sends a browser here."""
    if bearer is None:
        raise HTTPException(403, "Send a token of Airflow as 'Authorization: Bearer …'; a cookie does not do here")
    return user


async def watcher(request: Request, bearer: Bearer) -> Any:
    """A user; or None for whoever brings the token that the section [backup_sync] gives to what watches (Prometheus, a load
    balancer), and may see all services."""
    token = read_settings().watch_token
    if token and bearer and hmac.compare_digest(bearer.credentials.encode(), token.encode()):
        return None
    return await get_user(request, None, bearer)


def form_token(user: Any) -> str:
    """What a form of a page carries, so that no page of somebody else can send it."""
    return _signer().dumps(user.get_id())


def check_form(request: Request, token: str, user: Any) -> None:
    """Raises HTTPException 403 unless the form is one of ours, for this user."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    try:
        asked = _signer().loads(token, max_age=FORM_SECONDS)
    except BadSignature:
        asked = None
    if asked != user.get_id() or site not in ("same-origin", "none"):
        raise HTTPException(403, "This form is not from here, or too old; load the page again")


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get("api", "secret_key"), salt="backup_sync console")
