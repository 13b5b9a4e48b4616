"""The pages: overview, service, run; and what their forms start. Server-rendered; all that they say is there without a script."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.utils.session import create_session
from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from backup_sync.console import access, chart, runs
from backup_sync.console.actions import Airflow
from backup_sync.console.board import GOOD, Event, Known, headline, sentence
from backup_sync.console.declared import DRILL, OTHERS, RESTORE, VERIFY
from backup_sync.console.orders import ORDERS, order
from backup_sync.console.overview import known
from backup_sync.model.fresh import span
from backup_sync.model.moments import parse, utc_now
from backup_sync.model.traces import alias_of

HERE = Path(__file__).parent
PAGE, POINTS = 50, 10
"""Runs on a page of a service, and restore points."""

router = APIRouter(default_response_class=HTMLResponse)


def _when(moment: Any) -> str:
    if isinstance(moment, str):
        moment = parse(moment)
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "–"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _number(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, (int, float)) else "–"


# Everything that is put into a page is escaped, whatever its name ends in.
_pages = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_pages.filters |= {
    "when": _when,
    "day": _day,
    "number": _number,
    "span": span,
    "quoted": lambda text: quote(text, safe=""),
}


def page(request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of the folder ``templates``. Below ``base`` are the console's own addresses, below ``airflow`` those of Airflow's UI."""
    base = request.scope["root_path"]
    text = _pages.get_template(name).render(base=base, airflow=base.removesuffix("/backup"), now=utc_now(), **values)
    return HTMLResponse(text, status)


@router.get("/")
def show_all(request: Request, user: access.User, session: SessionDep) -> Response:
    now = utc_now()
    found = known(session, access.readable(user))
    states = {one.service: one.state(now) for one in found}
    rows = sorted(found, key=lambda one: (states[one.service] == GOOD, one.service))
    says = {one.service: sentence(one, now) for one in found}
    return page(
        request, "overview.html", title="Backups", headline=headline(list(states.values())), rows=rows, states=states, says=says,
        running=any(one.running for one in found),
    )  # fmt: skip


@router.get("/service/{name}")
def show_service(
    request: Request, name: str, user: access.User, session: SessionDep, before: int | None = None
) -> Response:
    readable = access.readable(user)
    one = _one(session, readable, name)
    now = utc_now()
    rows = runs.runs(session, [dag for dag in (one.dag_id, VERIFY, DRILL) if dag in readable], PAGE, before=before)
    attempts = runs.attempts(session, rows, runs.tasks_of([name]))
    told = runs.measures(session, alias_of(name), now - timedelta(days=chart.DAYS))
    return page(
        request,
        "service.html",
        title=name,
        one=one,
        state=one.state(now),
        says=sentence(one, now),
        charts=_charts(told, now),
        attempts=[attempt for row in rows if (attempt := attempts.get((row.id, name))) is not None],
        older=rows[-1].id if len(rows) == PAGE else None,
        points=_points(session, one),
        orders=[found for found in ORDERS if access.may_start(user, [found.dag(one.dag_id)])],
        may_restore=bool(access.may_start(user, [RESTORE])),
        running=one.running is not None,
    )


@router.get("/run")
def show_run(
    request: Request, dag_id: str, run_id: str, service: str, user: access.User, session: SessionDep
) -> Response:
    readable = access.readable(user)
    one = _one(session, readable, service)
    rows = runs.runs(session, [dag_id], 1, run_id=run_id) if dag_id in {one.dag_id, *OTHERS} & readable else []
    tasks = runs.tasks_of_restore(service) if dag_id == RESTORE else runs.tasks_of([service])
    if dag_id == RESTORE:
        rows = [row for row in rows if (row.conf or {}).get("service") == service]
    attempt = runs.attempts(session, rows, tasks).get((rows[0].id, service)) if rows else None
    if attempt is None:
        raise HTTPException(404, "There is no such run")
    return page(
        request, "run.html", title=f"{service}: {run_id}", one=one, attempt=attempt, running=attempt.ended is None,
        restorable=bool(access.may_start(user, [RESTORE])),
    )  # fmt: skip


@router.get("/service/{name}/order/{verb}")
def ask(request: Request, name: str, verb: str, user: access.User, session: SessionDep, as_of: str = "") -> Response:
    """The page that asks for an order's parameters."""
    one = _one(session, access.readable(user), name)
    found = order(verb)
    if found is None or not access.may_start(user, [found.dag(one.dag_id)]):
        raise HTTPException(403, "Your role in Airflow may not start this")
    return page(
        request, "order.html", title=f"{found.label}: {name}", one=one, order=found, form_token=access.form_token(user),
        given={"as_of": as_of}, problem="", running=False,
    )  # fmt: skip


@router.post("/service/{name}/order/{verb}")
async def start(
    request: Request,
    name: str,
    verb: str,
    user: access.User,
    bearer: access.Bearer,
    form_token: Annotated[str, Form()],
) -> Response:
    """Start what was ordered, as the caller."""
    access.check_form(request, form_token, user)
    one = await asyncio.to_thread(_asked, user, name)
    found = order(verb)
    if found is None:
        raise HTTPException(404, "There is no such order")
    form = {key: str(value) for key, value in (await request.form()).items()}
    dag_id = found.dag(one.dag_id)
    try:
        conf = found.conf(name, form)
        async with Airflow(request, access.token_of(request, bearer)) as airflow:
            run_id = await airflow.start(dag_id, conf)
    except (ValueError, HTTPException) as error:
        problem = error.detail if isinstance(error, HTTPException) else str(error)
        status = error.status_code if isinstance(error, HTTPException) else 400
        return page(
            request, "order.html", status, title=f"{found.label}: {name}", one=one, order=found, given=form, problem=problem,
            form_token=access.form_token(user), running=False,
        )  # fmt: skip
    where = urlencode({"dag_id": dag_id, "run_id": run_id, "service": name})
    return RedirectResponse(f"{request.scope['root_path']}/run?{where}", 303)


def _one(session: Any, readable: set[str], name: str) -> Known:
    found = known(session, readable, name)
    if not found:
        raise HTTPException(404, "There is no such service, or you may not look at it")
    return found[0]


def _asked(user: Any, name: str) -> Known:
    # In a session of its own, which has ended when Airflow makes the run in another one.
    with create_session() as session:
        return _one(session, access.readable(user), name)


def _points(session: Session, one: Known) -> list[Event]:
    """The newest runs whose end can be restored, as far as Airflow knows: the backup may have thinned some out since."""
    since = one.restorable_since
    found = runs.newest_of(session, alias_of(one.service), since, POINTS) if since else []
    return [point for point in found if point.extra.get("RunNumber")]


def _charts(told: Sequence[Any], now: datetime) -> list[Mapping[str, Any]]:
    changes: list[tuple[datetime, float]] = []
    lasted: list[tuple[datetime, float]] = []
    records: list[tuple[datetime, float]] = []
    for at, inserted, updated, deleted, skipped, seconds in told:  # runs.MEASURED
        changes.append((at, (inserted or 0) + (updated or 0) + (deleted or 0)))
        records.append((at, (inserted or 0) + (updated or 0) + (skipped or 0)))
        lasted.append((at, seconds or 0))
    days = {
        "Changes a day": (chart.by_day(changes, now, total=True), ""),
        "Longest run of a day": (chart.by_day(lasted, now), " s"),
        "Records in the source": (chart.by_day(records, now), ""),
    }
    return [
        {"label": label, "most": chart.most(found, unit), "svg": chart.bars(label, found, unit)}
        for label, (found, unit) in days.items()
    ]
