"""Chunks: every sample gets its loss once an epoch, and nothing crosses a symbol."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.data.chunks import ChunkLoader


def loader(ends, runs, *, rows=None, **changes):
    rows = rows or runs[-1][1]
    numbers = torch.arange(rows, dtype=torch.float32)[:, None]
    options = {"steps": 16, "burn_in": 8, "batch_size": 3, "shuffle": True} | changes
    return ChunkLoader(numbers, numbers, np.asarray(ends), runs, **options)


def labelled_rows(chunks):
    return torch.cat([batch.target[batch.labelled][:, 0] for batch in chunks]).long().tolist()


@given(
    first=st.integers(0, 40),
    length=st.integers(1, 120),
    second=st.integers(1, 60),
    epoch=st.integers(0, 20),
    shuffle=st.booleans(),
)
def test_each_sample_has_a_loss_exactly_once(first, length, second, epoch, shuffle):
    runs = [(5, 200), (210, 300)]
    ends = [*range(5 + first, 5 + first + length), *range(215, 215 + second)]
    chunks = loader(ends, runs, shuffle=shuffle)
    chunks.set_epoch(epoch)
    assert sorted(labelled_rows(chunks)) == ends


def test_the_burn_in_lies_right_before_the_labelled_steps():
    chunks = loader(range(40, 180), [(0, 200)])
    for batch in chunks:
        assert batch.sequence.shape[1] == 8 + 16
        for rows, labelled, target in zip(
            batch.sequence[:, :, 0], batch.labelled, batch.target[:, :, 0], strict=True
        ):
            assert torch.equal(rows[8:][labelled], target[labelled])
            assert (rows[1:] - rows[:-1]).unique().tolist() in ([1.0], [0.0, 1.0])


def test_a_chunk_stays_within_its_symbol():
    runs = [(0, 50), (50, 100)]
    for batch in loader([*range(20, 50), *range(70, 100)], runs):
        owner = batch.sequence[:, :, 0] >= 50
        assert (owner == owner[:, :1]).all()


def test_without_its_runs_a_chunk_would_read_the_neighbour():
    crossed = [
        bool((batch.sequence[:, :, 0] >= 50).any() and (batch.sequence[:, :, 0] < 50).any())
        for batch in loader(range(20, 100), [(0, 100)], batch_size=1)
    ]
    assert any(crossed)


def test_epochs_are_cut_differently_and_each_the_same_again():
    chunks = loader(range(20, 190), [(0, 200)])
    cuts = []
    for epoch in (0, 1, 0):
        chunks.set_epoch(epoch)
        cuts.append([batch.sequence.clone() for batch in chunks])
    assert all(torch.equal(*pair) for pair in zip(cuts[0], cuts[2], strict=True))
    assert not all(torch.equal(*pair) for pair in zip(cuts[0], cuts[1], strict=True))


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_length_is_the_number_of_batches(shuffle):
    chunks = loader(range(20, 190), [(0, 200)], shuffle=shuffle)
    for epoch in range(5):
        chunks.set_epoch(epoch)
        assert len(list(chunks)) == len(chunks)


@given(done=st.integers(0, 8), epoch=st.integers(0, 5))
def test_a_loader_goes_on_after_the_batches_that_another_has_handed_out(done, epoch):
    first, second = (loader(range(20, 180), [(0, 200)]) for _ in range(2))
    first.set_epoch(epoch)
    whole = [batch.sequence.tolist() for batch in first]
    begun = iter(first)
    done = min(done, len(whole) - 1)
    for _ in range(done):
        next(begun)
    second.load_state_dict(first.state_dict() if done else {"epoch": epoch, "batches": 0})
    assert [batch.sequence.tolist() for batch in second] == whole[done:]
    assert [batch.sequence.tolist() for batch in second] == whole


def test_replayed_chunks_are_the_asked_share_drawn_anew_each_epoch():
    newer, older = range(400, 560), torch.arange(20, 320)
    chunks = loader(newer, [(0, 600)])
    alone = sum(len(batch.target) for batch in chunks)
    chunks.replay(older, 0.25)
    drawn = []
    for epoch in range(3):
        chunks.set_epoch(epoch)
        rows = labelled_rows(chunks)
        assert sorted(row for row in rows if row >= 400) == list(newer)
        replayed = sorted(row for row in rows if row < 400)
        assert set(replayed) < set(older.tolist())
        assert len(replayed) == len(set(replayed))
        assert sum(len(batch.target) for batch in chunks) - alone == round(alone / 3)
        drawn.append(replayed)
    assert drawn[0] != drawn[1] != drawn[2]
    assert len(chunks) == len(list(chunks))


def test_without_replay_no_older_row_has_a_loss():
    assert min(labelled_rows(loader(range(400, 560), [(0, 600)]))) == 400
