"""Source is parsed in several threads at once."""

import ast
from concurrent.futures import ThreadPoolExecutor

from tiersim._base.syntax import parse

DEEP = "x = " + "+".join(f"f({'(' * 20}{number}{')' * 20})" for number in range(300))


def test_threads_do_not_disturb_each_other() -> None:
    expected = ast.dump(ast.parse(DEEP))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(parse, [DEEP] * 64))
    assert {ast.dump(tree) for tree in made} == {expected}
