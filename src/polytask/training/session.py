"""A training from start to end: data, model, trainer, and the folder that its events are kept in."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from polytask.config import Run
from polytask.core.errors import CheckpointError, Diverged, Interrupted, PeerLost, RunError, listed
from polytask.core.events import Event, EventLog, UnwrittenLog
from polytask.core.frames import data_frame, html_lines
from polytask.core.json_files import as_written
from polytask.core.processes import ALONE, Processes
from polytask.core.progress import Checked, Progress, Silent, progress
from polytask.core.run_folder import RunFolder
from polytask.core.settings import to_table
from polytask.core.terminal import tell
from polytask.core.user_modules import own_sources
from polytask.data.reading import content_key
from polytask.evaluation.baseline import Baseline
from polytask.evaluation.evaluate import Evaluation, evaluate, shown
from polytask.evaluation.linear_baseline import baselines
from polytask.inference.forward import encode_once
from polytask.inference.kept_states import KeptStates, kept_depth
from polytask.learn.checkpoint import load_checkpoint, save_checkpoint
from polytask.learn.layer_shards import gathered, shard
from polytask.learn.trainer import Score, Trainer
from polytask.model.memory import give_back_memory, keep_freed_memory
from polytask.model.multitask import MultiTask
from polytask.model.precision import training_autocast
from polytask.tasks.model_folder import save_model
from polytask.training.build import Built, run_cache
from polytask.training.finalize import finish

# Training rows that an evaluation of the training split looks at, at most.
TRAIN_ROWS = 2000
# Freed memory is looked at this often: an update after it was given back touches all its pages anew.
_UPDATES_BETWEEN_TRIMS = 50


@dataclass(frozen=True)
class Result:
    """The result of a training; prints as the table of dev scores and the path of the run."""

    folder: Path
    evaluation: Evaluation
    seconds: float
    tokens: int
    baselines: Mapping[str, Sequence[Baseline]] = field(default_factory=dict)
    """What simple baselines score on the same dev rows."""

    def __str__(self) -> str:
        rate = f"{self.tokens / self.seconds:,.0f} tokens/s" if self.seconds else "no training"
        page = RunFolder(self.folder).report
        lines = [str(self.evaluation), *self._to_beat(), f"{self.seconds:.0f} s of training, {rate}",
                 f"run: {self.folder}", *([f"report: {page}"] if page.is_file() else [])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return self.evaluation._repr_html_() + html_lines([*self._to_beat(), f"run: {self.folder}"])

    def to_pandas(self) -> Any:
        """Return the scores on dev, and the baselines' in each task's main metric, as a data frame."""
        frame = self.evaluation.to_pandas()
        metrics = {task: next(iter(values)) for task, values in self.evaluation.scores.items()}
        rows = [{"task": task, "rows": self.evaluation.rows[task],
                 "metric": f"{metrics[task]} of {result.name}", "value": result.scores[metrics[task]]}
                for task, results in self.baselines.items() for result in results
                if metrics.get(task) in result.scores]
        return data_frame([*frame.to_dict("records"), *rows])

    def _to_beat(self) -> Iterator[str]:
        """Yield one line per task: its main metric, and the baselines' scores."""
        for task, values in self.evaluation.scores.items():
            metric = next(iter(values))
            found = [f"{each.name} {each.scores[metric]:.4f}" + f" ({each.limits})" * bool(each.limits)
                     for each in self.baselines.get(task, ()) if metric in each.scores]
            if found:
                yield f"{task}: {metric} {shown(values[metric])}; {', '.join(found)}"


class Session:
    """One process's part of a training. Of several, each computes and one writes."""

    def __init__(self, run: Run, built: Built, folder: RunFolder, quiet: bool,
                 stopped: threading.Event, again: str | None, processes: Processes = ALONE) -> None:
        self.processes = processes
        self.run, self.built, self.folder = run, built, folder
        self.quiet, self.stopped = quiet, stopped
        self.again = again or f"pk.train(run, {str(folder.path)!r}, resume=True)"
        self.whole: MultiTask | None = None  # what is written, where the model itself is spread
        self.tokenizer = content_key(built.tokenizer, run_cache(run))
        self.sources = own_sources(to_table(run))
        self.heard = Checked(Silent(), self._leave_if_stopped)  # where work reports that shows nothing
        self.last: Evaluation | None = None
        self.best: Evaluation | None = None

    def train(self) -> Result:
        run, built = self.run, self.built
        keep_freed_memory()
        if self.processes.writes:  # `quiet` hides progress, not what is wrong with the data
            for note in built.training_notes:
                tell(f"note: {note}")
        with progress("reading each text once", quiet=self.quiet) as shown:
            reading = Checked(shown, self._leave_if_stopped)
            pooled = self._pooled(reading)
            kept = None if pooled else self._kept(reading)
        if kept is not None and not self.quiet:
            tell(f"note: {kept.note()}")
        if run.train.parallel == "shard" and self.processes.world > 1:
            self.whole = shard(built.model, self.processes)
        trainer = Trainer(built.model, built.training_set, run.train, run.seed,
                          self._evaluate, self._keep, pooled, self.processes)
        with closing(EventLog(self.folder.events) if self.processes.writes else UnwrittenLog()) as log:
            self._restore(trainer, log)
            with progress("training", quiet=self.quiet) as bar:
                bar.skip(trainer.at.total)
                with self._saying_what_is_saved():
                    self._consume(trainer, log, bar)
        cost = {"seconds": trainer.at.seconds, "tokens": trainer.at.tokens, "steps": trainer.at.total,
                "peak_memory_mb": peak_memory()}
        baselines = self._baselines()
        evaluation = finish(self.run, built, self.folder, cost, self.best, baselines, self.processes,
                            self.heard)
        return Result(self.folder.path, evaluation, trainer.at.seconds, trainer.at.tokens, baselines)

    def _baselines(self) -> dict[str, list[Baseline]]:
        """Return what simple answers score on dev. A failure is reported and does not lose the run."""
        if self.run.data.baselines is False or not self.processes.writes:
            return {}
        built = self.built
        try:
            with progress("TF-IDF with a linear model", len(built.tasks), self.quiet) as bar:
                return baselines(built.tasks, built.data, run_cache(self.run),
                                 Checked(bar, self._leave_if_stopped))
        except Interrupted:
            raise
        except Exception as error:
            tell(f"{self.folder.path}: the baselines could not be computed "
                 f"({type(error).__name__}: {error}); data.baselines = false skips them")
            return {}

    def _leave_if_stopped(self) -> None:
        """Raise `Interrupted` after a signal, in work of one process that is not an update.

        Of several processes, those that have not heard it yet would wait for one that leaves here.
        """
        if self.processes.world == 1 and self.stopped.is_set():
            raise Interrupted("stopped before the next update, what was saved stays; "
                              f"resume it with: {self.again}")

    def _pooled(self, bar: Progress) -> Mapping[str, Tensor] | None:
        """Encode every text once if the encoder is frozen."""
        if self.run.encoder.trainable != "frozen":
            return None
        bar.total(sum(len(data.train) for data in self.built.data.values()))
        return {name: encode_once(self.built.model, self.built.tasks[name],
                                  self.built.data[name].train, bar, self.processes)
                for name in self.built.tasks}

    def _kept(self, bar: Progress) -> KeptStates | None:
        """Run every text once through frozen layers below trained ones."""
        built, settings = self.built, self.run.encoder
        depth = kept_depth(settings.keep_frozen, built.model)
        if not depth:
            return None
        kept = KeptStates(built.model, depth, settings.keep_frozen, settings.keep_frozen_gb,
                          run_cache(self.run).folder)
        splits = [(part, name, layout, split) for part in ("train", "dev")
                  for name, layout in built.layouts().items()
                  if (split := built.data[name].splits.get(part)) is not None]
        bar.total(sum(len(split) for *_, split in splits))
        device = next(built.model.parameters()).device.type
        for part, name, layout, split in splits:
            # Updates may round; a score does not depend on the processor.
            with training_autocast(device, self.run.train.precision if part == "train" else "fp32"):
                kept.keep(name, split, layout, bar)
        built.model.kept = built.training_set.kept = kept
        return kept

    def _restore(self, trainer: Trainer, log: EventLog) -> None:
        if self.folder.checkpoint.is_dir():
            state = load_checkpoint(self.folder.checkpoint)
            # What torch raises for tensors of other shapes is a RuntimeError.
            with as_written(self.folder.checkpoint, CheckpointError, also=(RuntimeError,)):
                events = int(state.pop("events"))
                if state.pop("tokenizer", self.tokenizer) != self.tokenizer:
                    raise RunError(f"{self.built.tokenizer}: has changed since this run began, so texts "
                                   "would be other tokens; give another --out, or put the file back as "
                                   "it was")
                self._tell_changed(state.pop("sources", {}))
                trainer.load(state)
                log.cut(events)
        else:
            log.cut(0)
            log.write({"event": "start", "seed": self.run.seed, "tasks": list(self.built.tasks),
                       "rows": dict(self.built.training_set.rows), "steps": trainer.num_steps,
                       "notes": self.built.training_notes, "time": time.strftime("%Y-%m-%dT%H:%M:%S")})

    def _tell_changed(self, sources: Mapping[str, str]) -> None:
        """Note the user's modules whose files have changed; the change may be of a comment alone."""
        changed = [name for name, digest in sources.items() if self.sources.get(name, digest) != digest]
        if changed and self.processes.writes:
            tell(f"note: {listed(changed)} changed since this run began, so its components may compute "
                 "something else from here on; to train with them from the start, give another --out")

    def _consume(self, trainer: Trainer, log: EventLog, bar: Progress) -> None:
        recent: list[tuple[float, int]] = []
        try:
            for event in trainer.run():
                if event["event"] == "save":
                    self._save(trainer, log)
                    continue
                log.write(event)
                if event["event"] == "evaluation":
                    if not self.quiet:
                        tell(f"step {event['step']}: {event['summary']}")
                elif event["event"] == "step":
                    recent = [*recent[-19:], (event["seconds"], event["tokens"])]
                    self._show(event, recent, trainer.num_steps, bar)
                    if event["step"] % _UPDATES_BETWEEN_TRIMS == 0:
                        give_back_memory()
                    if self.processes.any(self.stopped.is_set()):  # all stop after the same update
                        raise Interrupted("stopped")
        except Interrupted:  # after an update, or in an evaluation, which a resumed run makes anew
            self._save(trainer, log)
            raise Interrupted(f"stopped after step {trainer.at.total}, everything is saved; "
                              f"resume it with: {self.again}") from None

    @staticmethod
    def _show(event: Event, recent: list[tuple[float, int]], steps: int, bar: Progress) -> None:
        rate = sum(n for _, n in recent) / max(1e-9, sum(s for s, _ in recent))
        losses = " ".join(f"{task} {loss:.3f}" for task, loss in event["losses"].items())
        bar.total(steps)
        bar.advance(1, f"{rate:,.0f} tokens/s  {losses}")

    @contextmanager
    def _saying_what_is_saved(self) -> Iterator[None]:
        """Complete the error of a training that ends early with what is saved."""
        try:
            yield
        except PeerLost as error:
            what = (f"resume it from the last checkpoint with: {self.again}"
                    if self.folder.checkpoint.is_dir() else "nothing was saved yet; start it again")
            raise PeerLost(f"{error}; {what}") from None
        except Diverged as error:
            kept = (["its best model so far is "
                     f"{self.folder.model}"] if self.folder.model.is_dir() else [])
            if self.folder.checkpoint.is_dir():
                kept.append(f"a checkpoint from before is in {self.folder.checkpoint}")
            what = " and ".join(kept) or f"nothing was saved, and {self.folder.path} can be deleted"
            raise Diverged(f"{error}; {what}; changed settings need another --out") from None

    def _save(self, trainer: Trainer, log: EventLog) -> None:
        state = trainer.state()  # of all processes
        if self.processes.writes:
            save_checkpoint(self.folder.checkpoint,
                            state | {"events": log.position(), "tokenizer": self.tokenizer,
                                     "sources": self.sources})

    def _evaluate(self) -> Score:
        """Score the dev rows and, if the settings ask for it, a part of the training rows (G-30)."""
        built, formula = self.built, self.run.train.score
        self.last = evaluation = evaluate(built.model, built.tasks, built.data, "dev", formula,
                                          progress=self.heard, processes=self.processes)
        event: dict[str, Any] = {"dev": evaluation.scores, "overall": evaluation.overall,
                                 "summary": evaluation.summary()}
        if self.run.train.train_metrics:
            event["train"] = evaluate(built.model, built.tasks, built.data, "train", formula,
                                      rows=TRAIN_ROWS, progress=self.heard,
                                      processes=self.processes).scores
        return Score(evaluation.score, evaluation.main(), event)

    def _keep(self, where: str) -> None:
        if where == "model":
            self.best = self.last
        model, state = self.built.model, None
        if model.sharded:
            state = gathered(model.state_dict())  # by all processes
        if not self.processes.writes:
            return
        if self.whole is not None and state is not None:
            self.whole.load_state_dict(state)
            self.whole.precision, model = model.precision, self.whole
        thresholds = self.last.thresholds if self.last else {}
        save_model(model, self.built.tasks, self.built.tokenizer, self.folder.path / where,
                   thresholds, self.built.card(self.last))


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM set a flag, so that training stops between two steps.

    A second Ctrl-C interrupts at once. Outside the main thread signals stay as they are.
    """
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def peak_memory() -> float:
    """Return the peak memory of this process in MB; 0 where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
