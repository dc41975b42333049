"""What there is to run, found without loading any workload."""

from __future__ import annotations

from typing import Any

from workloads.registry import registered, study_folders


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Shipped studies (name, question, workload, presets, file) and registered workloads."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    studies = []
    for folder in study_folders():
        for path in sorted(folder.glob("*.yaml")):
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
            studies.append(
                {
                    "name": data["name"],
                    "question": " ".join(data["question"].split()),
                    "workload": data["workload"],
                    "presets": sorted(data.get("presets") or {}),
                    "file": str(path),
                }
            )
    workloads = [
        {"name": name, "source": point.value} for name, point in sorted(registered().items())
    ]
    return {"studies": studies, "workloads": workloads}
