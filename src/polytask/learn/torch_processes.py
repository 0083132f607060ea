"""Several processes of one training, over `torch.distributed`, which only this and `layer_shards` know.

    torchrun --standalone --nproc-per-node 4 -m polytask train three.toml --out runs/first

A launcher sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; `joined` reads them. Gradients
and outputs travel over nccl between GPUs and over gloo between CPUs, everything small over gloo.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from polytask.core.errors import PeerLost, PolytaskError, RunError
from polytask.core.processes import ALONE, Processes
from polytask.core.run_folder import first_difference
from polytask.learn.heartbeat import Heartbeat
from polytask.learn.launcher import place_of

T = TypeVar("T")
# How long a process waits for one that is alive: others may be reading data. One that dies closes its
# connections, which is noticed at once; one that falls silent, `Heartbeat` notices.
TIMEOUT = timedelta(minutes=30)
# How long a shared file system may take to show a file to other machines.
SHARED_SECONDS = 10.0
# gloo's words for a connection to a process that is gone or never existed.
_LOST = ("gloo", "Connection", "connection", "Broken pipe", "imed out", "Socket")


class TorchProcesses(Processes):
    """This process's place among those of `torch.distributed`'s default group."""

    def __init__(self, store: Any = None) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        self.restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        self._store = store
        self._heartbeat: Heartbeat | None = None
        # What is small lies on the CPU, which nccl cannot reach.
        self._control = (dist.new_group(backend="gloo", timeout=TIMEOUT) if torch.cuda.is_available()
                         else None)

    def _group(self, tensor: Tensor) -> Any:
        """Return the group that reaches a tensor's memory."""
        return self._control if tensor.device.type == "cpu" else None

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            alike[tensor.dtype, tensor.device].append(tensor)
        for same_kind in alike.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in same_kind])
            with _answered():
                dist.all_reduce(flat, group=self._group(flat))
            pieces = torch.split(flat, [tensor.numel() for tensor in same_kind])
            torch._foreach_copy_(same_kind, [piece.view_as(tensor)
                                        for piece, tensor in zip(pieces, same_kind, strict=True)])

    def total(self, value: Tensor) -> Tensor:
        summed = value.detach().clone()
        with _answered():
            dist.all_reduce(summed, group=self._group(summed))
        return _Replaced.apply(value, summed)  # type: ignore[no-any-return, no-untyped-call]

    def whole(self, tensors: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
        padded = [_padded(tensor.detach().float()[:len(self.share(count))], -(-count // self.world))
                  for tensor, count in zip(tensors, rows, strict=True)]
        flat = torch.cat([each.reshape(-1) for each in padded])
        parts = [torch.empty_like(flat) for _ in range(self.world)]
        with _answered():
            dist.all_gather(parts, flat)
        pieces = [torch.split(part, [each.numel() for each in padded]) for part in parts]
        return [self._placed(tensor, count, [piece[number].view_as(padded[number]) for piece in pieces])
                for number, (tensor, count) in enumerate(zip(tensors, rows, strict=True))]

    def _placed(self, own: Tensor, rows: int, parts: Sequence[Tensor]) -> Tensor:
        """Return the parts of all processes in the order of the rows, this process's with its graph."""
        whole = parts[0].new_empty(rows, *own.shape[1:])
        for rank, part in enumerate(parts):
            into = whole[rank::self.world]
            into.copy_(part[:len(into)])
        mine = self.share(rows)
        if not mine:
            return whole + own.float().sum() * 0
        return whole.index_copy(0, torch.tensor(list(mine), device=own.device), own.float())

    def gather(self, tensor: Tensor) -> list[Tensor]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        with _answered():
            dist.all_gather(sizes, torch.tensor([len(tensor)]), group=self._control)
        padded = _padded(tensor, max(int(size) for size in sizes))
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        with _answered():
            dist.all_gather(parts, padded, group=self._group(padded))
        return [part[:int(size)] for part, size in zip(parts, sizes, strict=True)]

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            with _answered():
                dist.broadcast(tensor, 0, group=self._group(tensor))

    def any(self, flag: bool) -> bool:
        result = torch.tensor([int(flag)])
        with _answered():
            dist.all_reduce(result, dist.ReduceOp.MAX, group=self._control)
        return bool(result)

    def agreed(self, value: T) -> T:
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = torch.tensor([len(text)])
        self.broadcast_([size])
        received = text if self.writes else torch.empty(int(size), dtype=torch.uint8)
        self.broadcast_([received])
        agreed: T = json.loads(received.numpy().tobytes())
        return agreed

    def refuse_differences(self, what: str, table: dict[str, Any]) -> None:
        own = json.loads(json.dumps(table))
        if difference := first_difference(self.agreed(own), own):
            key, theirs, ours = difference
            raise RunError(f"process {self.rank} on {socket.gethostname()} disagrees with process 0 about "
                           f"{what}: {key} is {_shown(ours)}, and {_shown(theirs)} there; start every "
                           "process with the same command, config, data files and encoder")

    def refuse_unshared(self, file: Path) -> None:
        written = self.agreed(_written(file))
        deadline = time.monotonic() + SHARED_SECONDS
        while _written(file) != written:
            if time.monotonic() > deadline:
                raise RunError(f"{file.parent}: process {self.rank} on {socket.gethostname()} does not see "
                               "the folder that process 0 made; --out must be on a file system that all "
                               "machines share")
            time.sleep(0.1)

    def barrier(self) -> None:
        with _answered():
            dist.barrier(group=self._control)

    @contextmanager
    def one_first(self) -> Iterator[None]:
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def watch(self) -> None:
        """Give up a process that falls silent without closing its connections."""
        if self._store is not None:
            self._heartbeat = Heartbeat(self._store.clone(), self.rank, self.world, self._give_up)
            self._heartbeat.start()

    def unwatch(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()

    def _give_up(self, rank: int) -> None:
        """End this process, whose training may wait for the silent one in a call that nothing interrupts.

        The others see its connections close, and stop as well.
        """
        sys.stderr.write(f"polytask: process {rank} of this training does not answer, so all "
                         "processes stop; --resume continues from the last checkpoint\n")
        sys.stderr.flush()
        os._exit(2)

    def claim_error(self) -> bool:
        """Return whether it is this process that tells the user why all of them stop.

        The first to ask on each machine does, for each launcher shows and logs its own processes.
        """
        if self._store is None:
            return self.writes
        machine = os.environ.get("GROUP_RANK") or socket.gethostname()
        with suppress(RuntimeError):
            return int(self._store.add(f"why machine {machine} stops", 1)) == 1
        return True  # the store's owner is gone: better said twice than never


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """Give this process's place among those that a launcher started; alone, `ALONE`.

    Raises `RunError` for an environment that is not complete, an address that cannot be had and a GPU
    that is not there. Of errors that end the training, one process's on each machine is told; the others'
    are `silent`.
    """
    if dist.is_available() and dist.is_initialized():  # by whoever called us
        yield TorchProcesses()
        return
    place = place_of(environment)
    if place is None:
        yield ALONE
        return
    store = _start(*place)
    processes = TorchProcesses(store)
    processes.watch()
    try:
        yield processes
    except PolytaskError as error:
        error.silent = not processes.claim_error()
        raise
    finally:
        processes.unwatch()
    dist.destroy_process_group()


def _start(rank: int, world: int, local_rank: int) -> Any:
    """Meet the other processes; return the store that they share."""
    cuda = torch.cuda.is_available()
    if cuda:
        if local_rank >= (gpus := torch.cuda.device_count()):
            raise RunError(f"LOCAL_RANK: process {local_rank} of this machine has no GPU of its own: there "
                           f'are {gpus}; start {gpus} processes, or set CUDA_VISIBLE_DEVICES="" to train '
                           'on the CPU')
        torch.cuda.set_device(local_rank)
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    # torchrun may keep its store when it starts the processes again: each attempt has addresses of its own.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store, rank, world = next(rendezvous("env://", rank, world, timeout=TIMEOUT))
        store = PrefixStore(f"attempt {attempt}", store)
        dist.init_process_group("nccl" if cuda else "gloo", store=PrefixStore("group", store),
                                rank=rank, world_size=world, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
            port = os.environ["MASTER_PORT"]
            raise RunError(f"MASTER_PORT: port {port} is taken on {socket.gethostname()}; choose another, "
                           "or use torchrun --standalone, which finds a free one") from None
        raise RunError(f"process {rank} of {world} could not reach the others at {address} ({reason}); "
                       "check MASTER_ADDR, MASTER_PORT and the firewalls between the machines") from None
    return store


class _Replaced(torch.autograd.Function):
    """A value in the place of another, whose gradient it takes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _written(file: Path) -> int:
    """Return when a file was written, in nanoseconds; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _padded(tensor: Tensor, size: int) -> Tensor:
    """Return a tensor with zeros behind its first dimension, up to `size`."""
    missing = size - len(tensor)
    if not missing:
        return tensor.contiguous()
    return torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])


@contextmanager
def _answered() -> Iterator[None]:
    """Turn the failure of a collective into `PeerLost`; what is not a failure of a connection passes."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        if not isinstance(error, dist.DistError) and not any(word in reason for word in _LOST):
            raise
        why = "does not answer" if "imed out" in reason else "has ended"
        raise PeerLost(f"another process of this training {why}, so all processes stop") from None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
