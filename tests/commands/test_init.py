"""A scaffolded config is one that loads, and says what was guessed."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from polytask.commands.init import group_files, guesses, scaffold
from polytask.config import Run
from polytask.core.errors import DataError
from polytask.data.cache import Cache
from polytask.data.dataset import TaskData, load_task_data
from small_data import store, write

SENTENCES = [f"this is the sentence number {n}" for n in range(60)]


def loaded(folder: Path, *files: Path) -> tuple[str, Run, dict[str, TaskData]]:
    """Scaffold a config, read it as it is, and read its data."""
    text = scaffold(files, cache=Cache(folder / "cache"))
    run = Run.from_table(tomllib.loads(text))
    shelf = store(folder)
    shelf.root = Path(run.data.root)
    return text, run, {name: load_task_data(name, task, shelf, 1) for name, task in run.tasks.items()}


def test_files_of_one_task_are_found_by_their_names(tmp_path: Path) -> None:
    train = write(tmp_path / "films-train.csv", "id\ttext\tstars",
                  *(f"{n}\t{each}\t{n % 5}" for n, each in enumerate(SENTENCES)))
    val = write(tmp_path / "films-val.tsv", "id\ttext\tstars", "1\tone more sentence here\t3")
    test = write(tmp_path / "films-test-student.csv", "id\ttext", "1\tand one more here")
    text, run, data = loaded(tmp_path, test, train, val)
    task = run.tasks["films"]
    assert (task.train, task.dev, task.test) == (train.name, val.name, test.name)
    assert (task.text, task.label, task.id) == (("text",), "stars", "id")
    assert data["films"].labels.classes == ("0", "1", "2", "3", "4")
    assert '# kind = "ordinal"' in text
    assert len(data["films"].splits["test"]) == 1


@pytest.mark.parametrize(("first", "second"), [
    ("sentence1", "sentence2"), ("sent0", "sent1"), ("sentence_A", "sentence_B"),
    ("#1 String", "#2 String"), ("premise", "hypothesis"), ("question", "answer"),
])
def test_two_columns_that_differ_in_which_they_are_make_a_pair(
    tmp_path: Path, first: str, second: str
) -> None:
    path = write(tmp_path / "pairs.csv", f"pair_ID,{second},{first},note,score",
                 *(f"{n},{each} twice,{each},the same long note,{n / 12}"
                   for n, each in enumerate(SENTENCES)))
    text, run, data = loaded(tmp_path, path)
    task = run.tasks["pairs"]
    assert task.text == (first, second) and task.label == "score" and task.id == "pair_ID"
    assert task.dev == 0.1 and "carved from train" in text
    assert data["pairs"].labels.is_regression and task.range == (0, 5)


def test_other_labels_are_reported_in_comments_and_a_split_column_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "id,text,label,source,set",
                 *(f"{n},{each},{'yes' if n % 3 else 'no'},{'web' if n % 2 else 'book'},"
                   f"{('TRAIN', 'TRAIN', 'TRIAL', 'TEST')[n % 4]}" for n, each in enumerate(SENTENCES)))
    text, run, data = loaded(tmp_path, path)
    assert run.tasks["rows"].label == "label"
    assert '# or label = "source": binary: web (30), book (30)' in text.replace(
        "book (30), web (30)", "web (30), book (30)")
    assert run.tasks["rows"].split == "set" and run.tasks["rows"].dev is None
    assert "# TRAIN (30), TRIAL (15), TEST (15)" in text
    assert {split: len(rows) for split, rows in data["rows"].splits.items()} == {
        "train": 30, "dev": 15, "test": 15}
    assert data["rows"].labels.classes == ("no", "yes")


def test_several_sets_are_several_tasks_under_one_root(tmp_path: Path) -> None:
    rows = [f"{each},{n % 2}" for n, each in enumerate(SENTENCES)]
    write(tmp_path / "data" / "one" / "train.csv", "text,label", *rows)
    write(tmp_path / "data" / "one" / "dev.csv", "text,label", *rows)
    write(tmp_path / "data" / "2nd.csv", "text,label", *rows)
    _, run, data = loaded(tmp_path, *sorted((tmp_path / "data").rglob("*.csv")))
    assert Path(run.data.root) == tmp_path / "data"
    assert run.tasks["one"].train == "one/train.csv" and run.tasks["one"].dev == "one/dev.csv"
    assert run.tasks["task_2nd"].train == "2nd.csv"
    assert len(data) == 2


def test_long_texts_ask_for_a_longer_maximum(tmp_path: Path) -> None:
    path = write(tmp_path / "long.csv", "text,label",
                 *(f"{each * 30},{n % 2}" for n, each in enumerate(SENTENCES)))
    text, run, _ = loaded(tmp_path, path)
    assert run.data.max_length == 256 and "128 trains faster" in text


@pytest.mark.parametrize(("rows", "epochs"), [(40, 20), (320, 15), (800, 6), (1_600, 3), (100_000, 3)])
def test_few_rows_are_seen_more_often(tmp_path: Path, rows: int, epochs: int) -> None:
    train = write(tmp_path / "mail-train.csv", "text,label", *(f"a mail {n},{n % 2}" for n in range(rows)))
    dev = write(tmp_path / "mail-dev.csv", "text,label", *(f"another mail {n},{n % 2}" for n in range(20)))
    text, run, _ = loaded(tmp_path, train, dev)
    assert run.train.epochs == epochs
    assert f"# {epochs * -(-rows // 16):,} updates" in text


def test_rows_held_out_are_not_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "mail.csv", "text,label,set", *(
        f"a mail {n},{n % 2},{'train' if n < 320 else 'dev'}" for n in range(960)))
    text, run, data = loaded(tmp_path, path)
    assert len(data["mail"].train) == 320 and run.train.epochs == 15
    carved = write(tmp_path / "post.csv", "text,label", *(f"a mail {n},{n % 2}" for n in range(1_000)))
    text, _, _ = loaded(tmp_path, carved)
    assert "epochs = 6 " in text  # 900 rows: 57 updates an epoch


def test_a_cosine_needs_no_more_epochs_for_few_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "sts.csv", "sentence1,sentence2,similarity", *(
        f"one sentence {n},another sentence {n},{n % 11 / 2}" for n in range(100)))
    text, run, _ = loaded(tmp_path, path)
    assert 'head = "cosine"' in text and run.train.epochs == 3


@pytest.mark.parametrize(("labels", "expected"), [
    (["0.5", "4.5"], (0, 5)), (["0.12", "0.97"], (0, 1)), (["-0.8", "0.9"], (-1, 1)),
    (["0.21", "0.38"], (0.2, 0.38)),  # whole numbers would be five times as far apart
])
def test_a_range_has_the_whole_numbers_that_its_labels_end_near(
        tmp_path: Path, labels: list[str], expected: tuple[float, float]) -> None:
    low, high = map(float, labels)
    middle = [f"{low + n * (high - low) / 60:.4f}" for n in range(1, 58)]
    path = write(tmp_path / "sts.csv", "sentence1,sentence2,similarity", *(
        f"{each},{each} twice,{label}" for each, label in zip(SENTENCES, [*labels, *middle], strict=False)))
    text, run, _ = loaded(tmp_path, path)
    assert run.tasks["sts"].range == expected
    assert "of the labels, rounded outward; predictions are cut to it" in text


def test_texts_that_contradict_themselves_are_the_half_of_a_pair(tmp_path: Path) -> None:
    path = write(tmp_path / "claims.csv", "passage,claim,verdict", *(
        f"{SENTENCES[n // 2]},a claim about number {n},{'yes' if n % 2 else 'no'}" for n in range(80)))
    _, run, _ = loaded(tmp_path, path)
    assert run.tasks["claims"].text == ("passage", "claim")


@pytest.mark.parametrize(("columns", "why_text", "why_label"), [
    ("one,two,three", "the first of 2 columns of sentences", "no other column can be a label"),
    ("sentence1,sentence2,three", "a pair by their names", "no other column can be a label"),
    ("new question,known question,three", "a pair by their alike names", "no other column can be a label"),
    ("one,two,three,stars", "the first of 2 columns of sentences", "named like a label"),
    ("one,two,three,four", "the first of 2 columns of sentences",
     "of 2 columns that can be labels, this one has numbers or the most values"),
])
def test_every_guess_has_its_reason(tmp_path: Path, columns: str, why_text: str, why_label: str) -> None:
    extra = ",{}" * (columns.count(",") - 2)
    path = write(tmp_path / "file.csv", columns, *(
        f"{each},a remark about number {n},{n % 3}{extra.format(n % 2)}"
        for n, each in enumerate(SENTENCES)))
    text, _, _ = loaded(tmp_path, path)
    assert guesses(text)[0].endswith(f"; {why_label}); text: {why_text}")


def test_a_text_that_is_not_read_is_mentioned(tmp_path: Path) -> None:
    path = write(tmp_path / "posts.csv", "review,the remark,#stars", *(
        f"{each},a remark about number {n},{n % 3}" for n, each in enumerate(SENTENCES)))
    text, run, _ = loaded(tmp_path, path)
    assert run.tasks["posts"].text == ("review",)
    assert guesses(text) == ["posts: review -> #stars (classes: 0 (20), 1 (20), 2 (20); no other column "
                             "can be a label); text: named like a text, of 2 columns of sentences"]
    assert ('# note: column "the remark" holds sentences as well; both as a pair: '
            'text = ["review", "the remark"]') in text.splitlines()


@pytest.mark.parametrize(("rows", "named"), [
    (['"a b c,1', "d e f,0"], "a quote opens a field and is never closed (mail.csv:2)"),
    (['"the first mail,1', *(f"a mail {n},{n % 2}" for n in range(40)), 'the last mail",0', "one,1"],
     "quotes join lines that could be records of their own (lines 2–43)"),
])
def test_an_open_quote_is_named_where_it_leaves_too_little(
    tmp_path: Path, rows: list[str], named: str
) -> None:
    path = write(tmp_path / "mail.csv", "text,label", *rows)
    with pytest.raises(DataError) as refused:
        scaffold([path], cache=Cache(tmp_path / "cache"))
    assert named in str(refused.value)


def test_odd_names_are_quoted(tmp_path: Path) -> None:
    path = write(tmp_path / 'my "own" data-train.csv', '"the ""text"" \\ here","label\t"',
                 *(f"{each},{n % 2}" for n, each in enumerate(SENTENCES)))
    _, run, data = loaded(tmp_path, path)
    (task,) = run.tasks.values()
    assert task.text == ('the "text" \\ here',)
    assert list(data) == ["my_own_data"]


def test_how_files_are_written_is_reported_and_kept(tmp_path: Path) -> None:
    rows = [f"{each}\t{n % 2}" for n, each in enumerate(SENTENCES)]
    rows[3] = '"' + rows[3]
    path = tmp_path / "x.tsv"
    path.write_text("\n".join(["text\tlabel", *rows, "", "bad"]), encoding="utf-16")
    text, run, data = loaded(tmp_path, path)
    assert run.tasks["x"].encoding == "utf-16" and len(data["x"].found["train"]) == 60
    assert "# note: x.tsv: quotes are read as plain characters" in text
    assert "# note: x.tsv: 1 of 61 rows refused: 1 field, expected 2 (x.tsv:63)" in text


def test_rows_without_a_split_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "text,label,set",
                 *(f"{each},{n % 2},{('train', 'train', 'dev', '')[n // 2 % 4]}"
                   for n, each in enumerate(SENTENCES)))
    text, run, data = loaded(tmp_path, path)
    assert run.tasks["x"].split == "set" and "leaves out 14 rows without a split" in text
    assert {split: len(rows) for split, rows in data["x"].splits.items()} == {"train": 32, "dev": 14}


@pytest.mark.parametrize(("name", "lines", "said"), [
    ("x-dev.csv", ["text,label", "a b c,1", "d e f,0"], "has no training file beside it"),
    ("x.csv", ["text,number", "a b c,1", "d e f,1"], "no column looks like a label"),
    ("x.csv", ["a,label", "1,1", "2,0"], 'no column holds sentences (its columns: "a", "label")'),
    ("x.csv", ["text,text,label", "a b,a b,1", "b c,b c,2"], '"text" is the name of several columns'),
    ("x.csv", ["text,label,label", "a b c,1,1", "d e f,0,0"],
     'beside text ("label" is the name of several columns, which cannot be used)'),
    ("x.json", ['{"data": [{"text": "a b c", "label": 1}]}'],
     'is one object that holds all rows in "data", expected one object per row'),
    ("x.json", ['{"text": ["a b c", "d e f"], "label": [1, 0]}'], 'holds all rows in "text", "label", '
                                                                  'expected'),
    ("x.csv", ["so it was a day,so", "and it was a night,so", "so it was a week,so"],
     "beside the sentences in column 1 (line 1 looks like data, not a header)"),
    ("x.csv", [], "x.csv: is empty"),
    ("absent.csv", None, "there is no such file"),
    ("mine.toml", ["seed = 1"], "is called a config, expected data (CSV, TSV, JSON lines, Parquet)"),
])
def test_what_cannot_be_scaffolded_is_reported(
    tmp_path: Path, name: str, lines: list[str] | None, said: str
) -> None:
    if lines is not None:
        write(tmp_path / name, *lines)
    with pytest.raises(DataError) as caught:
        scaffold([tmp_path / name], cache=Cache(tmp_path / "cache"))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_two_training_files_of_one_name_are_reported() -> None:
    with pytest.raises(DataError, match="is a second train file for task x"):
        group_files([Path("x-train.csv"), Path("x-train.tsv")])


@pytest.mark.data
@pytest.mark.parametrize(("files", "name", "text", "label", "kind", "rows"), [
    (["extra/msr-para-train.tsv", "extra/msr-para-val.tsv"], "msr_para",
     ("#1 String", "#2 String"), "Quality", "binary", (3576, 500)),
    (["extra/sick2014.csv"], "sick2014", ("sentence_A", "sentence_B"), "relatedness_score",
     "regression", (4439, 495)),
    (["sts-train.csv", "sts-dev.csv", "sts-test-student.csv"], "sts",
     ("sentence1", "sentence2"), "similarity", "regression", (6040, 863)),
    (["quora-train.csv", "quora-dev.csv", "quora-test-student.csv"], "quora",
     ("sentence1", "sentence2"), "is_duplicate", "binary", (61394, 20212)),
    (["ids-sst-train.csv", "ids-sst-dev.csv"], "ids_sst", ("sentence",), "sentiment", "classes",
     (8544, 1101)),
])
def test_the_real_files_are_scaffolded_as_they_are(
    real_data: Path, tmp_path: Path, files: list[str], name: str, text: tuple[str, ...],
    label: str, kind: str, rows: tuple[int, int],
) -> None:
    _, run, data = loaded(tmp_path, *(real_data / file for file in files))
    task = run.tasks[name]
    assert (task.text, task.label) == (text, label)
    assert data[name].labels.kind == kind
    assert sum(len(split) for key, split in data[name].splits.items() if key != "test") == sum(rows)
    assert abs(len(data[name].train) - rows[0]) <= 2


def test_a_file_without_a_header_gets_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "nohead.csv", *(f"{each},{n % 2}" for n, each in enumerate(SENTENCES)))
    text, run, data = loaded(tmp_path, path)
    task = run.tasks["nohead"]
    assert not task.header and task.columns == ("text", "label") and "looks like data" in text
    assert sum(map(len, data["nohead"].splits.values())) == len(SENTENCES)


@pytest.mark.parametrize("name", ["type", "all", "overall"])
def test_names_that_no_task_can_have_and_control_characters_are_mended(tmp_path: Path, name: str) -> None:
    labels = ("a\x07b", "c\x7f")
    path = write(tmp_path / f"{name}-train.csv", "text,label",
                 *(f"{each},{labels[n % 2]}" for n, each in enumerate(SENTENCES)))
    _, run, data = loaded(tmp_path, path)
    assert list(run.tasks) == [f"task_{name}"]
    assert data[f"task_{name}"].labels.classes == labels


def test_many_classes_are_named_as_classes(tmp_path: Path) -> None:
    rows = [f"{each} {k},intent_{n}" for n, each in enumerate(SENTENCES) for k in range(4)]
    text, run, data = loaded(tmp_path, write(tmp_path / "big.csv", "text,label", *rows))
    assert run.tasks["big"].kind == "classes" and data["big"].labels.num_classes == 60
    ids = [f"{each} {k},{n}" for n, each in enumerate(SENTENCES) for k in range(4)]
    text, run, _ = loaded(tmp_path, write(tmp_path / "ids.csv", "text,label", *ids))
    assert run.tasks["ids"].kind == "classes" and 'set kind = "regression"' in text


def test_several_0_1_columns_are_one_task(tmp_path: Path) -> None:
    rows = [f"{each},{n % 2},{n % 3 // 2},{n % 5 // 4}" for n, each in enumerate(SENTENCES)]
    text, run, data = loaded(tmp_path, write(tmp_path / "t.csv", "text,toxic,obscene,insult", *rows))
    assert run.tasks["t"].label == ("toxic", "obscene", "insult")
    assert data["t"].labels.kind == "multi-label" and '# label = "toxic": binary' in text


def test_graded_similarity_is_the_cosine_of_a_sentence_encoder(tmp_path: Path) -> None:
    rows = [f"{each},{each} again,{n / 12}" for n, each in enumerate(SENTENCES)]
    path = write(tmp_path / "sts.csv", "sentence1,sentence2,similarity", *rows)
    _, run, _ = loaded(tmp_path, path)
    assert (run.tasks["sts"].chosen_pairing.name, run.tasks["sts"].head.name) == ("bi_encoder", "cosine")
    plain = scaffold([path], "bert-base-uncased", Cache(tmp_path / "cache"))
    assert 'pairing = "cross_encoder"' in plain and "cosine" not in plain


@pytest.mark.parametrize(("name", "label", "classes", "cosine"), [
    ("quora.csv", "label", "01", True), ("pairs.csv", "is_duplicate", "01", True),
    ("pairs.csv", "label", ("no", "paraphrase"), False),  # neither name says it
    ("mrpc.csv", "label", ("different", "equivalent"), True),
    ("mrpc.csv", "label", ("equivalent", "not_equivalent"), True),
    ("mrpc.csv", "label", ("alike", "unlike"), False),  # its positives are not alike
    ("rte.csv", "label", "01", False), ("quora.csv", "label", "012", False),
])
def test_whether_two_texts_mean_the_same_is_the_cosine_of_a_sentence_encoder(
    tmp_path: Path, name: str, label: str, classes: Sequence[str], cosine: bool,
) -> None:
    rows = [f"{each},{each} again,{classes[n % len(classes)]}" for n, each in enumerate(SENTENCES)]
    path = write(tmp_path / name, f"sentence1,sentence2,{label}", *rows)
    _, run, _ = loaded(tmp_path, path)
    (task,) = run.tasks.values()
    assert (task.head.name == "cosine") is cosine
    assert task.chosen_pairing.name == ("bi_encoder" if cosine else "cross_encoder")
    plain = scaffold([path], "bert-base-uncased", Cache(tmp_path / "cache"))
    assert 'pairing = "cross_encoder"' in plain and "cosine" not in plain


def test_the_rates_of_mpnet_are_those_of_the_best_model(tmp_path: Path) -> None:
    rows = [f"{each},{n % 2}" for n, each in enumerate(SENTENCES)]
    path = write(tmp_path / "t.csv", "text,label", *rows)
    run = Run.from_table(tomllib.loads(scaffold([path], "mpnet", Cache(tmp_path / "cache"))))
    best = Run.from_toml(Path(__file__).parents[2] / "examples" / "best.toml")
    for name in ("lr", "head_lr", "layer_decay", "weight_decay"):
        assert getattr(run.train.optimizer, name) == getattr(best.train.optimizer, name), name


def test_a_mark_of_no_label_comes_with_the_condition_that_leaves_it_out(tmp_path: Path) -> None:
    rows = [f"{each},{('yes', 'no', '-')[n % 3]}" for n, each in enumerate(SENTENCES)]
    text, _, _ = loaded(tmp_path, write(tmp_path / "snli.csv", "text,gold label", *rows))
    assert 'where = { "gold label" = { not = ["-"] } }' in text


def test_what_check_would_refuse_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "few.csv", "text,label", "a b c,1", "d e f,0")
    with pytest.raises(DataError, match="no config fits these files"):
        scaffold([path], cache=Cache(tmp_path / "cache"))


def scaffolded(folder: Path, header: str, *rows: str, dev: tuple[str, ...] = ()) -> str:
    files = [write(folder / "x-train.csv", header, *rows)]
    files += [write(folder / "x-dev.csv", header, *dev)] if dev else []
    return scaffold(files, cache=Cache(folder / "cache"))


def test_a_column_of_splits_in_other_words_is_mentioned(tmp_path: Path) -> None:
    words = ("Train", "Train", "Eval", "Holdout")
    rows = [f"a film {n},{n % 2},{words[n // 2 % 4]}" for n in range(40)]
    text = scaffolded(tmp_path, "text,label,split", *rows)
    assert '# note: column "split" seems to name splits, but "Eval", "Holdout" are none of train' in text
    assert '# or label = "split"' not in text and 'label = "label"' in text


def test_a_label_that_no_row_has_is_mentioned(tmp_path: Path) -> None:
    text = scaffolded(tmp_path, "comment,toxic,insult,threat",
                      *(f"a film number {n},{n % 2},{n % 3 % 2},0" for n in range(40)))
    assert ('# note: "threat" is 0 in every row; if a row may have several labels: label = ["toxic", '
            '"insult", '
            '"threat"]') in text


@pytest.mark.parametrize("exclusive", [True, False])
def test_columns_of_which_each_row_has_one_may_be_classes(tmp_path: Path, exclusive: bool) -> None:
    rows = [[str(int(n % 3 == place or (n == 7 and not exclusive))) for place in range(3)]
            for n in range(40)]
    text = scaffolded(tmp_path, "comment,joy,fear,anger",
                      *(",".join([f"a film number {n}", *row]) for n, row in enumerate(rows)))
    assert 'label = ["joy", "fear", "anger"]' in text
    assert ('# note: each row has exactly one of "joy", "fear", "anger"; if' in text) is exclusive


def test_the_comment_of_a_label_counts_what_is_one_and_knows_dev(tmp_path: Path) -> None:
    rows = [f"a film number {n},{('good', 'bad', 'NaN')[n % 3]}" for n in range(60)]
    text = scaffolded(tmp_path, "text,label", *rows)
    assert "# binary: good (20), bad (20); positive: good; 20 rows without" in text
    more = scaffolded(tmp_path, "text,label", *rows, dev=("a film x,fair", "a film y,good"))
    assert "# classes: good (20), bad (20); only in dev: fair; 20 rows without" in more


def test_invisible_characters_of_a_name_are_escaped(tmp_path: Path) -> None:
    text = scaffolded(tmp_path, "te\u200bxt,label", *(f"a film number {n},{n % 2}" for n in range(40)))
    assert 'text = "te\\u200bxt"' in text and tomllib.loads(text)["tasks"]["x"]["text"] == "te\u200bxt"
