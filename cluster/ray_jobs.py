"""Ray's Job API over HTTP: jobs that run in a cluster, and what becomes of them."""

from __future__ import annotations

import json
import platform
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from cluster.contract import ClusterError
from cluster.ray_address import TOKEN_HINT, ray_token

ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
_TRY_FOR_S = 15.0
_ASK_LIMIT_S = 10.0
_PAUSE_S = 1.0


@dataclass(frozen=True)
class RayJob:
    """What a cluster says of a job. `status` is Ray's word: PENDING, RUNNING or one of `ENDED`."""

    id: str
    status: str
    message: str = ""
    exit_code: int | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class RayJobs:
    """The jobs of the cluster whose dashboard is at `address` (http://HOST:8265).

    Every method raises `ClusterError` if the cluster does not answer or refuses.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def refuse_other_ray(self) -> None:
        """Raises `ClusterError` if nothing answers within 30 s, or the cluster's Ray differs."""
        import ray

        said = self._reach()
        theirs = said.get("ray_version")
        if theirs != ray.__version__:
            raise ClusterError(
                f"The cluster at {self.address} has Ray {theirs}, this process {ray.__version__}. "
                "Use the same version of both."
            )

    def submit(self, entrypoint: str, *, environment: Mapping[str, str], name: str) -> str:
        """Starts a shell command in the cluster, with variables set; gives its id.

        `name` is the id asked for: one that the cluster has had before is refused.
        """
        said = self._ask(
            "/api/jobs/",
            {
                "entrypoint": entrypoint,
                "submission_id": name,
                "runtime_env": {"env_vars": dict(environment)},
                "metadata": {"name": name},
            },
        )
        return str(said["submission_id"])

    def job(self, id: str) -> RayJob:
        """How a job stands."""
        said = self._ask(f"/api/jobs/{quote(id)}")
        code = said.get("driver_exit_code")
        return RayJob(id, str(said["status"]), str(said.get("message") or ""), code)

    def log(self, id: str) -> str:
        """All that a job has said so far."""
        return str(self._ask(f"/api/jobs/{quote(id)}/logs").get("logs") or "")

    def stop(self, id: str) -> None:
        """Asks a job to end, as SIGTERM does; one that has ended already is left as it is."""
        self._ask(f"/api/jobs/{quote(id)}/stop", {})

    def wait(self, id: str, limit_s: float) -> RayJob:
        """Waits until a job has ended. Raises `ClusterError` if it has not by the limit."""
        deadline = time.monotonic() + limit_s
        while not (job := self.job(id)).ended:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"The cluster at {self.address} did not carry out job {id} within "
                    f"{limit_s:.0f} s: {job.message or job.status}."
                )
            time.sleep(_PAUSE_S)
        return job

    def _reach(self) -> Mapping[str, Any]:
        deadline = time.monotonic() + _TRY_FOR_S
        while True:
            try:
                return self._ask("/api/version")
            except _NoAnswerError as error:
                if time.monotonic() + _PAUSE_S > deadline:
                    raise ClusterError(
                        f"{error} Tried for {_TRY_FOR_S:g} s. Give the address of the "
                        "cluster's dashboard (port 8265 by default; it needs ray[default])."
                    ) from error
                time.sleep(_PAUSE_S)

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        url = self.address + path
        headers = {"Content-Type": "application/json"}
        if token := ray_token():
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=_ASK_LIMIT_S) as answer:
                said = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise ClusterError(self._refused(url, error)) from error
        except json.JSONDecodeError as error:
            raise ClusterError(
                f"What answers at {url} is not Ray's dashboard: it sent no JSON."
            ) from error
        except OSError as error:
            why = getattr(error, "reason", None) or error
            raise _NoAnswerError(f"No Ray cluster answers at {url}: {why}.") from error
        if not isinstance(said, dict):
            raise ClusterError(f"What answers at {url} is not Ray's dashboard: it sent {said!r}.")
        return said

    def _refused(self, url: str, error: urllib.error.HTTPError) -> str:
        if error.code in (401, 403):
            return (
                f"The cluster at {self.address} wants a token, and not the one given (HTTP "
                f"{error.code}). {TOKEN_HINT}"
            )
        lines = [
            line for line in error.read().decode(errors="replace").splitlines() if line.strip()
        ]
        said = lines[-1][:300] if lines else error.reason
        return f"The cluster at {self.address} refused {url} (HTTP {error.code}): {said}"


class _NoAnswerError(ClusterError):
    """Nothing is there, or not now."""


def same_python(theirs: str) -> bool:
    """Whether a version of Python understands what this one pickles: major and minor are equal."""
    return theirs.split(".")[:2] == platform.python_version().split(".")[:2]
