"""Runs started from here: by Airflow's own API, in this process, with the caller's token. So Airflow checks the caller's rights and
the parameters, and its audit log says who it was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import HTTPException, Request

AIRFLOW = "backup_sync.airflow"
"""In the scope of a request: the application that ours is mounted in."""

ENDED = ("success", "failed")


class Airflow:
    """Airflow's REST API as one caller sees it. ``token``: the caller's."""

    def __init__(self, request: Request, token: str) -> None:
        transport = httpx.ASGITransport(app=request.scope[AIRFLOW], client=request.client or ("127.0.0.1", 0))
        headers = {"Authorization": f"Bearer {token}"}
        if referer := request.headers.get("referer"):  # by which Airflow tells its UI from its API
            headers["Referer"] = referer
        self._client = httpx.AsyncClient(transport=transport, base_url="http://airflow", headers=headers)

    async def __aenter__(self) -> Airflow:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def start(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run; its id. Raises HTTPException with what Airflow has against it."""
        body = {"logical_date": None, "conf": dict(conf)}
        answer = await self._client.post(_runs(dag_id), json=body)
        return str(_good(answer)["dag_run_id"])

    async def wait(self, dag_id: str, run_id: str, seconds: float) -> str | None:
        """The state in which a run ends, or None if it has not within so long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            state = _good(await self._client.get(_run(dag_id, run_id)))["state"]
            if state in ENDED:
                return str(state)
            if asyncio.get_running_loop().time() >= deadline:
                return None
            await asyncio.sleep(1)

    async def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task of a run returned; None: nothing."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/xcomEntries/return_value"
        answer = await self._client.get(path, params={"deserialize": True})
        return None if answer.status_code == 404 else _good(answer)["value"]


def _runs(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_runs(dag_id)}/{quote(run_id, safe='')}"


def _good(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = "Airflow refused it"
    raise HTTPException(answer.status_code, detail if isinstance(detail, str) else "Airflow cannot read the request")
