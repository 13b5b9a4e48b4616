"""The routes for programs: start a sync and, if asked, wait for what it came to; health; metrics.

``POST /backup/sync``, ``/backup/sync/{service}`` and ``/backup/initialize`` take what an HTTP service with these routes took
(docs/migrate.md), and answer in the form of a run's summary: ``Success``, ``Message``, ``Results``, ``Timestamp``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.utils.session import create_session
from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response

from backup_sync.console import access, declared, metrics
from backup_sync.console.actions import Airflow
from backup_sync.console.board import GOOD, Known, sentence
from backup_sync.console.overview import known
from backup_sync.model.moments import iso, utc_now
from backup_sync.model.summary import build_summary

LONGEST = 86_400.0
INITIALIZE = "backup_initialize"

router = APIRouter()

Caller = Annotated[Any, Depends(access.by_bearer)]
Watcher = Annotated[Any, Depends(access.watcher)]
Asked = Annotated[dict[str, Any] | None, Body()]
Wait = Annotated[bool, Query(description="Answer when the run has ended, with what it came to.")]
Seconds = Annotated[float, Query(ge=0, le=LONGEST, description="Wait so long at most.")]
KNOWN = {"service": "service", "force": "force", "forceFullSync": "force"}


@router.post("/sync")
async def sync_all(
    request: Request, user: Caller, bearer: access.Bearer, asked: Asked = None,
    force: bool | None = None, wait: Wait = False, seconds: Seconds = 3_600,
) -> Response:  # fmt: skip
    """Sync all services, or the one named in the body (``{"service": "customer", "forceFullSync": true}``)."""
    given = dict(asked or {})
    unknown = sorted(set(given) - set(KNOWN))
    if unknown:
        raise HTTPException(400, f"unknown setting {', '.join(unknown)} in the body; known are: {', '.join(KNOWN)}")
    settings = {KNOWN[name]: value for name, value in given.items()}
    if not isinstance(settings.get("force", False), bool) or not isinstance(
        settings.get("service", ""), (str, type(None))
    ):
        raise HTTPException(400, 'the body has to be like {"service": "customer", "forceFullSync": true}')
    service = settings.get("service")
    how = {"force": bool(settings.get("force", False) if force is None else force)}
    return await _sync(request, user, bearer, None if service in (None, "", "all") else service, how, wait, seconds)


@router.post("/sync/{service}")
async def sync_one(
    request: Request, service: str, user: Caller, bearer: access.Bearer,
    force: bool = False, wait: Wait = False, seconds: Seconds = 3_600,
) -> Response:  # fmt: skip
    return await _sync(request, user, bearer, service, {"force": force}, wait, seconds)


@router.post("/initialize")
async def initialize(
    request: Request,
    user: Caller,
    bearer: access.Bearer,
    wait: Wait = False,
    seconds: Seconds = 3_600,
) -> Response:
    return await _start(request, bearer, [INITIALIZE], {}, wait, seconds)


@router.get("/health")
def health(user: Watcher, session: SessionDep) -> Response:
    """200 if every service is fresher than it has promised to be, 503 if not."""
    now = utc_now()
    found = _all(user, session)
    services = [
        {
            "ServiceName": one.service,
            "Status": one.state(now),
            "Fresh": not one.stale(now),
            "LastSuccess": iso(one.success.ended) if one.success else None,
            "FreshWithinSeconds": one.promise.total_seconds(),
            "Message": sentence(one, now) if one.state(now) != GOOD else None,
        }
        for one in found
    ]
    late = [one.service for one in found if one.stale(now)]
    message = (
        f"{len(late)} of {len(found)} services are stale: {', '.join(late)}"
        if late
        else f"{len(found)} services are fresh"
    )
    if not found:
        message = "no service is declared"
    healthy = bool(found) and not late
    body = {
        "Status": "Healthy" if healthy else "Unhealthy",
        "Message": message,
        "Services": services,
        "Timestamp": iso(now),
    }
    return JSONResponse(body, 200 if healthy else 503)


@router.get("/metrics")
def show_metrics(request: Request, user: Watcher, session: SessionDep) -> Response:
    """The state of all services, as OpenMetrics or in the text format of Prometheus."""
    body, content_type = metrics.text(_all(user, session), utc_now(), request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


def _all(user: Any, session: Any) -> list[Known]:
    """What a user may see; what watches (``user`` is None) sees all."""
    return known(session, declared.all_dags(session) if user is None else access.readable(user))


def _services(user: Any) -> list[declared.Declared]:
    # In a session of its own: that of the request would be held as long as somebody waits.
    with create_session() as session:
        return declared.services(session, access.readable(user))


async def _sync(
    request: Request,
    user: Any,
    bearer: Any,
    service: str | None,
    how: dict[str, Any],
    wait: bool,
    seconds: float,
) -> Response:
    found = await asyncio.to_thread(_services, user)
    wanted = [one for one in found if service in (None, one.service)]
    if not wanted:
        raise HTTPException(
            404, f"unknown service {service}" if service else "no service is declared, or you may not see any"
        )
    conf = how if service is None else {**how, "service": service}
    dag_ids = sorted({one.dag_id for one in wanted})
    if denied := sorted(set(dag_ids) - await asyncio.to_thread(access.may_start, user, dag_ids)):
        raise HTTPException(403, f"you may not start {', '.join(denied)}, so nothing was started")
    return await _start(request, bearer, dag_ids, conf, wait, seconds)


async def _start(
    request: Request, bearer: Any, dag_ids: Sequence[str], conf: dict[str, Any], wait: bool, seconds: float
) -> Response:
    """Start a run of each DAG, one after the other: what is refused of the first one starts nothing of the others."""
    async with Airflow(request, access.token_of(request, bearer)) as airflow:
        runs = [(dag_id, await airflow.start(dag_id, conf)) for dag_id in dag_ids]
        if not wait:
            return _told(202, True, f"started {len(runs)} run{'s' * (len(runs) > 1)}", runs)
        ends = await asyncio.gather(*(airflow.wait(*run, seconds) for run in runs))
        if None in ends:
            return _told(202, False, f"still running after {seconds:.0f} s", runs)
        good = all(end == "success" for end in ends)
        if dag_ids == [INITIALIZE]:
            message = (
                "everything is in place" if good else "a service could not be initialized; see the logs of the run"
            )
            return _told(200 if good else 500, good, message, runs)
        summaries = [await airflow.returned(*run, "summary") for run in runs]
    told = [summary for summary in summaries if isinstance(summary, dict)]
    body = build_summary([result for summary in told for result in summary["Results"]])
    good = good and len(told) == len(runs) and body["Success"]
    # A run that ended badly while its summary, if there is one, knows of nothing bad.
    silent = not good and body["Success"] and all(summary["Success"] for summary in told)
    message = "a run ended without a summary; see its tasks" if silent else body["Message"]
    return _told(200 if good else 500, good, message, runs, body["Results"])


def _told(
    status: int, success: bool, message: str, runs: Sequence[tuple[str, str]], results: Sequence[Any] = ()
) -> Response:
    """``runs``: DAG and id of each."""
    body = {
        "Success": success,
        "Message": message,
        "Runs": [{"DagId": dag_id, "RunId": run_id} for dag_id, run_id in runs],
        "Results": list(results),
        "Timestamp": iso(utc_now()),
    }
    return JSONResponse(body, status)
