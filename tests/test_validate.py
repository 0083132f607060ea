"""One stage says whether a run can work: with its settings alone, then with its data, encoder and network.

Whatever it refuses leaves no folder; whatever it accepts, no later stage refuses.
"""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from polytask.commands.check import refusals
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError
from polytask.core.registry import Family
from polytask.core.settings import from_table, to_table
from polytask.core.toml import place
from polytask.learn.phase_plan import phases_of
from polytask.learn.train_settings import Train
from polytask.training.build import build, read_data, starting_point
from polytask.validate import Known, _smallest_batch, problems, validate

# What a component needs of the run around it to be at home there.
HOME: dict[str, dict[str, Any]] = {
    "losses ordinal_log_loss": {"tasks.sst.kind": "ordinal"},
    **{f"losses {name}": {"tasks.quora.pairing": "bi_encoder", "tasks.quora.head": "cosine"}
       for name in ("cosine_embedding", "multiple_negatives", "sim_cse")},
    "heads cosine": {"tasks.sts.pairing": "bi_encoder"},
}
WHERE = {"losses": "tasks.{task}.loss", "heads": "tasks.{task}.head", "pairings": "tasks.{task}.pairing",
         "poolings": "encoder.pooling", "adapters": "encoder.adapter", "schedules": "train.schedule",
         "weightings": "train.weighting", "surgeries": "train.surgery"}


def changed(table: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(table)
    for key, value in changes.items():
        place(made, key, value)
    return made


def told(table: dict[str, Any]) -> list[str]:
    """Return what the settings alone are refused for."""
    try:
        Run.from_table(table, "")
    except ConfigError as error:
        return [each.removeprefix(": ") for each in error.problems]
    return []


A_TASK = {"train": "t.csv", "text": "sentence", "label": "stars"}
BAD: list[tuple[dict[str, Any], str]] = [
    # settings alone
    ({"tasks.sst.dev": 1.5}, "tasks.sst.dev: found 1.5, expected a file or a fraction between 0 and 1"),
    ({"tasks.sts.range": [5, 0]}, "tasks.sts.range: found [5.0, 0.0], expected [lowest, highest]"),
    ({"tasks.quora.text": ["a", "a"]}, 'tasks.quora.text: found column "a" twice, expected two different'),
    ({"tasks.all": A_TASK}, "tasks.'all' is what predict --task and the server's requests call all tasks"),
    ({"tasks.overall": A_TASK}, "tasks.'overall' is what the results call all tasks together"),
    ({"tasks.sst.label": "sentence"}, 'tasks.sst.label: column "sentence" is a text as well'),
    ({"tasks.sst.split": "part"}, 'tasks.sst.split: column "part" says which rows are dev and test'),
    ({"tasks.quora.threshold": "acuracy"}, "tasks.quora.threshold found 'acuracy', expected a number, "
     "or 'tuned' or 'accuracy'; did you mean \"accuracy\"?"),
    ({"tasks.sst.metrics": ["acuracy"]}, '"acuracy" is not a metric; did you mean'),
    ({"tasks.sst.pairing": "cross_encoder"}, "tasks.sst.pairing: \"cross_encoder\" takes 2 text columns"),
    ({"tasks.quora.head": "cosine"}, 'tasks.quora.head: "cosine" compares two vectors'),
    ({"tasks.quora.loss": "multiple_negatives"}, 'tasks.quora.loss: "multiple_negatives" needs two'),
    ({"tasks.sts.loss": "cosine_embedding"}, "tasks.sts.loss: cosine_embedding would leave head"),
    ({"tasks.quora.head": {"type": "shared", "hidden": 8}, "tasks.sts.head": "shared"},
     'tasks.sts.head: layer "shared" is 1000 by 8 in another task and 3000 by 256 here'),
    ({"encoder.trainable": "frozen", "encoder.adapter": "lora"}, "encoder.adapter: an adapter needs"),
    ({"train.tasks": ["sst", "quorra"]}, 'train.tasks: "quorra" is not a task; did you mean "quora"'),
    ({"train.tasks": []}, "train.tasks: the phase has no tasks"),
    ({"train.batch_size": {"stss": 4}}, 'train: batch_size names "stss", which is not a task here'),
    ({"train.weighting": {"type": "fixed", "weights": {"x": 1.0}}}, 'train.weighting: weighting "fixed"'),
    ({"train.surgery": "pcgrad", "train.schedule": "proportional"}, 'train.surgery: "pcgrad" compares'),
    ({"train.gradient_cosines": 5, "train.schedule": "proportional"}, "train.gradient_cosines: it comp"),
    ({"train.regularizers": [{"type": "smart", "tasks": ["stt"]}]}, "train.regularizers.0.tasks: found"),
    ({"train.optimizer.layer_rates": {"stt": {"0": 1.0}}}, "train.optimizer.layer_rates: found a table"),
    ({"train.score": "accuracy"}, 'train.score: "accuracy" is not a score'),
    ({"train.phases": [{"phases": []}]}, "train.phases.0.phases: a phase has no phases"),
    ({"train.phases": [{}, {"score": "mean"}]}, "train.phases.1.score: one score picks"),
    # numbers that nothing can take
    ({"seed": 2**70}, "seed found 1180591620717411303424, expected less than or equal to"),
    ({"seed": -1}, "seed found -1, expected greater than or equal to 0"),
    ({"data.max_length": 2**40}, "data.max_length found 1099511627776, expected less than"),
    ({"train.epochs": 10**7}, "train.epochs found 10000000, expected less than"),
    ({"train.schedule": {"type": "annealed", "draws": 2**32}}, "draws: found 4294967296, expected 1"),
    ({"train.schedule": {"type": "proportional", "steps": 2**33}}, "steps: found 8589934592, expected 1"),
    ({"train.schedule": {"type": "batch_round_robin", "end": 2**33}}, "end: found 8589934592, expected 1"),
    ({"train.schedule": {"type": "annealed", "start": -1e9}}, "start found -1000000000.0, expected"),
    ({"train.schedule": {"type": "biased", "weights": {"sst": 1e308}}}, "found 1e+308, expected 0 to"),
    ({"train.regularizers": [{"type": "smart", "steps": 2**64}]}, "steps found 18446744073709551616"),
    ({"tasks.sst.head": {"type": "mlp", "hidden": 2**40}}, "hidden found 1099511627776, expected"),
    ({"encoder.adapter": {"type": "pal", "size": 12 * 2**40}}, "size found 13194139533312, expected"),
    ({"encoder.adapter": {"type": "lora", "rank": 2**40}}, "rank found 1099511627776, expected less than"),
]
# What only the data, the encoder or the network can tell.
LATE: list[tuple[dict[str, Any], str]] = [
    ({"data.max_length": 100}, "data.max_length: found 100, expected at most 64"),
    ({"encoder.trainable": [0, 2]}, "encoder.trainable: found layer 2, expected 0 to 1"),
    ({"encoder.adapter": {"type": "lora", "targets": ["quary"]}}, 'encoder.adapter: targets: found'),
    ({"train.surgery": {"type": "pcgrad", "layers": [7]}}, "train.surgery.layers: found layer 7"),
    ({"train.optimizer.layer_rates": {"9": 0.5}}, "train.optimizer.layer_rates: found layer 9"),
    ({"tasks.sst.loss": "mean_squared_error"}, 'tasks.sst.loss: loss "mean_squared_error" needs'),
    ({"tasks.sst.loss": {"type": "cross_entropy", "class_weights": [1.0, 2.0]}},
     "tasks.sst.loss: class_weights: found 2 weights"),
    ({"tasks.sts.loss": ["mean_squared_error", "multiple_negatives"], "train.batch_size": 1},
     "tasks.sts.loss: \"multiple_negatives\" uses the other rows of a batch"),
    ({"tasks.sts.loss": ["mean_squared_error", "multiple_negatives"], "train.accumulate": 8},
     "tasks.sts.loss: \"multiple_negatives\" uses the other rows of a batch as negatives, but the smallest "
     "batch (batch_size, schedule, accumulate) has 1 row; use 2 or more"),
    ({"train.score": "sst.pearson"}, 'train.score: "sst.pearson": task "sst" has no metric'),
    ({"encoder.trainable": "frozen", "train.surgery": "pcgrad"}, "train.surgery: no weight there is"),
    ({"encoder.trainable": "frozen", "train.regularizers": [{"type": "norm", "over": "encoder"}]},
     "train.regularizers.0: norm: over"),
]


@pytest.mark.parametrize(("changes", "said"), BAD, ids=str)
def test_settings_that_cannot_work_are_refused_when_they_are_read(
        small_table: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    found = told(changed(small_table, **changes))
    assert any(said in each for each in found), found


@pytest.mark.parametrize(("changes", "said"), LATE, ids=str)
def test_what_the_data_or_the_encoder_tell_is_refused_before_a_folder_exists(
        small_table: dict[str, Any], tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    run = Run.from_table(changed(small_table, **changes), "")
    with pytest.raises(ConfigError) as error:
        train(run, tmp_path / "run", quiet=True)
    assert any(each.startswith(said) for each in error.value.problems), error.value.problems
    assert not (tmp_path / "run").exists()


def test_all_mistakes_of_a_config_are_reported_at_once(small_table: dict[str, Any]) -> None:
    changes = {"tasks.sst.dev": 1.5, "tasks.sst.pairing": "cross_encoder", "tasks.quora.head": "cosine",
               "tasks.sts.range": [5, 0], "train.tasks": ["sst", "a", "b"], "train.score": "nonsense"}
    found = told(changed(small_table, **changes))
    for start in ("tasks.sst.dev", "tasks.sst.pairing", "tasks.quora.head",
                  "tasks.sts.range", 'train.tasks: "a"', 'train.tasks: "b"', "train.score"):
        assert sum(each.startswith(start) for each in found) == 1, (start, found)
    assert len(found) == 7


def test_mistakes_in_data_encoder_and_settings_of_phases_are_reported_together(
        small_table: dict[str, Any]) -> None:
    table = changed(small_table, **{
        "data.max_length": 100, "tasks.sst.loss": "mean_squared_error", "encoder.trainable": [5],
        "train.phases": [{}, {"optimizer": {"layer_rates": {"9": 0.5}}}]})
    with pytest.raises(ConfigError) as error:
        build(Run.from_table(table, ""), quiet=True)
    assert [each.partition(":")[0] for each in error.value.problems] == [
        "tasks.sst.loss", "data.max_length", "encoder.trainable", "train.phases.1.optimizer.layer_rates"]
    assert list(refusals({"row": Run.from_table(table, "")}, quiet=True)) == error.value.problems


@pytest.mark.parametrize("name", ["keys", "../../x", "a.b", "", "x" * 200, "2nd"])
def test_a_task_that_cannot_be_a_module_or_a_folder_is_refused(
        small_table: dict[str, Any], name: str) -> None:
    small_table["tasks"][name] = small_table["tasks"]["sst"]
    assert any(each.startswith(f"tasks.{name!r} ") for each in told(small_table))


@pytest.mark.parametrize("settings", [
    {"train.optimizer.layer_decay": 0.9}, {"train.optimizer.layer_rates": {"1": 0.5}},
    {"encoder.trainable": [1]}, {"train.surgery": {"type": "pcgrad", "layers": [1]}},
])
def test_layers_that_share_their_weights_cannot_be_distinguished(
        small_table: dict[str, Any], settings: dict[str, Any]) -> None:
    albert = SimpleNamespace(num_layers=2, shared_layers=True, kind="albert", width=16, max_length=64)
    run = Run.from_table(changed(small_table, **settings), "")
    assert list(problems(run)) == []
    assert ['share their weights' in said for said in problems(run, Known(encoder=albert))] == [True]


def defaults() -> list[tuple[str, str]]:
    return [(plural, name) for plural in WHERE for name in sorted(Family.all[plural].members)
            if Family.all[plural].members[name].__module__.startswith("polytask.")]


@pytest.mark.parametrize(("plural", "name"), defaults())
def test_every_component_with_its_defaults_is_built_or_refused_by_this_stage(
        small_table: dict[str, Any], plural: str, name: str) -> None:
    """What settings, data and encoder pass is built; nothing but the stage itself refuses it."""
    component: Any = Family.all[plural].members[name]
    try:
        value = to_table(component())
    except ConfigError:
        pytest.skip("a field of it has no default")
    tasks = ("sst", "quora", "sts") if "{task}" in WHERE[plural] else ("",)
    refused = {task: refusals_of(changed(small_table, **HOME.get(f"{plural} {name}", {}),
                                         **{WHERE[plural].format(task=task): value})) for task in tasks}
    for task, found in refused.items():
        about = (WHERE[plural].format(task=task), f"tasks.{task}.", "train.score")
        assert all(said.startswith(about) for said in found), found
    assert not all(refused.values()), refused


def refusals_of(table: dict[str, Any]) -> list[str]:
    """Return what a run is refused for before its network is built; building it raises nothing."""
    try:
        run = Run.from_table(table, "")
        start = starting_point(run)
        validate(run, Known(read_data(run, start.tokenizer, quiet=True), start.encoder))
    except ConfigError as error:
        return [said.removeprefix(": ") for said in error.problems]
    build(run, quiet=True)
    return []


@pytest.mark.parametrize("scale", ["unit", "raw"])
@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_rows_that_are_positive_on_any_scale_are_found(
        small_table: dict[str, Any], scale: str, head: str) -> None:
    assert refusals_of(changed(small_table, **{
        "tasks.sts.pairing": "bi_encoder", "tasks.sts.label_scale": scale, "tasks.sts.head": head,
        "tasks.sts.loss": ["mean_squared_error", "multiple_negatives"]})) == []


def test_a_pair_read_both_ways_has_the_vectors_that_a_loss_compares(small_table: dict[str, Any]) -> None:
    table = changed(small_table, **{"tasks.quora.pairing": "cross_bi_encoder",
                                    "tasks.quora.loss": ["binary_cross_entropy", "multiple_negatives"]})
    assert refusals_of(table) == []
    assert refusals_of(changed(table, **{"tasks.quora.loss": "multiple_negatives"}))


@pytest.mark.parametrize("schedule", ["full_data", "balanced"])
def test_a_batch_is_what_the_schedule_makes_of_the_batch_size(schedule: str) -> None:
    train = from_table(Train, {"schedule": schedule, "batch_size": {"a": 4, "b": 32}, "accumulate": 2}, "")
    rows = {"a": 400, "b": 100 if schedule == "full_data" else 4000}
    planned = [step["b"][0] for step in phases_of(train, rows, 1)[0].plan(0)]
    assert _smallest_batch(train, "b", rows) == max(planned) // 2


def test_a_set_with_fewer_rows_than_its_batch_size_is_drawn_whole(small_table: dict[str, Any]) -> None:
    built = build(Run.from_table(changed(small_table, **{"train.batch_size": 1000}), ""), quiet=True)
    (phase,) = phases_of(built.run.train, built.training_set.rows, built.run.seed)
    assert phase.sizes == dict(built.training_set.rows)
    assert phase.num_steps == 2 and phase.counts.updates == {"sst": 2, "quora": 2, "sts": 2}


def test_a_task_that_gets_no_update_is_noted(small_table: dict[str, Any]) -> None:
    table = changed(small_table, **{"train.max_steps": 2, "train.schedule": "sequential"})
    notes = "\n".join(build(Run.from_table(table, ""), quiet=True).notes)
    assert "quora is never drawn in 2 steps" in notes and "sts is never drawn in 2 steps" in notes
    assert "sst is never drawn" not in notes


def test_every_component_judges_itself_in_one_method() -> None:
    for plural, family in Family.all.items():
        for name, member in family.members.items():
            strange = {entry for entry in dir(member) if "problem" in entry and not entry.startswith("_")}
            assert strange <= {"problem"}, (plural, name, strange)


@pytest.mark.parametrize(("changes", "processes", "text"), [
    ({}, 16, "train.batch_size: 16 processes cannot share a batch of \"sst\", which has 8 rows; start at "
             "most 8 processes, or raise the batch size"),
    ({"train.accumulate": 9}, 1,
     'train.accumulate: 9 is more than the 8 rows of a batch of "sst"; expected at most 8'),
    ({"train.accumulate": 4}, 4, "train.accumulate: 4 processes cannot share a part of a batch of "),
    ({"train.parallel": "shard", "train.optimizer": {"type": "adagrad"}}, 2,
     'train.parallel: "shard" cuts weights into pieces, for which optimizer "adagrad" is not known to '
     'work'),
    ({"train.parallel": "shard", "encoder.trainable": "frozen"}, 2, "an encoder that is trained whole"),
    ({"train.parallel": "shard", "train.regularizers": [{"type": "norm"}]}, 2,
     'train.regularizers.0: "norm" over the model reads every weight whole; set train.parallel = "repl'),
    ({"train.parallel": "shard", "train.regularizers": [{"type": "smart", "bregman": 1.0}]}, 2,
     '"smart" with bregman keeps a whole copy of the model'),
    ({"train.phases": [{"parallel": "shard"}]}, 2,
     "train.phases.0.parallel: the phases train one model; set train.parallel"),
])
def test_what_several_processes_cannot_do_is_refused(
        small_table: dict[str, Any], changes: dict[str, Any], processes: int, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        validate(Run.from_table(changed(small_table, **changes), ""), Known(processes=processes))
    assert text in str(refusal.value)


OLD_WORDS = {  # a key or a name that is no more → what its message names
    "tasks.sst.objective": "loss", "tasks.quora.pairing=packed": "cross_encoder",
    "tasks.sts.pairing=separate": "bi_encoder", "train.optimizer.course": "lr_schedule",
    "train.course": "optimizer.lr_schedule", "train.lr": "optimizer.lr", "train.average": "ema",
    "encoder.init": "checkpoint", "sede": "seed",
}


def test_every_old_word_of_a_config_names_the_new_one(small_table: dict[str, Any]) -> None:
    changes = dict(entry.split("=") if "=" in entry else (entry, "x") for entry in OLD_WORDS)
    mistakes = told(changed(small_table, **changes))
    assert len(mistakes) == len(OLD_WORDS)
    for entry, new in OLD_WORDS.items():
        key = entry.partition("=")[0]
        assert any(mistake.startswith(f"{key} ") and f'did you mean "{new}"' in mistake
                   for mistake in mistakes), (key, mistakes)


def test_a_typo_hides_no_mistake_between_settings_that_can_be_read(small_table: dict[str, Any]) -> None:
    mistakes = told(changed(small_table, **{
        "sede": 1, "data.max_len": 3, "tasks.sst.limitt": 3, "tasks.sst.head": "cosine",
        "tasks.quora.head": "cosine", "train.tasks": ["qora"]}))
    for start in ("sede is not", "data.max_len is not", "tasks.sst.limitt is not", "tasks.quora.head:",
                  "train.tasks:"):
        assert any(mistake.startswith(start) for mistake in mistakes), mistakes
    assert len(mistakes) == 5, mistakes  # what sst has beside its typo is told once that is mended


def test_what_stands_in_for_a_wrong_value_is_not_judged(small_table: dict[str, Any]) -> None:
    assert len(told(changed(small_table, **{"train.schedle": "x", "train.surgery": "pcgrad"}))) == 1
    lacking = changed(small_table, **{"tasks.quora.head": "cosine"})
    del lacking["tasks"]["sst"]["label"]
    mistakes = told(lacking)
    assert mistakes[0].startswith("tasks.sst.label is missing") and len(mistakes) == 2, mistakes


def test_a_regularizer_reports_every_unknown_task(small_table: dict[str, Any]) -> None:
    smart = {"type": "smart", "tasks": ["sts2", "x"]}
    mistakes = told(changed(small_table, **{"train.regularizers": [smart]}))
    assert mistakes == ['train.regularizers.0.tasks: found "sts2", "x", expected tasks of this run '
                        '("sst", "quora", "sts")']


def test_a_torchjd_rule_tells_every_wrong_task(small_table: dict[str, Any]) -> None:
    pytest.importorskip("torchjd")
    (mistake,) = told(changed(small_table, **{"train.weighting": {
        "type": "torchjd:Constant", "weights": {"sst": 1.0, "x": 1.0, "y": 1.0}}}))
    assert '"x"' in mistake and '"y"' in mistake and 'lacks the tasks "quora", "sts"' in mistake
