"""The barrier head: a direction as ever, and a probability that time runs out."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_models.heads import DIRECTION_HEADS, BarrierHead, ChangeHead, DirectionHead


@pytest.fixture
def head():
    torch.manual_seed(0)
    return BarrierHead(4, 2)


def test_there_are_two_logits_a_horizon(head):
    assert head(torch.randn(5, 4)).shape == (5, 4)
    assert head(torch.randn(5, 7, 4)).shape == (5, 7, 4)


def test_its_direction_loss_is_that_of_the_first_half(head):
    logits, target = torch.randn(6, 4), torch.randn(6, 2)
    plain = DirectionHead(4, 2)
    assert head.loss(logits, target) == plain.loss(logits[:, :2], target)


def test_its_time_out_loss_is_the_cross_entropy_of_the_second_half(head):
    logits = torch.tensor([[9.0, -9.0, 0.0, math.log(3)]])
    timed_out = torch.tensor([[1.0, 0.0]])
    expected = (math.log(2) - math.log(1 / 4)) / 2
    assert float(head.timeout_loss(logits, timed_out)) == pytest.approx(expected, rel=1e-6)


def test_time_outs_teach_the_direction_nothing(head):
    logits = torch.zeros(1, 4, requires_grad=True)
    head.timeout_loss(logits, torch.ones(1, 2)).backward()
    assert logits.grad[0, :2].tolist() == [0.0, 0.0]
    assert (logits.grad[0, 2:] < 0).all()


@pytest.mark.parametrize("kind", ["direction", "timeout", "change"])
def test_a_weight_of_two_is_a_sample_twice(head, kind):
    values, target = torch.randn(3, 4), torch.randn(3, 2)
    loss = {
        "direction": head.loss,
        "timeout": lambda logits, goal, weight=None: head.timeout_loss(
            logits, (goal > 0).float(), weight
        ),
        "change": lambda logits, goal, weight=None: ChangeHead(1, 2).loss(
            torch.stack([logits[:, :2] - 1, logits[:, :2], logits[:, :2] + 1], dim=-1), goal, weight
        ),
    }[kind]
    weight = torch.tensor([[2.0, 2.0], [1.0, 1.0], [0.0, 0.0]])
    doubled = [0, 0, 1]
    torch.testing.assert_close(loss(values, target, weight), loss(values[doubled], target[doubled]))


def test_weights_of_one_change_nothing(head):
    logits, target = torch.randn(6, 4), torch.randn(6, 2)
    torch.testing.assert_close(
        head.loss(logits, target, torch.ones(6, 2)), head.loss(logits, target)
    )


def test_each_target_has_its_head():
    assert DIRECTION_HEADS["horizon-return"] is DirectionHead
    assert DIRECTION_HEADS["triple-barrier"] is BarrierHead
