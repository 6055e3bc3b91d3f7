"""The protocol: what Label Studio asks an ML backend, as a FastAPI application."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from partscope.errors import PartscopeError

from .labelling import read_labelling
from .model import Model

LEARNED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


def make_app(
    model: Model,
    *,
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
    auth: str | None = None,
    limit: int = 80_000_000,
    max_tasks: int = 256,
) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    model: predicts and learns.
    hosts: names under which the server may be addressed; others are refused (DNS rebinding).
    auth: `user:password` that every request must give (HTTP basic authentication), or None.
    limit: bytes of a request; a task may hold its picture as a data: address.
    max_tasks: tasks of one request.
    """
    app = FastAPI(title="partscope for Label Studio", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.middleware("http")
    async def check_auth(request: Request, call_next: Any) -> Any:
        given = request.headers.get("authorization", "")
        if auth is not None:
            wanted = "Basic " + base64.b64encode(auth.encode()).decode()
            if not hmac.compare_digest(given.encode(), wanted.encode()):
                return JSONResponse({"detail": "wrong user or password"}, 401, {"WWW-Authenticate": "Basic"})
        return await call_next(request)

    @app.exception_handler(PartscopeError)
    async def refuse(request: Request, error: PartscopeError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)

    async def body(request: Request) -> dict[str, Any]:
        # A page of the web can post text to this address without being asked, but no JSON.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, "send application/json")
        content = bytearray()
        async for piece in request.stream():
            content += piece
            if len(content) > limit:
                raise HTTPException(413, f"the request has more than {limit} bytes")
        try:
            data = json.loads(bytes(content))
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "the request is not valid JSON") from error
        if not isinstance(data, dict):
            raise HTTPException(400, "the request must be a JSON object")
        return data

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "UP", "model_class": type(model.detector).__name__, "model_version": model.version}

    @app.post("/setup")
    async def setup(request: Request) -> dict[str, Any]:
        data = await body(request)
        read_labelling(_text(data, "schema"), model.detector.parts_)
        return {"model_version": model.version}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        data = await body(request)
        tasks = data.get("tasks")
        if not isinstance(tasks, list) or len(tasks) > max_tasks:
            raise HTTPException(400, f"'tasks' must be a list of at most {max_tasks} tasks")
        results = await run_in_threadpool(model.predict, tasks, _text(data, "label_config"))
        return {"results": results, "model_version": model.version}

    async def learn(request: Request) -> JSONResponse:
        data = await body(request)
        event = data.get("action", data.get("event"))
        if event not in LEARNED:
            return JSONResponse({"status": "ignored", "action": event}, 200)
        task, annotation, project = (data.get(name) for name in ("task", "annotation", "project"))
        if not isinstance(task, dict) or not isinstance(annotation, dict):
            raise HTTPException(
                400, "the event has no task or no annotation; send the payload of annotations"
            )
        config = project.get("label_config") if isinstance(project, dict) else data.get("label_config")
        model.submit(task, annotation, _text({"label_config": config}, "label_config"))
        return JSONResponse({"status": "queued", "pending": model.pending}, 201)

    app.post("/webhook")(learn)
    app.post("/train")(learn)

    @app.get("/is_training")
    def is_training() -> dict[str, Any]:
        return {"is_training": model.pending > 0}

    @app.get("/versions")
    def versions() -> dict[str, Any]:
        return {"versions": model.versions(), "message": f"{model.version} is in use"}

    @app.get("/metrics")
    def metrics() -> dict[str, Any]:
        return {
            "model_version": model.version,
            "predicted": model.predicted,
            "learned": len(model.learned),
            "pending": model.pending,
            "failures": model.failures,
        }

    return app


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise HTTPException(400, f"'{name}' must be the labelling configuration as text")
    return value
