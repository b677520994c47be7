"""The year of lives; run by ``make explore`` alone. A failure names its seed."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monitor.storage.database import Database
from tests.year_of_lives import Contract, Year, broken_promises


@pytest.mark.parametrize("contract", Contract)
@settings(
    max_examples=5,  # on each database and by each contract, ten lives each: two hundred
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_a_year_of_lives_keeps_what_is_promised(database: Database, contract: Contract, seed: int) -> None:
    year = Year(database, contract, seed)
    year.live()
    assert broken_promises(year) == []
