"""Work spread over threads."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from flows.parallel import spread


def test_each_item_is_done_once_and_no_tool_by_two_at_a_time() -> None:
    tools, items = [threading.Lock(), threading.Lock()], list(range(50))

    def do(tool: threading.Lock, item: int) -> int:
        assert tool.acquire(blocking=False)
        tool.release()
        return item * item

    assert sorted(spread(items, tools, do)) == [(item, item * item) for item in items]


def test_items_not_begun_are_dropped_where_one_fails_or_nobody_asks() -> None:
    begun = []

    def do(tool: None, item: int) -> None:
        begun.append(item)
        time.sleep(0.002)
        if item == 1:
            raise ValueError("one fails")

    with pytest.raises(ValueError, match="one fails"):
        list(spread(range(1000), [None], do))
    assert len(begun) < 1000
    begun.clear()
    with closing(spread(range(2, 1000), [None], do)) as outcomes:
        next(outcomes)
    assert len(begun) < 998
