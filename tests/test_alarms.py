"""Alarms and the dashboard speak of metrics that exist, and each alarm has its section in the runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tradepost.core.errors import DomainError
from tradepost.core.metrics import DECLARED, Counted, Timed
from tradepost.flows.checkout import checkout

ROOT = Path(__file__).parents[1]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "tradepost.rules.yml").read_text("utf-8"))
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "tradepost.json").read_text("utf-8"))
RUNBOOK = (ROOT / "docs" / "how-to" / "answer-alarms.md").read_text("utf-8")
WATCHING = (ROOT / "docs" / "how-to" / "watch-over-it.md").read_text("utf-8")
ALARMS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
SELECTOR = re.compile(r"\b(tradepost_[a-z_]+)(?:\{([^}]*)\})?")


def expressions() -> Iterator[str]:
    yield from (alarm["expr"] for alarm in ALARMS)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (str(one["query"]) for one in DASHBOARD["templating"]["list"])


def samples() -> dict[str, set[str]]:
    """Return every sample that is told, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in DECLARED:
        labels = {*metric.labels, "instance", *(() if metric.is_shared else ("process",))}
        if isinstance(metric, Timed):
            found |= {
                f"{metric.name}_bucket": labels | {"le"},
                f"{metric.name}_count": labels,
                f"{metric.name}_sum": labels,
            }
        else:
            found[metric.name] = labels
    return found


def test_every_metric_spoken_of_exists_with_its_labels() -> None:
    told = samples()
    spoken = set()
    for expression in expressions():
        for name, matchers in SELECTOR.findall(expression):
            assert name in told, f"{name} in {expression}"
            spoken.add(name)
            used = {part.partition("=")[0].rstrip("!~ ") for part in re.findall(r"[a-z_]+\s*[=!~]+", matchers)}
            assert {one.rstrip("=!~ ") for one in used} <= told[name], expression
    assert len(spoken) >= 25


def test_what_is_summed_by_is_a_label() -> None:
    told = samples()
    for expression in expressions():
        names = [name for name, _ in SELECTOR.findall(expression)]
        for group in re.findall(r"by \(([a-z_, ]+)\)", expression):
            wanted = {label.strip() for label in group.split(",")}
            for name in names:
                assert wanted <= told[name], expression


def test_every_metric_is_shown_and_described() -> None:
    shown = " ".join(expressions())
    for metric in DECLARED:
        if metric.name.startswith("tradepost_test"):
            continue
        assert f"`{metric.name}`" in WATCHING
        if metric.name != "tradepost_process_start_timestamp_seconds":
            assert metric.name in shown


def test_each_alarm_has_its_section_in_the_runbook_and_no_other() -> None:
    names = [alarm["alert"] for alarm in ALARMS]
    assert len(names) == len(set(names)) >= 12
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == names
    for alarm in ALARMS:
        assert alarm["annotations"]["runbook"] == f"answer-alarms.md#{alarm['alert'].lower()}"
        assert alarm["annotations"]["summary"]
        assert alarm["labels"]["severity"] in {"page", "ticket"}


def test_errors_that_alarms_look_for_are_errors_of_ours() -> None:
    def below(kind: type) -> set[str]:
        return {name for child in kind.__subclasses__() for name in {child.__name__} | below(child)}

    assert checkout  # imports every error that an order can end in
    (alarm,) = (alarm for alarm in ALARMS if alarm["alert"] == "CheckoutsFailing")
    (outcomes,) = re.findall(r'outcome=~"([A-Za-z|]+)"', alarm["expr"])
    assert set(outcomes.split("|")) <= below(DomainError)


@pytest.mark.parametrize("kind", [Counted, Timed])
def test_names_are_as_prometheus_wants_them(kind: type) -> None:
    for metric in DECLARED:
        if isinstance(metric, kind):
            assert re.fullmatch(r"tradepost(_[a-z]+)+", metric.name)
            assert metric.name.endswith("_total") == (isinstance(metric, Counted) and metric.kind == "counter")


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
