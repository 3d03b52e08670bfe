"""The chart's alerts by real promtool: each fires for the pool that it is about, and none for another of that name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from kube_api import binary

pytestmark = pytest.mark.api

CHART = Path(__file__).parents[2] / "charts/dslite"
HEALTHY = {
    "dslite_ready": 1.0, "dslite_slot_open": 1.0, "dslite_config_refused": 0.0, "dslite_port_utilisation_ratio": 0.5,
    "dslite_slot_table_entries": 50.0, "dslite_slot_table_capacity": 100.0, "dslite_worker_utilisation_ratio": 0.5,
}  # fmt: skip
GONE = float("nan")
STEP_S, STEPS = 15, 80
FAULTS = {
    "AftrNotReady": {"dslite_ready": 0.0},
    "AftrSlotUnserved": {"dslite_slot_open": 0.0},
    "AftrPoolGone": dict.fromkeys(HEALTHY, GONE),
    "AftrConfigurationRefused": {"dslite_config_refused": 1.0},
    "AftrPortsRunOut": {"dslite_port_utilisation_ratio": 0.9},
    "AftrTableRunsFull": {"dslite_slot_table_entries": 90.0},
    "AftrWorkersBusy": {"dslite_worker_utilisation_ratio": 0.95},
}
FIRING = 'group by (alertname, namespace, dslite_dev_pool) (ALERTS{alertstate="firing"})'


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules of the chart's PrometheusRule, as Prometheus has them."""
    options = ("--set=monitoring.prometheusRule=true", "--show-only=templates/monitoring.yaml")
    command = [str(binary("helm")), "template", "dslite", str(CHART), *options]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(made.stdout)["spec"]))
    return file


def series(namespace: str, pod: str, **changed: float) -> list[dict[str, str]]:
    """What Prometheus scrapes from an AFTR of the pool east: well for a while, then with what has changed."""
    labels = f'namespace="{namespace}",dslite_dev_pool="east",pod="{pod}",slot="0",table="mappings",worker="0"'
    after = {name: "stale" if value is GONE else f"{value}+0x{STEPS}" for name, value in (HEALTHY | changed).items()}
    return [
        {"series": f"{name}{{{labels}}}", "values": f"{value}+0x20 {after[name]}"} for name, value in HEALTHY.items()
    ]


def check(rules: Path, scraped: list[dict[str, str]], alert: str) -> None:
    """That this alert fires for edge/east at the end, or none ("")."""
    about = f'{{alertname="{alert}", namespace="edge", dslite_dev_pool="east"}}'
    expected = [{"labels": about, "value": 1}] if alert else []
    at_the_end = {"expr": FIRING, "eval_time": f"{STEP_S * STEPS}s", "exp_samples": expected}
    test = {"interval": f"{STEP_S}s", "input_series": scraped, "promql_expr_test": [at_the_end]}
    given = {"rule_files": [str(rules)], "evaluation_interval": f"{STEP_S}s", "tests": [test]}
    file = rules.parent / "tests.yaml"
    file.write_text(yaml.safe_dump(given))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_fault(rules: Path) -> None:
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == list(FAULTS)


@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_fires_for_its_pool_and_no_other_does(alert: str, rules: Path) -> None:
    """Both AFTRs of edge/east have it; core/east is well, and hides nothing."""
    scraped = [one for pod in ("a", "b") for one in series("edge", pod, **FAULTS[alert])]
    check(rules, [*scraped, *series("core", "c")], alert)


def test_nothing_fires_when_one_of_two_goes_and_the_other_serves_its_slots(rules: Path) -> None:
    check(rules, [*series("edge", "a"), *series("edge", "b", **FAULTS["AftrPoolGone"])], "")
