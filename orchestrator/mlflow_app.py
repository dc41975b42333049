"""MLflow's server app with Orrery's defaults for its pages, for `mlflow server --app-name orrery`.

MLflow 3 opens on its GenAI pages, with an assistant beside them, and its table of runs shows no
metric; what a person has chosen it keeps in the browser's local storage. So the page is sent with
a script that puts choices there where none were made: model training, no assistant, each study's
saved view of its runs (`telemetry.sinks.mlflow_pages`), children shown under their parent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from telemetry.sinks.mlflow_pages import VIEW_TAG, state_of_view

if TYPE_CHECKING:
    from mlflow.entities import Experiment

STORE_VARIABLE = "ORRERY_PAGES_STORE"
"""The environment variable that names the store whose experiments' views are known."""
MOST_EXPERIMENTS = 1000
CHOICES = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
"""Keys of MLflow 3.17's pages; another version that does not know them is as it is by itself."""
_OUT = frozenset({b"content-length", b"etag", b"last-modified", b"cache-control"})
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"range", b"accept-encoding"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]


def create_app() -> App:
    """What `mlflow server --app-name orrery` serves."""
    from mlflow.server.fastapi_app import app

    return with_choices(app, _choices_of_store)


def with_choices(app: App, choices: Callable[[], dict[str, str]]) -> App:
    """`app`, whose page at ``/`` sets the choices that a browser has not made yet."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        from anyio import to_thread

        headers = [pair for pair in scope["headers"] if pair[0] not in _CONDITIONS]
        page = _Page(send, script(await to_thread.run_sync(choices)))
        await app({**scope, "headers": headers}, receive, page.send)

    return answer


def script(choices: dict[str, str]) -> str:
    """An HTML element that sets what local storage does not have."""
    told = json.dumps(choices).replace("<", "\\u003c")
    return (
        f"<script>for(const [k,v] of Object.entries({told}))"
        "try{if(localStorage.getItem(k)===null)localStorage.setItem(k,v)}catch(e){}</script>"
    )


def choices_of(experiments: Iterable[Experiment]) -> dict[str, str]:
    """The choices for everyone, and for the experiments that have a view of ours."""
    choices = dict(CHOICES)
    for experiment in experiments:
        state = state_of_view(experiment.tags.get(VIEW_TAG, ""))
        if state is not None:
            number = str(experiment.experiment_id)
            kept = f"MLflowLocalStorage-1.1-ExperimentPage-{json.dumps([number])}"
            choices[f"{kept}-ReactComponentState"] = state
            choices[f"MLflowLocalStorage-1.1-ExperimentView-{number}-expandRows"] = "true"
    return choices


def _choices_of_store() -> dict[str, str]:
    from mlflow import MlflowClient

    client = MlflowClient(os.environ[STORE_VARIABLE])
    return choices_of(client.search_experiments(max_results=MOST_EXPERIMENTS))


class _Page:
    """Passes a response on, an element added to the head of an HTML page."""

    def __init__(self, send: Send, element: str) -> None:
        self._send, self._element = send, element.encode()
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = self._body.replace(b"<head>", b"<head>" + self._element, 1)
        kept = [pair for pair in self._start["headers"] if pair[0].lower() not in _OUT]
        length = (b"content-length", str(len(body)).encode())
        fresh = (b"cache-control", b"no-store")
        await self._send({**self._start, "headers": [*kept, length, fresh]})
        await self._send({"type": "http.response.body", "body": body})
