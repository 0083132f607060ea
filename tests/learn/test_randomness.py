"""What is drawn alone, and what several processes draw of it."""

from __future__ import annotations

import torch

from polytask.core.processes import ALONE, Processes
from polytask.learn.randomness import Randomness

CPU = torch.device("cpu")


class OfTwo(Processes):
    """One of two processes that does not hear the other: what it gathers it has itself."""

    world = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        return [tensor, tensor + 1]


def begun(rank: int) -> Randomness:
    torch.manual_seed(11)  # where building the network leaves torch's generator, in every process
    return Randomness(OfTwo(rank), 3, CPU)


def test_noise_of_a_draw_is_that_of_one_process_and_masks_are_a_process_s_own() -> None:
    like = torch.empty(5, 4)
    torch.manual_seed(11)
    alone = Randomness(ALONE, 3, CPU).normal(like, 5, None)
    rows = [torch.tensor([0, 2, 4]), torch.tensor([1, 3])]
    masks = []
    for rank, mine in enumerate(rows):
        random = begun(rank)
        assert torch.equal(random.normal(like[: len(mine)], 5, mine), alone[mine])
        masks.append(torch.rand(8))
    assert not torch.equal(*masks)
    assert torch.equal(masks[1], torch.rand(8, generator=torch.Generator().manual_seed(3 + 1)))


def test_what_a_weighting_draws_is_the_same_in_every_process_and_another_in_each_update() -> None:
    drawn = []
    for rank in (0, 1):
        random = begun(rank)
        before = torch.get_rng_state()
        for update in (0, 1):
            with random.alike(update):
                drawn.append(torch.randn(3))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[2]) and torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])
    with Randomness(ALONE, 3, CPU).alike(0):
        assert torch.equal(torch.randn(3), drawn[0])
    with Randomness(ALONE, 4, CPU).alike(0):
        assert not torch.equal(torch.randn(3), drawn[0]), "another seed"


def test_a_state_is_returned_to_by_as_many_processes_and_by_another_number() -> None:
    like, everything = torch.empty(2, 3), torch.arange(2)
    random = begun(0)
    torch.rand(3)
    random.normal(like, 2, everything)
    state = random.state()
    assert len(state["masks"]) == 2
    expected = (random.normal(like, 2, everything), torch.rand(4))
    same = begun(0)
    same.restore(state, 9)
    assert torch.equal(same.normal(like, 2, everything), expected[0])
    assert torch.equal(torch.rand(4), expected[1])
    alone = Randomness(ALONE, 3, CPU)
    alone.restore(state, 9)
    assert torch.equal(alone.normal(like, 2, None), expected[0])
    fewer = begun(0)
    fewer.restore(state | {"masks": state["masks"] * 2}, 9)
    first = torch.rand(4)
    fewer.restore(state | {"masks": state["masks"] * 2}, 10)
    assert torch.equal(fewer.normal(like, 2, everything), expected[0])
    assert not torch.equal(torch.rand(4), first)
