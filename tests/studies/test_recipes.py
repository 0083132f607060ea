"""The recipes: their files follow recipes/README.md, their claimed numbers are the printed ones."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest

from polytask.config import Run
from polytask.core.toml import place, read_toml
from polytask.metrics import METRICS

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(path for path in RECIPES.glob("*/*.toml") if path.parent.name != "bases")
STUDIES = [path for path in FILES if not path.stem.startswith("sweep")]
SWEEPS = [path for path in FILES if path.stem.startswith("sweep")]
OVERALL = {"mfrr": "mean", "surgery": "mean", "swissbert": "mean",
           "triple-threat": "cs224n", "practices": "cs224n"}

# Every table and figure with results.
TABLES = {
    "mfrr": ["Table 2", "Text 5.4"],
    "surgery": ["Figure 3", "Figure 4", "Figure 5", "Text 5.4 (after Figure 3)",
                "Text 5.4 (after Figure 4)", "Text 6", "Abstract"],
    "triple-threat": [*(f"Table {n}" for n in range(1, 7)), "Table 7(a)", "Table 7(b)",
                      *(f"Table {n}" for n in range(8, 16)), "Text 4.3", "Text 5.1", "Text 5.5",
                      "Text 5.6", "Abstract", "Text 7"],
    "practices": ["Table 2", "Table 3", "Table 4", "Table 5", "Text 5.6", "Abstract"],
    "swissbert": ["Table 1", "Table 2", "Table 3", "Table 4"],
}
# What is not a result of a run: quoted examples, and a difference that is printed wrong (PX-4).
NO_RESULTS = {("practices", "Appendix A examples"), ("swissbert", "Section 6 examples"),
              ("practices", "Text 5.5")}

# Settings, methods and tables of the checklist; the rest is diagrams, plots, analyses, prose.
IDS = {
    "M": [1, *range(3, 7), *range(8, 32), 33, 34, 35, 36, 37, 38],
    "G": [1, *range(2, 24), 25, *range(27, 34), 35, 36, 37],
    "T": [*range(1, 9), *range(10, 14), *range(15, 33), 37],
    "P": [*range(1, 24)],
    "S": [*range(1, 25)],
}

# Rows whose printed overall score is not that of their printed parts, with the id that says so.
MISPRINTED = {
    ("triple-threat", "Table 9", "0.1 1 0.1"): "TX-3",
    ("practices", "Table 4", "SE + MNRL"): "PX-5",
    ("practices", "Table 4", "SE + cosine"): "PX-5",
}

STUDY_KEYS = {"title": str, "paper": str, "table": str, "base": str, "seeds": int, "rows": list}
STUDY_OPTIONS = {"against": str, "ids": list, "notes": list, "set": dict, "pilot": dict}
ROW_OPTIONS = {"printed": (str, list), "tasks": list, "set": dict, "pilot": dict, "claimed": dict,
               "ids": list, "ours": list}
SWEEP_KEYS = {"title": str, "paper": str, "base": str, "sampler": str, "trials": int,
              "metrics": list, "parameters": dict}
SWEEP_OPTIONS = {"ids": list, "notes": list, "set": dict, "pilot": dict, "pilot_parameters": dict}
CLAIM = re.compile(r"(train|dev|test)\.(\w+)\.(\w+)((\.\w+)*)|run\.(best_epoch|epochs)")
ENTRIES = {"per_label_accuracy": 1, "label_share": 1, "confusion": 2}
OTHER_METRICS = {"label_share", "confusion", "loss", "max_prediction"}


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def check_keys(table: Mapping[str, Any], required: dict[str, Any], options: dict[str, Any]) -> None:
    assert set(required) <= set(table) <= set(required) | set(options)
    for key, value in table.items():
        assert isinstance(value, {**required, **options}[key]), key


def keep(table: dict[str, Any], tasks: list[str] | None) -> dict[str, Any]:
    if tasks:
        table["tasks"] = {name: table["tasks"][name] for name in tasks}
    return table


def config(path: Path, study: Mapping[str, Any], row: Mapping[str, Any],
           pilot: bool) -> dict[str, Any]:
    """Return the run config of a row, as recipes/README.md says it is made."""
    table = read_toml(path.parent / study["base"])
    changes = [study.get("set", {}), row.get("set", {})]
    if pilot:
        changes += [study.get("pilot", {}), row.get("pilot", {})]
    for change in changes:
        for key, value in change.items():
            place(table, key, deepcopy(value))  # or a later key would reach into the study
    return keep(table, row.get("tasks"))


def claims(path: Path) -> dict[str, dict[str, str]]:
    """Return the claimed numbers of each row with the digits they are written with."""
    study = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=str)
    return {row["name"]: {key: str(value) for key, value in row.get("claimed", {}).items()}
            for row in study["rows"]}


def places(study: Mapping[str, Any], row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return where a row's claimed numbers are printed: tables and, mostly, row labels."""
    if not row.get("claimed"):
        return []
    printed = row.get("printed", row["name"])
    if isinstance(printed, str):
        return [(study["table"], printed)]
    return [(entry["table"], entry.get("row")) for entry in printed]


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_a_study_has_the_keys_of_the_schema(path: Path) -> None:
    study = read_toml(path)
    check_keys(study, STUDY_KEYS, STUDY_OPTIONS)
    assert study["paper"] == path.parent.name
    for row in study["rows"]:
        check_keys(row, {"name": str}, ROW_OPTIONS)
        for entry in row["printed"] if isinstance(row.get("printed"), list) else ():
            check_keys(entry, {"table": str}, {"row": str})
    names = [row["name"] for row in study["rows"]]
    assert study.get("against", names[0]) in names
    assert not [name for name in names if "," in name or name != name.strip()]
    folders = [re.sub(r"\W+", "-", name.lower()).strip("-") for name in names]
    assert len(set(folders)) == len(names)


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
@pytest.mark.parametrize("pilot", [False, True], ids=["full", "pilot"])
def test_every_row_is_a_config_without_mistakes(path: Path, pilot: bool) -> None:
    study = read_toml(path)
    for row in study["rows"]:
        run = Run.from_table(config(path, study, row, pilot), f"{name_of(path)}, {row['name']}")
        assert run.encoder.checkpoint == ("minilm" if pilot else "bert-base-uncased")


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
@pytest.mark.parametrize("pilot", [False, True], ids=["full", "pilot"])
def test_no_two_rows_are_the_same_run(path: Path, pilot: bool) -> None:
    study = read_toml(path)
    made = [config(path, study, row, pilot) for row in study["rows"]]
    halved = pilot and name_of(path) == "triple-threat/table-5"  # twelve layers on MiniLM's six
    assert len({repr(each) for each in made}) == len(made) // (2 if halved else 1)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_pilot_is_small_and_keeps_what_makes_a_row_different(path: Path) -> None:
    study = read_toml(path)
    pilot = study["pilot"]
    assert pilot["encoder.checkpoint"] == "minilm"
    assert pilot["train.epochs"] <= 3
    limits = {key: value for key, value in pilot.items() if key.endswith("limit")}
    assert limits and all(100 <= value <= 4000 for value in limits.values())
    for row in study.get("rows", ()):
        erased = {key for key in row.get("set", {}) for other in pilot
                  if key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")}
        assert erased <= set(row.get("pilot", {}))
    for key in study.get("parameters", {}):
        assert key not in pilot or key in study["pilot_parameters"]


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_a_row_of_the_pilot_takes_minutes(path: Path) -> None:
    """At most six for each pass, as planned, at MiniLM's thousand tokens a second on two slow cores."""
    study = read_toml(path)
    for row in study["rows"]:
        run = Run.from_table(config(path, study, row, True))
        passes = 3 if any(each.perturbs for each in run.train.regularizers) else 1
        assert 0 < planned_seconds(run) < 360 * passes, row["name"]


def planned_seconds(run: Run) -> float:
    rows = {name: task.limit or 0 for name, task in run.tasks.items()}
    tokens = {name: 65 if name == "cfimdb" else 25 if len(task.text) == 1 else 31
              for name, task in run.tasks.items()}
    trained, evaluations = 0.0, 0
    for phase in run.train.resolved():
        own = {name: rows[name] for name in phase.tasks or rows}
        sizes = phase.batch_sizes(own)
        assert phase.schedule.problem(own, own, sizes) is None
        # A perturbed pass costs two more, surgery a seventh.
        passes = {name: 3 if any(each.perturbs and each.acts_on(name) for each in phase.regularizers)
                  else 1 for name in own}
        evaluations += (epochs := phase.schedule.num_epochs(own, phase.epochs))
        for epoch in range(epochs):
            for step in phase.schedule.plan(own, sizes, epoch, phase.epochs, Random(epoch)):
                cost = sum(sum(draws) * tokens[name] * passes[name] for name, draws in step.items())
                trained += cost * (1.15 if phase.surgery else 1)
    seen = sum((task.dev_limit or 245) * tokens[name] for name, task in run.tasks.items())
    return (trained if run.encoder.trainable != "frozen" else 0) / 1000 + evaluations * seen / 3000


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_claimed_numbers_have_known_names(path: Path) -> None:
    study = read_toml(path)
    for row in study["rows"]:
        tasks = config(path, study, row, False)["tasks"]
        for key in row.get("claimed", {}):
            found = CLAIM.fullmatch(key)
            assert found, key
            _, task, metric, entries, *_ = found.groups()
            if task is None:
                continue
            plain = metric.removesuffix("_percent")
            if task == "overall":
                assert metric == OVERALL[study["paper"]]
            else:
                assert task in tasks
                assert plain in METRICS or plain in OTHER_METRICS, key
            assert entries.count(".") == ENTRIES.get(plain, 0), key


@pytest.mark.technique("T-5", "P-21", "S-23")
@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_claimed_overall_scores_are_those_of_their_parts(path: Path) -> None:
    study = read_toml(path)
    half = OVERALL[study["paper"]] == "cs224n"
    for row in study["rows"]:
        claimed = row.get("claimed", {})
        for split in ("dev", "test"):
            parts = [claimed.get(f"{split}.{part}")
                     for part in ("sst.accuracy", "quora.accuracy", "sts.pearson")]
            overall = claimed.get(f"{split}.overall.{OVERALL[study['paper']]}")
            if overall is None or None in parts:
                continue
            sst, quora, sts = parts
            computed = (sst + quora + ((1 + sts) / 2 if half else sts)) / 3
            misprint = MISPRINTED.get((study["paper"], study["table"], row["name"]))
            # Four numbers, each rounded to three digits.
            assert (abs(computed - overall) > 0.001) == bool(misprint), row["name"]
            assert misprint is None or any(misprint in note for note in study["notes"])


def published() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield paper, table, row label, our key and number of every result in published.tsv."""
    beside = Path(os.environ.get("POLYTASK_DATA", "")).parent / "reference" / "published.tsv"
    if "POLYTASK_DATA" not in os.environ or not beside.exists():
        pytest.skip("needs the reports' numbers beside the folder that POLYTASK_DATA names")
    with beside.open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if (line["paper"], line["table"]) in NO_RESULTS:
                continue
            where = line["paper"], line["table"], line["row_label"]
            yield *where, key_of(line), line["value"]
            if epoch := re.search(r" at (\d+) epochs$", line["row_label"]):
                yield *where, "run.best_epoch", epoch[1]


def key_of(line: Mapping[str, str]) -> str:
    """Return what recipes/README.md calls a number of published.tsv."""
    split, metric, label = line["split"], line["metric"], line["row_label"]
    if metric == "overall":
        return f"{split}.overall.{OVERALL[line['paper']]}"
    if metric in ("peak_epoch", "epochs_total"):
        return {"peak_epoch": "run.best_epoch", "epochs_total": "run.epochs"}[metric]
    task, _, rest = metric.partition("_")
    cell = re.search(r"row (\d) col (\d)", label)
    value = label.removeprefix("True Label ")
    return f"{split}.{task}." + {
        "f1_macro": "macro_f1",
        "class_accuracy": f"per_label_accuracy.{value}",
        "percent_of_values": f"label_share_percent.{value}",
        "confusion_count": f"confusion.{'.'.join(cell.groups()) if cell else ''}",
    }.get(rest, rest)


@pytest.mark.technique(
    "M-36", "M-37", "M-38", "G-31", "G-33", "G-35", "G-36", "T-22", "T-32", "T-43", "P-16", "P-23",
    "S-19", "S-24"
)
@pytest.mark.data
def test_every_printed_number_is_claimed_and_no_other() -> None:
    """To the digit, in both directions."""
    printed: dict[tuple[str, str, str], dict[str, str]] = {}
    for paper, table, label, key, value in published():
        printed.setdefault((paper, table, label), {})[key] = value
    assert {(paper, table) for paper, table, _ in printed} == {
        (paper, table) for paper, tables in TABLES.items() for table in tables}
    unclaimed = {(where, key) for where, cells in printed.items() for key in cells}
    for path in STUDIES:
        study, written = read_toml(path), claims(path)
        for row in study["rows"]:
            wanted: dict[str, str] = {}
            for table, label in places(study, row):
                found = [(where, cells) for where, cells in printed.items()
                         if where[:2] == (study["paper"], table) and label in (None, where[2])]
                assert found, f"{name_of(path)}, {row['name']}: no printed {table}, {label}"
                for where, cells in found:
                    chosen = {key: value for key, value in cells.items()
                              if not row.get("tasks") or key.split(".")[1] in row["tasks"]}
                    assert wanted.items() & chosen.items() == {
                        (key, wanted[key]) for key in wanted.keys() & chosen.keys()}
                    wanted |= chosen
                    unclaimed -= {(where, key) for key in chosen}
            assert written[row["name"]] == wanted, f"{name_of(path)}, {row['name']}"
    assert not unclaimed


@pytest.mark.parametrize("path", SWEEPS, ids=name_of)
@pytest.mark.parametrize("pilot", [False, True], ids=["full", "pilot"])
def test_a_sweep_moves_settings_that_exist(path: Path, pilot: bool) -> None:
    sweep = read_toml(path)
    check_keys(sweep, SWEEP_KEYS, SWEEP_OPTIONS)
    assert sweep["sampler"] in ("grid", "tpe")
    parameters = sweep["parameters"] | (sweep.get("pilot_parameters", {}) if pilot else {})
    assert set(parameters) == set(sweep["parameters"])
    combinations = 1
    for key, values in parameters.items():
        keys, choices = [key], values
        if isinstance(values, dict) and "keys" in values:
            check_keys(values, {"keys": list, "values": list}, {})
            keys, choices = values["keys"], values["values"]
        combinations *= len(choices)
        for choice in choices:
            table = config(path, sweep, {}, pilot)
            for each in keys:
                place(table, each, deepcopy(choice))
            Run.from_table(table, f"{name_of(path)}, {key} = {choice}")
    assert sweep["trials"] == combinations


def test_every_table_of_every_report_has_a_recipe() -> None:
    made = {(path.parent.name, path.stem) for path in STUDIES}
    wanted = {"mfrr": ["table-2"], "surgery": ["figure-3", "figure-4", "figure-5"],
              "triple-threat": [f"table-{n}" for n in range(1, 17)],
              "practices": [f"table-{n}" for n in range(2, 6)],
              "swissbert": [f"table-{n}" for n in range(1, 5)]}
    assert {(paper, stem) for paper, stems in wanted.items() for stem in stems} <= made
    assert {path.parent.name for path in SWEEPS} == set(wanted) - {"practices"}


def test_settings_methods_and_tables_of_the_checklist_are_in_a_recipe() -> None:
    ids = {each for path in FILES for each in ids_of(read_toml(path))}
    assert not [each for each in ids if not re.fullmatch(r"[MGTPS]-\d+", each)]
    assert not {f"{paper}-{n}" for paper, numbers in IDS.items() for n in numbers} - ids


@pytest.mark.data
def test_ids_are_those_of_the_checklist() -> None:
    next(published())
    reference = Path(os.environ["POLYTASK_DATA"]).parent / "reference" / "techniques.md"
    text = reference.read_text(encoding="utf-8")
    known = set(re.findall(r"^- \[.\] ([MGTPS]-\d+) ", text, re.MULTILINE))
    assert len(known) == 188
    known.add("T-43")  # which the checklist lacks
    assert {each for path in FILES for each in ids_of(read_toml(path))} <= known


def ids_of(study: Mapping[str, Any]) -> list[str]:
    rows = study.get("rows", ())
    return [*study.get("ids", ()), *(each for row in rows for each in row.get("ids", ()))]


def test_tables_15_and_16_of_triple_threat_are_the_same_runs() -> None:
    runs = {}
    for stem in ("table-15", "table-16"):
        path = RECIPES / "triple-threat" / f"{stem}.toml"
        study = read_toml(path)
        runs[stem] = {row["name"]: [config(path, study, row, pilot) for pilot in (False, True)]
                      for row in study["rows"]}
    assert runs["table-15"] == runs["table-16"]
