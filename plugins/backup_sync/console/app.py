"""The application that Airflow's API server serves below ``/backup``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from backup_sync.console import calls, pages

HEADERS = {
    # The pages are shown in a frame of Airflow's own pages and of no others.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PROGRAMS = ("/sync", "/initialize", "/health", "/metrics")


def make() -> FastAPI:
    app = FastAPI(title="backup_sync", openapi_url=None, docs_url=None, redoc_url=None)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _said(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        # What was sent is not repeated: it may hold a secret.
        where = sorted({".".join(map(str, one["loc"])) for one in error.errors()})
        return _said(request, 422, f"The request cannot be read: {', '.join(where)}")

    app.include_router(pages.router)
    app.include_router(calls.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    return app


def _said(request: Request, status: int, text: str) -> Response:
    """A page for people, an object for programs."""
    path = request.url.path.removeprefix(request.scope["root_path"])
    if path.startswith(PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return JSONResponse({"Success": False, "Message": text, "detail": text}, status, headers)
    title = "Log in to Airflow first" if status == 401 else "This did not work"
    return pages.page(request, "message.html", status, title=title, text=text, running=False)
