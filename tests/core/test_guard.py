from __future__ import annotations

import pytest

from backup_sync.core.errors import DeletesWithheld, SetBackWithheld
from backup_sync.core.guard import check_deletes, check_set_back


def check(found: int, source: int = 80, backup: int = 100, share: float = 0.2, count: int = 10, allow: bool = False):
    check_deletes("thing", found, source, backup, share=share, count=count, allow=allow)


def test_only_over_both_limits_are_deletes_withheld():
    check(20)
    with pytest.raises(DeletesWithheld):
        check(21)
    check(10, backup=10)
    with pytest.raises(DeletesWithheld):
        check(11, backup=11)


def test_the_message_names_the_numbers_and_the_parameter_that_lets_them_through():
    with pytest.raises(DeletesWithheld, match=r"withheld 21 deletes from a backup of 100 records because that is 21%"):
        check(21)
    with pytest.raises(DeletesWithheld, match="allow_mass_delete=true"):
        check(21)


def test_an_empty_source_deletes_nothing_however_small_the_backup():
    with pytest.raises(DeletesWithheld, match="the source reads as empty"):
        check(1, source=0, backup=1)
    check(0, source=0, backup=0)


def test_the_one_who_allows_it_may_delete_everything():
    check(100, source=0, allow=True)


def test_records_that_are_set_back_have_the_limits_of_deletes_and_a_way_out_of_their_own():
    check_set_back("thing", 20, 100, share=0.2, count=10)
    check_set_back("thing", 10, 10, share=0.2, count=10)
    with pytest.raises(SetBackWithheld, match=r"21 records .* 21% of it .* nothing was deleted.* force=true.* restore"):
        check_set_back("thing", 21, 100, share=0.2, count=10)
