"""What an ack says about reports that are under way."""

import pytest

from agent.province.acks import read_ack, still_under_way

A, B = b"aaaa", b"bbbb"


def under_way(sent, stored, answered=0, live=True):
    return still_under_way(sent, lambda stream, seq: (stream, seq) in stored, answered, live)


def test_what_was_sent_before_something_stored_was_lost_and_is_sent_again():
    sent = [(A, 10, 1), (A, 9, 1), (A, 8, 1), (A, 11, 1)]
    assert under_way(sent, {(A, 10), (A, 8)}) == [(A, 11, 1)]


def test_what_was_sent_last_may_still_arrive():
    sent = [(A, 10, 1), (A, 9, 1)]
    assert under_way(sent, set()) == sent


def test_the_ack_to_a_birth_settles_all_earlier_connections():
    sent = [(A, 10, 1), (A, 9, 2)]
    assert under_way(sent, set(), answered=2) == [(A, 9, 2)]


def test_a_retained_ack_proves_no_loss():
    sent = [(A, 9, 1), (A, 10, 1)]
    assert under_way(sent, {(A, 10)}, live=False) == [(A, 9, 1)]


def test_streams_are_told_apart():
    sent = [(B, 1, 1), (A, 1, 1)]
    assert under_way(sent, {(B, 1)}) == [(A, 1, 1)]


@pytest.mark.parametrize(
    "ack",
    [
        None,
        [],
        {},
        {1: b"abc", 2: 1, 4: 1},
        {1: A, 2: -1, 4: 1},
        {1: A, 2: True, 4: 1},
        {1: A, 2: 1, 4: None},
        {1: A, 2: 1, 4: 1, 3: [[5]]},
        {1: A, 2: 5, 4: 1, 3: [[5, 6]]},
        {1: A, 2: 1, 4: 1, 3: [[9, 8]]},
        {1: A, 2: 1, 4: 1, 3: [[5, 6], [6, 7]]},
        {1: A, 2: 1, 4: 1, 3: [[i, i] for i in range(3, 60, 2)]},
        {1: A, 2: 1, 4: 1, 3: "no"},
    ],
)
def test_a_malformed_ack_is_refused(ack):
    with pytest.raises(ValueError):
        read_ack(ack)


def test_a_good_ack():
    ack = {1: A, 2: 4, 3: [[6, 7], [9, 9]], 4: 1_800_000_000, 5: [3, 1]}
    assert read_ack(ack) == (A, 4, [[6, 7], [9, 9]], 1_800_000_000, [3, 1])
