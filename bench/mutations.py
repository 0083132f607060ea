"""Change one number or one line at a time, and report the changes that no test notices.

    python bench/mutations.py recipes        every number of every recipe, seconds per file
    python bench/mutations.py source [WORD]  the lines in LINES (file or test contains WORD), a test each
    python bench/mutations.py                both; the exit status is 1 if anything survives

A change to a recipe's number counts as noticed if `recipe_settings.differs` says so. Left out are
numbers that the reports do not give (pilot scale, number of seeds) and numbers that other tests compare
digit for digit (claimed results, against the published tables; the trials of a grid).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from recipe_settings import RECIPES, differs, files

ROOT = RECIPES.parent
# A number outside strings and comments, which are matched first and left alone.
NUMBER = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|#[^\n]*'
                    r"|(?<![\w.-])([-+]?\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.])")
EXEMPT = {"pilot", "pilot_parameters", "seeds", "trials", "claimed"}


class Mutation(NamedTuple):
    """A line of the source, its replacement, and the tests that should then fail."""

    file: str
    old: str
    new: str
    tests: str


LINES = [
    Mutation("learn/step.py", "if task not in losses}", "if task in losses and False}",
             "tests/learn/test_step.py -k 'accumulated or counts_once'"),
    Mutation("learn/step.py", "_backward(_summed(weighted) / len(work))", "_backward(_summed(weighted))",
             "tests/learn/test_step.py -k accumulated"),
    Mutation("learn/step.py", "norm = self.gradients.norm(self.processes)",
             "norm = torch.ones(())",
             "tests/learn/test_step.py -k clipping"),
    Mutation("learn/step.py",
             "for gradient in self.gradients.of(p):\n                    gradient.mul_(factor)",
             "for gradient in self.gradients.of(p):\n                    gradient.mul_(1.0)",
             "tests/learn/test_step.py -k rates"),
    Mutation("learn/step.py",
             "penalty = each.weight * each.module.penalty(RegularizerContext(model=self.model))",
             "penalty = each.module.penalty(RegularizerContext(model=self.model))",
             "tests/learn/test_step.py -k penalty_of_the_step"),
    Mutation("learn/trainer.py", "* mixed_rate(group.get(\"task_rates\", {}), record.rows)", "",
             "tests/learn/test_trainer.py -k 'rates or trains'"),
    Mutation("learn/trainer.py", "weighting_lr or settings.lr", "settings.lr",
             "tests/learn/test_trainer.py -k weightings_own_rate"),
    Mutation("learn/trainer.py", "        check_update(record, self.at.total + 1)\n", "",
             "tests/learn/test_trainer.py -k 'not_a_number'"),
    Mutation("learn/trainer.py",
             "        check_weights(self.model, self.processes, self.at.total)\n"
             "        self.model.eval()\n",
             "        self.model.eval()\n", "tests/learn/test_trainer.py -k beyond_all_numbers"),
    Mutation("learn/trainer.py", "\"surgery_random\": self.surgery_random.get_state()",
             "\"surgery_random\": torch.Generator().get_state()",
             "tests/learn/test_trainer_resume.py -k goes_on_drawing"),
    Mutation("training/session.py", "built.data, \"train\", formula", "built.data, \"dev\", formula",
             "tests/training/test_session.py -k training_rows"),
    Mutation("report/sections/regression.py", "zip(true.tolist(), predicted.tolist()",
             "zip(predicted.tolist(), true.tolist()", "tests/report/test_drawn_values.py -k scatter"),
    Mutation("report/sections/labels.py", "label.recall or 0.0 for", "label.share or 0.0 for",
             "tests/report/test_drawn_values.py -k recall"),
    Mutation("report/multi_run.py", "by_run.get(run, []) for run", "by_run.get(names[0], []) for run",
             "tests/report/test_drawn_values.py -k orders"),
    Mutation("studies/claims.py", "epochs.index(_epoch(best)) + 1", "epochs.index(_epoch(best))",
             "tests/studies/test_claims.py -k best_epoch"),
    Mutation("learn/ema.py", "1 - self.decay", "self.decay", "tests/learn/test_ema.py"),
    Mutation("learn/gradients.py", "return dense.index_add_(0, table.rows, values)", "return dense",
             "tests/learn/test_gradients.py"),
    Mutation("learn/gradients.py", "(factor := limit / (float(norm) + 1e-6))", "(factor := limit)",
             "tests/learn/test_gradients.py"),
    Mutation("learn/gramian.py", "if j <= i]", "if j < i]", "tests/learn/test_gramian.py"),
    Mutation("learn/microbatch.py", "len(piece) / len(task_rows.rows)", "1.0",
             "tests/learn/test_microbatch.py"),
    Mutation("learn/checkpoint.py", "tensor.untyped_storage().data_ptr()", "tensor.data_ptr()",
             "tests/learn/test_checkpoint.py"),
    Mutation("learn/schedules/merged.py", "            rng.shuffle(order)\n", "",
             "tests/learn/test_schedules.py -k merged"),
    Mutation("learn/schedules/annealed.py", "epoch / (epochs - 1)", "epoch / epochs",
             "tests/learn/test_schedules.py -k annealing"),
    Mutation("learn/surgery/pcgrad.py", "product < 0", "True", "tests/learn/test_surgery.py"),
    Mutation("learn/surgery/pcgrad.py", " and gram[j][j] > 0", "", "tests/learn/test_surgery.py"),
    Mutation("learn/weightings/automatic.py", "torch.log1p(value.square())", "torch.log1p(value)",
             "tests/learn/test_weightings.py"),
    Mutation("learn/weightings/homoscedastic.py", "extra=0.5", "extra=1.0",
             "tests/learn/test_weightings.py"),
    Mutation("learn/weightings/uncertainty.py", "extra=1.0", "extra=0.5",
             "tests/learn/test_weightings.py"),
    Mutation("learn/weightings/kendall.py", "0.5 if kinds[task]", "1.0 if kinds[task]",
             "tests/learn/test_weightings.py"),
    Mutation("learn/regularizers/smart.py", "values.sum() / context.share", "values.sum()",
             "tests/learn/test_smart.py -k sum_is"),
    Mutation("learn/regularizers/smart.py", "((apart.detach() if detach else apart) * (p - q))",
             "(apart * (p - q))", "tests/learn/test_smart.py -k 'released or detached'"),
    Mutation("learn/regularizers/smart.py", "1 - self.settings.momentum", "self.settings.momentum",
             "tests/learn/test_smart.py -k momentum"),
    Mutation("losses/ordinal_log_loss.py", "** self.alpha", "** 1.0",
             "tests/losses/test_losses.py -k ordinal"),
    Mutation("losses/ordinal_log_loss.py", "return functional.softplus(logits - others)",
             "return -(1 - logits.softmax(-1)).clamp_min(1e-7).log()",
             "tests/losses/test_losses.py -k 'sure_mistake or improbability'"),
    Mutation("losses/sim_cse.py", "1 / self.temperature", "self.temperature",
             "tests/losses/test_losses.py"),
    Mutation("losses/cross_entropy.py", "rows / (classes * max(count, 1))", "rows / max(count, 1)",
             "tests/losses/test_losses.py"),
    Mutation("data/decisions.py", "Decision(np.clip(values, labels.low, labels.high), values)",
             "Decision(np.clip(values, labels.low, labels.high), np.clip(values, labels.low, labels.high))",
             "tests/model/test_heads.py"),
    Mutation("model/trainable.py", "layer_decay**below", "layer_decay", "tests/model/test_trainable.py"),
    Mutation("model/trainable.py", "rates.get(task, 1.0) / mixed if mixed else 1.0", "rates.get(task, 1.0)",
             "tests/model/test_trainable.py"),
]


def numbers(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield (mutated text, "line: old -> new", path of the key that differs) for each number of a file."""
    text = path.read_text(encoding="utf-8")
    before = tomllib.loads(text)
    for found in NUMBER.finditer(text):
        old = found.group(1)
        if old is None:
            continue
        new = _other(old)
        changed = text[: found.start(1)] + new + text[found.end(1):]
        try:
            after = tomllib.loads(changed)
        except tomllib.TOMLDecodeError:
            continue  # a duplicate key
        line = text.count("\n", 0, found.start(1)) + 1
        yield changed, f"{path.relative_to(RECIPES)}:{line}: {old} -> {new}", _difference(before, after)


def _other(number: str) -> str:
    plain = number.replace("_", "")
    return str(2 * int(plain) + 1) if re.fullmatch(r"[-+]?\d+", plain) else repr(2 * float(plain) or 0.25)


def _difference(a: Any, b: Any) -> list[Any]:
    """Return the path of keys to where two documents differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *b]:
            if a.get(key) != b.get(key):
                return [key, *_difference(a.get(key), b.get(key))]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (one, other) in enumerate(zip(a, b, strict=True)):
            if one != other:
                return [place, *_difference(one, other)]
    return []


def recipe_survivors() -> Iterator[str]:
    """Yield each recipe number whose change goes unnoticed; the last line has the total."""
    count = left_out = survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "recipes"
        shutil.copytree(RECIPES, copy)
        for path in [*sorted((RECIPES / "bases").glob("*.toml")), *files(RECIPES)]:
            place = copy / path.relative_to(RECIPES)
            uses = [place] if path.parent.name != "bases" else [
                each for each in files(copy) if f"/{path.name}" in each.read_text(encoding="utf-8")]
            for changed, said, keys in numbers(path):
                if EXEMPT & {*map(str, keys)}:
                    left_out += 1
                    continue
                count += 1
                place.write_text(changed, encoding="utf-8")
                if not any(map(differs, uses)):
                    survived += 1
                    yield f"survives: {said}"
            shutil.copyfile(path, place)
    yield (f"recipes: {count} numbers changed, {survived} survive; {left_out} left out "
           "(pilots, seeds, trials, claimed results)")


def source_survivors(word: str = "") -> Iterator[str]:
    """Yield each line whose change its tests do not notice; the last line has the total."""
    chosen = [each for each in LINES if word in each.file or word in each.tests]
    survived = 0
    for each in chosen:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "src"
            shutil.copytree(ROOT / "src", copy)
            path = copy / "polytask" / each.file
            text = path.read_text(encoding="utf-8")
            if text.count(each.old) != 1:
                yield f"stale: {each.file} has {text.count(each.old)} times {each.old!r}"
                survived += 1
                continue
            path.write_text(text.replace(each.old, each.new), encoding="utf-8")
            command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {each.tests}"
            ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True,
                                   env={**os.environ, "PYTHONPATH": str(copy)})
            if ended.returncode != 1:  # 0: all passed; 5: no test selected
                survived += 1
                yield f"survives: {each.file}: {each.old!r} -> {each.new!r} ({each.tests})"
    yield f"source: {len(chosen)} lines changed, {survived} survive"


if __name__ == "__main__":
    which, word = [*sys.argv[1:], "", ""][:2]
    bad = False
    for report in ([recipe_survivors()] if which in ("", "recipes") else []) + (
            [source_survivors(word)] if which in ("", "source") else []):
        for sentence in report:
            sys.stdout.write(f"{sentence}\n")
            sys.stdout.flush()
            bad |= sentence.startswith(("survives", "stale"))
    sys.exit(bad)
