"""The verbs. Each imports what it needs when it is called, so that `--help` imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from polytask.core.terminal import terminal_text
from polytask.options import Each, On, Quiet, Set, Trust
from polytask.output import exit_status

app = typer.Typer(
    name="polytask",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _changes(assignments: list[str] | None) -> str:
    """Return settings as they are typed again."""
    return "".join(f" --set '{assignment}'" for assignment in assignments or ())


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"polytask {version('polytask')}")
        raise typer.Exit


@app.callback()
def polytask(
    version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """One BERT-family encoder trained jointly on many sentence-level tasks.

    First time here: `polytask demo` trains three small tasks that come with the package, and
    `polytask init FILE` writes a config for data of yours. POLYTASK_LOG=info or debug tells more.
    """


@app.command(epilog="Example: `polytask demo --out runs/demo`")
def demo(
    out: Annotated[Path, typer.Option(help="The run folder; a demo in it is resumed.")] = Path("runs/demo"),
    assignments: Set = None,
    quiet: Quiet = False,
) -> None:
    """Train the sample's three tasks, which come with the package: sentiment, paraphrase, similarity."""
    from polytask.commands.demo import demo as train_demo
    from polytask.commands.demo import next_commands

    print(train_demo(out, assignments or (), quiet), next_commands(out), sep="\n")


@app.command(epilog="Example: `polytask schema --out polytask.schema.json`")
def schema(
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of printing.")] = None,
) -> None:
    """Write the JSON schema of configs, with which editors complete and check them."""
    from polytask.commands.schema import schema_text, write_schema

    print(schema_text() if out is None else write_schema(out), end="\n" * (out is not None))


@app.command(epilog="Example: `polytask init data/reviews-train.csv data/reviews-dev.csv > my.toml`")
def init(
    data: Annotated[list[Path], typer.Argument(help="Data files; x-train and x-dev belong to one task.")],
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of printing.")] = None,
    checkpoint: Annotated[str, typer.Option(help="The encoder to start from.")] = "minilm",
) -> None:
    """Write a first config, guessed from the columns of data files."""
    from polytask.commands.init import scaffold, write_config

    text = scaffold(data, checkpoint=checkpoint, quiet=False)
    if out is None:
        print(text, end="")
        return
    print("\n".join(write_config(out, text)))


@app.command(epilog="Example: `polytask check three.toml --set data.root=../data`")
def check(
    config: Annotated[Path, typer.Argument(help="A config (TOML).")],
    assignments: Set = None,
    time_steps: Annotated[int, typer.Option(help="Steps to time for the estimate; 0 for none.")] = 5,
    baseline: Annotated[bool, typer.Option(
        "--baseline", help="Also score TF-IDF with a linear model on the same rows (seconds).")] = False,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Read the data; show their problems, the plan of the first epoch and an estimate of the time."""
    from polytask.commands.check import check_run
    from polytask.config import Run
    from polytask.core.user_modules import trusting

    run = Run.from_toml(config, assignments or ())
    with trusting(trust):
        for line in check_run(run, time_steps, quiet, baseline):
            print(terminal_text(line))
    print(terminal_text(f"next: polytask train {config} --out runs/{config.stem}{_changes(assignments)}"))


@app.command(epilog="Examples: `polytask train three.toml --out runs/first --set train.epochs=5` · "
             "`torchrun --standalone --nproc-per-node 4 -m polytask train three.toml --out runs/first`")
def train(
    config: Annotated[Path, typer.Argument(help="A config (TOML).")],
    out: Annotated[Path, typer.Option(help="The run folder to create.")],
    assignments: Set = None,
    resume: Annotated[bool, typer.Option(help="Resume the run in this folder.")] = False,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Train the tasks of a config together and write a run folder."""
    from polytask.commands.train import train_config

    result = train_config(config, out, assignments or (), resume, quiet, trust)
    if result is not None:
        print(terminal_text(result))
        task = next(iter(result.evaluation.scores), "TASK")
        print(terminal_text(f"next: polytask predict {out} --task {task} FILE, or: polytask serve {out}"))


@app.command(epilog="Example: `polytask evaluate runs/first --split test`")
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "dev",
    data: Annotated[Path | None, typer.Option(help="Score another labelled file, with --task.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    assignments: Set = None,
    trust: Trust = False,
) -> None:
    """Score a run on one of its splits, or on another file."""
    from polytask.commands.evaluate import evaluate_run

    result = evaluate_run(run, split, data, task, assignments or (), trust)
    print(result.to_json() if as_json else terminal_text(result))


@app.command(epilog="Examples: `echo 'A gem.' | polytask predict runs/first --task sst` · "
             "`polytask predict runs/first 'data/*.parquet' --out answers --workers 4`")
def predict(
    run: Annotated[str, typer.Argument(help="A run or model folder, or hf://user/name[@revision].")],
    files: Annotated[list[str] | None, typer.Argument(
        help="CSV, TSV, JSON lines or Parquet with the task's text columns; absent: one text per line "
        "from standard input (pairs: two fields separated by a tab). Several files, a pattern or a folder: "
        "--out is a folder, with parts in the order of the rows.")] = None,
    task: Annotated[str, typer.Option(help="The task to predict, or several: A,B, or all (tasks that share "
                                      "their input share the encoder pass). --out is then a folder, or "
                                      "with --format jsonl a file with one line per row.")] = "all",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of printing.")] = None,
    text: Annotated[str | None, typer.Option(help="The file's text column, or A,B for a pair; "
                                             "absent: as in training.")] = None,
    format: Annotated[str, typer.Option(help="csv, jsonl or cs224n; in parts csv, jsonl or "
                                        "parquet.")] = "csv",
    input_format: Annotated[str | None, typer.Option(
        help="Format of standard input: text (one per line), csv or jsonl.")] = None,
    safe_csv: Annotated[bool, typer.Option(
        "--safe-csv", help="Put an apostrophe before cells that are formulas to a spreadsheet.")] = False,
    engine: Annotated[str, typer.Option(help="torch, or the exported graph: onnx or int8.")] = "torch",
    workers: Annotated[int | None, typer.Option(
        min=1, help="Predict in shards, by so many processes; after a kill the same command "
        "resumes.")] = None,
    on: On = None,
    resources: Each = None,
    shard_rows: Annotated[int | None, typer.Option(min=1, help="Rows of a shard; absent: 32,768.")] = None,
    strict: Annotated[bool, typer.Option(
        "--strict", help="In shards: stop at the first row that cannot be read, instead of listing it in "
        "refused.csv.")] = False,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Predict tasks for the rows of files or for lines of standard input."""
    from polytask.commands.predict import in_shards, predict_file

    columns = text.split(",") if text else None
    if in_shards(files or [], out, input_format, strict or any(
            option is not None for option in (workers, on, resources, shard_rows))):
        from polytask.commands.predict_shards import SHARD_ROWS, predict_shards

        predict_shards(run, task.split(","), files or [], out or "", format, workers, quiet, columns,
                       safe_csv, engine, trust, strict, shard_rows or SHARD_ROWS, None, on, resources)
        return
    predict_file(run, task.split(","), Path(files[0]) if files else None, out, format, quiet, columns,
                 input_format, safe_csv, engine, trust)


@app.command(epilog="Examples: `polytask export runs/first --to onnx --int8` · "
             "`polytask export runs/first --to transformers --task quora --out quora`")
def export(
    run: Annotated[str, typer.Argument(help="A run or model folder, or hf://user/name[@revision].")],
    to: Annotated[str, typer.Option(help="onnx, transformers or sentence-transformers.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="A folder of its own; absent (onnx): beside the "
                                             "model.")] = None,
    task: Annotated[str | None, typer.Option(help="The task that the other library is to answer.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also write the graph in int8.")] = False,
    check: Annotated[Path | None, typer.Option(help="Compare answers on the rows of this file; absent: the "
                                               "run's dev rows.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows per task to compare answers on.")] = 500,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Write a model for ONNX Runtime, transformers or sentence-transformers, checked on real rows."""
    from polytask.commands.export import export as export_model

    for line in export_model(run, to, out, task, int8, check, rows, quiet, trust):
        print(line)


@app.command(epilog="Example: `polytask push runs/first user/reviews --dry-run`")
def push(
    run: Annotated[Path, typer.Argument(help="A run or model folder.")],
    name: Annotated[str, typer.Argument(help="user/name on the hub.")],
    private: Annotated[bool, typer.Option(
        "--private/--public", help="Who may read a new repository.")] = True,
    revision: Annotated[str | None, typer.Option(help="A branch there; created if missing.")] = None,
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Show files and card, upload nothing.")] = False,
    language: Annotated[list[str] | None, typer.Option(
        help="For the card: a language of the texts, such as en; repeatable.")] = None,
    license: Annotated[str | None, typer.Option(help="For the card: the licence, such as mit.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(
        help="For the card: a data set of the hub that was trained on; repeatable.")] = None,
    trust: Trust = False,
) -> None:
    """Upload a model to the Hugging Face hub, with a card of its measured scores."""
    from polytask.commands.push import push as push_model

    for line in push_model(run, name, private, revision, dry_run, trust, language or (), license,
                           dataset or ()):
        print(line)


@app.command(epilog="Examples: `polytask report runs/first` · `polytask report studies/pairs` · "
             "`polytask report runs/a runs/b --out both.html`")
def report(
    runs: Annotated[list[Path], typer.Argument(help="A run or a study, or several runs to compare.")],
    out: Annotated[Path | None, typer.Option(help="The page; absent: report.html in the folder.")] = None,
    plots: Annotated[bool, typer.Option(help="Also write the figures to plots/ as SVG and PNG.")] = True,
) -> None:
    """Rewrite the report of a run or study from its folder."""
    from polytask.commands.report import report as write_report

    print(write_report(runs, out, plots))


@app.command(epilog="Example: `polytask log runs/first --to tensorboard`, then `tensorboard --logdir runs`")
def log(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option(help="tensorboard, mlflow, wandb (offline) or trackio.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the training ends.")] = False,
    out: Annotated[Path | None, typer.Option(
        help="The tracker's folder; absent: trackers/ in the run.")] = None,
    project: Annotated[str, typer.Option(help="The tracker's project or experiment.")] = "polytask",
) -> None:
    """Send the events of a run to a tracker, each once however often it is called."""
    from polytask.commands.log import log as log_run

    print(log_run(run, to, out, follow, project))


@app.command(epilog="Example: `polytask compare recipes/triple-threat/table-2.toml --scale pilot "
             "--out studies/pairs --set data.root=data`")
def compare(
    study: Annotated[Path, typer.Argument(help="A study (TOML): a base config and rows of changes.")],
    out: Annotated[Path, typer.Option(help="The study's folder; finished runs in it are not repeated.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds per row; absent: the study's.")] = None,
    workers: Annotated[int | None, typer.Option(
        min=1, help="Runs at the same time; absent: 1, on a cluster what its nodes have room for.")] = None,
    on: On = None,
    resources: Each = None,
    rows: Annotated[str | None, typer.Option(help="Only these rows: A,B")] = None,
    scale: Annotated[str, typer.Option(help="pilot: fewer rows and MiniLM; full: as stated.")] = "full",
    baselines: Annotated[bool | None, typer.Option(
        "--baselines/--no-baselines", help="Also train each task alone, on its budget in the base row, and "
        "report the gain over that. Absent: as the study says.")] = None,
    assignments: Set = None,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Train every row of a study with several seeds and compare them."""
    from polytask.commands.compare import compare

    result = compare(study, out, seeds, workers, None if rows is None else rows.split(","), scale,
                     assignments or (), baselines, quiet, trust, on=on, resources=resources)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(*result.tables(), sep="\n\n")
    else:
        print(terminal_text(result))
    if result.comparison.failed:
        raise typer.Exit(1)


@app.command("sweep", epilog="Example: `polytask sweep recipes/surgery/sweep-hyperparameters.toml "
             "--scale pilot --out sweeps/surgery --workers 2 --set data.root=data`")
def sweep_(
    sweep: Annotated[Path, typer.Argument(help="A sweep (TOML): a base config and what is searched.")],
    out: Annotated[Path, typer.Option(help="The sweep's folder; a sweep in it is resumed.")],
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all; absent: the file's.")] = None,
    storage: Annotated[str | None, typer.Option(
        help="A database that other machines search with: sqlite:///FILE or postgresql://USER@HOST/NAME; "
        "absent: a journal in the folder.")] = None,
    workers: Annotated[int | None, typer.Option(
        min=1, help="Runs at the same time; absent: 1, on a cluster what its nodes have room for.")] = None,
    on: On = None,
    resources: Each = None,
    scale: Annotated[str, typer.Option(help="pilot: fewer rows and MiniLM; full: as stated.")] = "full",
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    assignments: Set = None,
    quiet: Quiet = False,
    trust: Trust = False,
) -> None:
    """Search settings with Optuna: a grid or TPE over any dotted keys, for one metric or several."""
    from polytask.commands.sweep import sweep as run_sweep

    result = run_sweep(sweep, out, trials, workers, scale, assignments or (), seed, quiet, trust,
                       on=on, resources=resources, storage=storage)
    print(terminal_text(result))
    if result.failures:
        raise typer.Exit(1)


@app.command("list", epilog="Example: `polytask list losses`")
def list_(
    family: Annotated[str | None, typer.Argument(help="A family, such as losses.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the components that a config can name, with their settings."""
    from polytask.commands.list import catalogue, table

    if as_json:
        import json

        print(json.dumps(catalogue(family), indent=2))
    else:
        table(family)


@app.command(epilog="Example: `polytask show runs/first`")
def show(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    config: Annotated[bool, typer.Option("--config", help="Print only the resolved config.")] = False,
) -> None:
    """Show the settings and scores of a run."""
    from polytask.commands.show import show_run

    for line in show_run(run, config):
        print(line if config else terminal_text(line))


@app.command(epilog="Example: `polytask serve runs/first`, then "
             "`curl localhost:8000/predict -H 'content-type: application/json' "
             "-d '{\"texts\": \"A gem.\"}'`")
def serve(
    runs: Annotated[list[str], typer.Argument(
        help="Runs, model folders, or models on the hub: hf://user/name[@revision].")],
    host: Annotated[str | None, typer.Option(help="Address to listen on; absent: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any that is free; absent: 8000.")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, torch, onnx or int8.")] = None,
    threads: Annotated[int | None, typer.Option(
        help="Threads of the engine; absent: the free cores.")] = None,
    config: Annotated[Path | None, typer.Option(
        help="A TOML file of settings (docs/serving.md); POLYTASK_* variables are over it, then "
        "flags.")] = None,
    assignments: Annotated[list[str] | None, typer.Option(
        "--set", help="Another setting: --set max_queue=256.")] = None,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Serve every task of trained models over HTTP, with a page to try them."""
    from polytask.commands.serve import serve_runs
    from polytask.core.toml import override
    from polytask.core.user_modules import trusting

    options = {"host": host, "port": port, "engine": engine, "threads": threads}
    own = {key: value for key, value in options.items() if value is not None}
    with trusting(trust):
        serve_runs(runs, config, override({}, assignments or ()) | own, quiet)


def main() -> None:
    """Run the command line; the user's mistakes are one line each and exit status 2."""
    raise SystemExit(exit_status(app))


if __name__ == "__main__":
    main()
