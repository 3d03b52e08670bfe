"""Row O07: differences between what is stored and what the engine holds are found and named."""

from __future__ import annotations

import numpy as np

from aftr.ops.serving.compare import SHOWN, differences, replayed
from dslite_contract.journal import RECORD, Kind, Records

HI = 0x20010DB810000100


def mapping(port: int, inner: int = 5000, lo: int = 1, kind: Kind = Kind.MAPPING) -> Records:
    return np.array([(kind, 17, 0, 0, 0xC0000201, 0x0A000001, port, inner, HI, lo)], RECORD)


def moved(old: int, new: int) -> list[Records]:
    kinds = (Kind.SOFTWIRE_FROM, old), (Kind.SOFTWIRE_TO, new)
    return [np.array([(kind, 0, 0, 0, 0, 0, 0, 0, HI, lo)], RECORD) for kind, lo in kinds]


def test_o07_records_amount_to_mappings() -> None:
    records = [mapping(2000), mapping(2001), mapping(2000, kind=Kind.MAPPING_REMOVED), *moved(1, 2)]
    assert replayed(records) == {(0xC0000201, 2001, 17): ((HI, 2), 0x0A000001, 5000)}


def test_o07_a_later_record_wins() -> None:
    assert replayed([mapping(2000), mapping(2000, inner=6000)]) == replayed([mapping(2000, inner=6000)])


def test_o07_the_same_is_no_difference() -> None:
    assert list(differences(replayed([mapping(1), mapping(2)]), replayed([mapping(2), mapping(1)]))) == []


def test_o07_each_difference_is_named() -> None:
    stored, held = replayed([mapping(2000), mapping(2001)]), replayed([mapping(2001, inner=6000), mapping(2002)])
    b4 = "2001:db8:1000:100::1"
    assert list(differences(stored, held)) == [
        f"udp 192.0.2.1:2002 of {b4} 10.0.0.1:5000 is not in the store",
        f"udp 192.0.2.1:2000 of {b4} 10.0.0.1:5000 is in the store only",
        f"udp 192.0.2.1:2001 of {b4} 10.0.0.1:6000 belongs to another host in the store",
    ]


def test_o07_many_differences_are_counted() -> None:
    found = list(differences({}, replayed([mapping(2000 + number) for number in range(SHOWN + 5)])))
    assert len(found) == SHOWN + 1
    assert found[-1] == "and 5 more: is not in the store"
