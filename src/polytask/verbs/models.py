"""A trained model at work: predictions, exports, the hub, a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polytask.verbs.options import Each, On, Quiet, Trust, out_option

verbs = typer.Typer(rich_markup_mode="markdown")


@verbs.command(epilog="Examples: `echo 'A gem.' | polytask predict runs/first --task sst` · "
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
    out: Annotated[Path | None, out_option("Write to this file instead of printing.")] = None,
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
        min=1, help="Predict in shards with this many processes; after a kill, the same "
        "command resumes.")] = None,
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

    columns = None if text is None else text.split(",")
    if in_shards(files or [], out, input_format, strict or any(
            option is not None for option in (workers, on, resources, shard_rows))):
        from polytask.commands.predict_shards import SHARD_ROWS, predict_shards

        predict_shards(run, task.split(","), files or [], out or "", format, workers, quiet, columns,
                       safe_csv, engine, trust, strict, shard_rows or SHARD_ROWS, None, on, resources)
        return
    predict_file(run, task.split(","), Path(files[0]) if files else None, out, format, quiet, columns,
                 input_format, safe_csv, engine, trust)


@verbs.command(epilog="Examples: `polytask export runs/first --to onnx --int8` · "
             "`polytask export runs/first --to transformers --task quora --out quora`")
def export(
    run: Annotated[str, typer.Argument(help="A run or model folder, or hf://user/name[@revision].")],
    to: Annotated[str, typer.Option(help="onnx, transformers or sentence-transformers.")] = "onnx",
    out: Annotated[Path | None, out_option("The folder to write; absent (onnx): beside the "
                                             "model.")] = None,
    task: Annotated[str | None, typer.Option(help="The task that the other library answers.")] = None,
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


@verbs.command(epilog="Example: `polytask push runs/first user/reviews --dry-run`")
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
        help="For the card: a hub data set that the model was trained on; repeatable.")] = None,
    trust: Trust = False,
) -> None:
    """Upload a model to the Hugging Face hub, with a card of its measured scores."""
    from polytask.commands.push import push as push_model

    for line in push_model(run, name, private, revision, dry_run, trust, language or (), license,
                           dataset or ()):
        print(line)


@verbs.command(epilog="Example: `polytask serve runs/first`, then "
             "`curl localhost:8000/predict -H 'content-type: application/json' "
             "-d '{\"texts\": \"A gem.\"}'`")
def serve(
    runs: Annotated[list[str], typer.Argument(
        help="Runs, model folders, or models on the hub: hf://user/name[@revision].")],
    host: Annotated[str | None, typer.Option(help="Address to listen on; absent: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any free one; absent: 8000.")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, torch, onnx or int8.")] = None,
    threads: Annotated[int | None, typer.Option(
        help="Threads of the engine; absent: the free cores.")] = None,
    config: Annotated[Path | None, typer.Option(
        help="A TOML file of settings (docs/serving.md); POLYTASK_* variables override it, and "
        "flags override both.")] = None,
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
