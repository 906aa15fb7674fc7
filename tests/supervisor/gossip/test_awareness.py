"""How well a member is, in its own view."""

from supervisor.gossip.awareness import Awareness


def test_the_score_stays_between_nothing_and_its_limit() -> None:
    awareness = Awareness(8)
    awareness.better()
    assert awareness.score == 0
    awareness.worse(5)
    awareness.worse(5)
    assert awareness.score == 8
    awareness.better()
    assert awareness.score == 7


def test_without_lifeguard_the_score_never_moves() -> None:
    awareness = Awareness(0)
    awareness.worse(4)
    assert awareness.score == 0
