"""Groups of processes that run the same function of a test, over gloo: started once, used by many cases."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from torch import Tensor

CLOSE = 1e-5
# Below the limit of a test, and long: four processes on two busy cores wait for each other.
SECONDS = 250


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Assert that weights are those expected, to rounding."""
    assert found.keys() == expected.keys()
    apart = {name: (found[name] - expected[name]).abs().max().item() for name in found}
    worst = max(apart, key=lambda name: apart[name])
    assert apart[worst] < CLOSE, f"{worst} is {apart[worst]:.1e} apart"


class Group:
    """`world` processes, forked from one that has imported torch, which meet in a file."""

    def __init__(self, world: int, folder: Path) -> None:
        self.world = world
        start = multiprocessing.get_context("forkserver")
        start.set_forkserver_preload(["several_cases"])
        self._pipes, self._processes = [], []
        for rank in range(world):
            ours, theirs = start.Pipe()
            process = start.Process(
                target=_serve, args=(rank, world, str(folder / f"meet-{world}"), theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, function: Callable[..., Any], *given: Any) -> list[Any]:
        """Call `function(processes, *given)` in every process; return what each returns, or raise."""
        for pipe in self._pipes:
            pipe.send((function, given))
        answers = []
        for rank, pipe in enumerate(self._pipes):
            if not pipe.poll(SECONDS):
                raise TimeoutError(f"process {rank} of {self.world} has no answer")
            answers.append(pipe.recv())
        for answer in answers:
            if isinstance(answer, _Failure):
                raise AssertionError(answer.text)
        return answers

    def run_of(self, rank: int, function: Callable[..., Any], *given: Any,
               meanwhile: Callable[[], None] = lambda: None) -> Any:
        """Call the function in every process; return what one of them returns, whatever befalls others."""
        for pipe in self._pipes:
            pipe.send((function, given))
        meanwhile()
        if not self._pipes[rank].poll(SECONDS):
            raise TimeoutError(f"process {rank} of {self.world} has no answer")
        return self._pipes[rank].recv()

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()

    def kill(self, rank: int) -> None:
        """End a process as the kernel does when memory runs out."""
        self._processes[rank].kill()


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _serve(rank: int, world: int, meeting: str, pipe: Connection) -> None:
    import torch
    import torch.distributed as dist

    from polytask.learn.torch_processes import TorchProcesses

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    while True:
        try:
            function, given = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(function(TorchProcesses(), *given))
        except BaseException:
            pipe.send(_Failure(traceback.format_exc()))
