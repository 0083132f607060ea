"""Draw inputs and requests, kill processes; print the figures, write them into docs/reliability.md.

    python tests/fuzz/run.py --seconds 3600 --kills 1000 --write

Another --seed draws others. --seconds 0 draws no inputs and no requests, --kills 0 kills nothing: the page
then keeps the figures of what was left out. A fault of a kill is told at once, and again at the end.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "tests" / "fuzz")]


def main() -> int:
    """Run all harnesses; return 1 where anything is to be mended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0,
                        help="how long inputs are drawn; requests a quarter as long")
    parser.add_argument("--kills", type=int, default=100, help="how many processes are killed")
    parser.add_argument("--minutes", type=float, default=math.inf, help="how long to kill at most")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", metavar="SCENARIO", help="kill this one alone, and draw no inputs")
    parser.add_argument("--at", type=int, nargs="+", metavar="N",
                        help="with --only: kill before these operations, one after the other")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/reliability.md")
    chosen = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    if chosen.at and not chosen.only:
        parser.error("--at: needs --only, the scenario whose operations it counts")
    if chosen.write and chosen.only:
        parser.error("--write: a page has the figures of all scenarios; leave out --only")
    with tempfile.TemporaryDirectory(prefix="polytask-fuzz-") as name:
        os.environ["POLYTASK_CACHE"] = str(Path(name) / "cache")
        tables, bad = _figures(Path(name), chosen)
    sys.stdout.write("\n\n".join([*filter(None, tables.values()), *bad, ""]))
    if chosen.write:
        page = PAGE.read_text(encoding="utf-8")
        for part, table in tables.items():
            if not table:
                continue
            page = _between(page, part, f"{table}\n\n{_about(chosen)}")
        PAGE.write_text(page, encoding="utf-8")
    return bool(bad)


def _figures(folder: Path, chosen: argparse.Namespace) -> tuple[dict[str, str], list[str]]:
    """Return a table for each harness, and what went wrong."""
    import torch
    from fuzz_campaign import KINDS, campaign
    from fuzz_requests import KINDS as ENDS
    from fuzz_requests import request_campaign
    from fuzz_world import build
    from kill_points import Kills
    from kill_scenarios import scenarios

    torch.set_num_threads(1)
    world = build(folder / "world")
    seed, wanted = chosen.seed, 0 if chosen.at else chosen.kills
    draws = not chosen.only and chosen.seconds > 0
    fuzzed = campaign(world, folder / "place", chosen.seconds, seed) if draws else {}
    requests = request_campaign(chosen.seconds / 4, seed) if draws else None
    killed = [Kills(scenario, folder / name) for name, scenario in scenarios(world).items()
              if chosen.only in (None, name) and (wanted or chosen.at)]
    until = time.monotonic() + 60 * chosen.minutes
    for each in killed if chosen.at else ():
        each.at(chosen.at, "as asked")
    share = math.ceil(wanted / max(1, len(killed)))
    while time.monotonic() < until and (wanting := [each for each in killed if each.wants(share)]):
        for each in wanting:
            known = len(each.figures.bad)
            each.once(seed)
            sys.stderr.write("".join(f"{fault}\n" for fault in each.figures.bad[known:]))
        seed += 1
    inputs = "\n".join([f"| inputs | tries | {' | '.join(KINDS)} | slowest |",
                        "|---|" + "--:|" * (len(KINDS) + 2),
                        *(figures.row(name) for name, figures in fuzzed.items())]) if fuzzed else ""
    sent = "\n".join([f"| what is sent | tries | {' | '.join(ENDS)} |", "|---|" + "--:|" * (len(ENDS) + 1),
                      requests.row("requests")]) if requests else ""
    columns = ("operations", "kinds killed at", "kills", "ends equal", "differ", "left behind")
    kills = "\n".join([f"| what is killed | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns),
                       *(each.figures.row(each.scenario.name) for each in killed)]) if killed else ""
    every = (*fuzzed.values(), *((requests,) if requests else ()), *(each.figures for each in killed))
    return ({"fuzz": inputs, "requests": sent, "kills": kills},
            [said for figures in every for said in figures.bad])


def _about(chosen: argparse.Namespace) -> str:
    command = shlex.join(["python", "tests/fuzz/run.py", "--seconds", f"{chosen.seconds:g}",
                          "--kills", str(chosen.kills), "--seed", str(chosen.seed),
                          *(["--minutes", f"{chosen.minutes:g}"] if chosen.minutes < math.inf else []),
                          "--write"])
    return (f"`{command}`, {time.strftime('%Y-%m-%d')}, {platform.machine()}, one process on "
            f"a busy machine of {os.cpu_count()} cores, Python {platform.python_version()}.")


def _between(page: str, part: str, text: str) -> str:
    """Return a page with the text between two markers replaced."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    found = re.compile(rf"{begin}.*?{end}", re.DOTALL)
    assert found.search(page), f"{PAGE} has no marker {begin}"
    return found.sub(lambda _: f"{begin}\n{text}\n{end}", page)


if __name__ == "__main__":
    raise SystemExit(main())
