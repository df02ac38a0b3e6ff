"""Windows are views; a batch is one gather; the order of an epoch is its own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.data import WindowLoader
from lightning_models.data.windows import gather_windows

FEATURES = torch.arange(600, dtype=torch.float32).reshape(200, 3)
TARGETS = torch.arange(200, dtype=torch.float32).reshape(200, 1)


def loader(count=100, **changes):
    options = {"lookback": 5, "batch_size": 32, "shuffle": True, "seed": 7} | changes
    return WindowLoader(FEATURES, TARGETS, torch.arange(10, 10 + count), **options)


def order(batches):
    return torch.cat([batch.target[:, 0] for batch in batches]).tolist()


def test_a_window_ends_at_its_row_and_holds_the_rows_before_it():
    windows = gather_windows(FEATURES, torch.tensor([4, 199]), 5)
    assert windows.shape == (2, 5, 3)
    assert torch.equal(windows[0], FEATURES[:5])
    assert torch.equal(windows[1], FEATURES[195:])
    assert windows.is_contiguous()


def test_a_loader_holds_no_copy_of_the_features():
    held = loader()
    assert held.features.data_ptr() == FEATURES.data_ptr()
    assert held.targets.data_ptr() == TARGETS.data_ptr()
    tensors = [value for value in vars(held).values() if isinstance(value, torch.Tensor)]
    assert sum(tensor.numel() for tensor in tensors) == 600 + 200 + 100


def test_windows_are_views_until_they_are_gathered():
    views = FEATURES.unfold(0, 50, 1)
    assert views.data_ptr() == FEATURES.data_ptr()
    assert views.untyped_storage().nbytes() == FEATURES.untyped_storage().nbytes()


def test_a_batch_has_the_targets_of_its_windows():
    for batch in loader():
        assert torch.equal(batch.window[:, -1, 0], 3 * batch.target[:, 0])


@given(count=st.integers(2, 130), size=st.integers(2, 40))
def test_a_shuffled_batch_is_never_a_single_sample(count, size):
    held = loader(count, batch_size=size)
    sizes = [len(batch.window) for batch in held]
    assert len(sizes) == len(held)
    assert min(sizes) > 1
    assert count - sum(sizes) <= 1


def test_batch_normalisation_could_not_be_trained_on_one():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        torch.nn.BatchNorm1d(3).train()(torch.ones(1, 3))


@given(count=st.integers(1, 130), size=st.integers(1, 40))
def test_without_shuffling_every_sample_comes_once_and_in_order(count, size):
    held = loader(count, batch_size=size, shuffle=False)
    assert order(held) == list(range(10, 10 + count))
    assert len(list(held)) == len(held)


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 500))
def test_the_order_depends_on_seed_and_epoch_alone(seed, epoch):
    first, second = loader(seed=seed), loader(seed=seed)
    list(first)  # what was iterated over before does not matter
    torch.manual_seed(epoch)
    for held in (first, second):
        held.set_epoch(epoch)
    assert order(first) == order(second)


def test_each_epoch_and_each_seed_has_an_order_of_its_own():
    held, orders = loader(), []
    for epoch in range(3):
        held.set_epoch(epoch)
        orders.append(order(held))
    orders.append(order(loader(seed=8)))
    assert len({tuple(each) for each in orders}) == 4
    assert all(sorted(each) == sorted(orders[0]) for each in orders)


@given(count=st.integers(33, 200 - 10), done=st.integers(0, 6), epoch=st.integers(0, 5))
def test_a_loader_goes_on_after_the_batches_that_another_has_handed_out(count, done, epoch):
    first, second = loader(count), loader(count)
    first.set_epoch(epoch)
    whole = [batch.target.tolist() for batch in first]
    begun = iter(first)
    done = min(done, len(whole))
    for _ in range(done):
        next(begun)
    second.load_state_dict(first.state_dict())
    left = [batch.target.tolist() for batch in second]
    # All handed out is the end of an epoch: what comes next is a whole one.
    assert left == whole[done % len(whole) :] if done else whole
    assert [batch.target.tolist() for batch in second] == whole


def test_another_epoch_begins_at_its_first_batch():
    held = loader()
    held.load_state_dict({"epoch": 1, "batches": 2})
    held.set_epoch(2)
    assert len(list(held)) == len(held)


def test_replayed_windows_are_the_asked_share_drawn_anew_each_epoch():
    older = torch.arange(120, 180)
    held = loader(60)
    alone = sorted(order(held))
    held.replay(older, 0.25)
    drawn = []
    for epoch in range(3):
        held.set_epoch(epoch)
        given = order(held)
        assert given == order(held)
        assert sorted(row for row in given if row < 100) == alone
        replayed = [row for row in given if row >= 100]
        assert len(replayed) == len(set(replayed)) == 20
        drawn.append(sorted(replayed))
    assert drawn[0] != drawn[1] != drawn[2]


def test_no_more_is_replayed_than_there_is():
    held = loader(60)
    held.replay(torch.arange(120, 125), 0.5)
    assert sum(row >= 100 for row in order(held)) == 5
    assert len(held) == len(list(held))
