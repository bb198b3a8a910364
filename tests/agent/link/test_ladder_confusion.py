"""The confusion matrix over many seeded sequences of faults."""

from tests.lab.confusion import confusion

SEQUENCES = 300


def test_random_faults_are_called_by_their_cause_and_none_is_missed_or_invented():
    matrix = confusion(SEQUENCES)
    told = "\n".join(matrix.remarks)
    assert matrix.total > 3 * SEQUENCES
    assert matrix.missed == 0, told
    assert matrix.invented == 0, told
    assert matrix.right >= 0.99, told
    # Loss and delay show over many probes only; all else is true to 30 s.
    assert matrix.late["degraded"] <= 0.01 * matrix.total, told
    assert matrix.late.total() == matrix.late["degraded"], told
