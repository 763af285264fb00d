"""A lock that is given in the order in which it was asked for."""

import threading
import time

from provider.engine.turns import Turns


def test_whoever_asked_first_is_next_and_nobody_is_passed_over() -> None:
    turns, order, waiting = Turns(), [], []

    def wait(number: int) -> None:
        with turns:
            order.append(number)

    with turns:
        for number in range(5):
            thread = threading.Thread(target=wait, args=(number,))
            thread.start()
            waiting.append(thread)
            time.sleep(0.05)  # So that they ask one after the other.
        assert order == []
    with turns:  # Asked for last, by the thread that has just let it go.
        assert order == [0, 1, 2, 3, 4]
    for thread in waiting:
        thread.join(60)


def test_one_at_a_time_under_many_threads() -> None:
    turns, inside, most = Turns(), [0], [0]

    def work() -> None:
        for _ in range(200):
            with turns:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, inside) == ([1], [0])


def test_an_error_inside_lets_the_next_one_in() -> None:
    turns = Turns()
    try:
        with turns:
            raise ValueError("inside")
    except ValueError:
        pass
    with turns:
        assert turns is not None
