"""The table is sound, and the model is the table."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

from runbound.config import model, options, parse, values

SHARED = Path(__file__).parents[4] / "shared" / "reference"


def test_every_row_is_well_formed() -> None:
    rows = options.table().rows
    assert len({(row.clause, row.name) for row in rows}) == len(rows)
    clauses = {row.name for row in rows if not row.clause}
    assert clauses == {*options.SINGLE_CLAUSES, *options.ITEM_CLAUSES}
    for row in rows:
        assert row.tier in {"honour", "map", "accept"}, row
        assert row.effect in {"encrypts", "filters", "restricts", "answers", "anchors", "upkeep"}, row
        assert row.live in {"yes", "no", "restart"}, row
        assert row.doc.endswith("."), row
        assert row.reason or row.tier == "honour", row
        if row.clause:
            assert row.clause in clauses, row
            assert row.repeatable in {"no", "yes", "once"}, row
            assert len(row.types) == row.arity, row
            known = [kind in values.TYPES or kind.startswith("enum{") for kind in row.types]
            assert all(known), row
        if row.alias_of:
            target = options.find(row.clause, row.alias_of)
            assert target is not None, row
            assert not target.alias_of, row
            assert (row.value_type, row.default, row.repeatable) == (
                target.value_type,
                target.default,
                target.repeatable,
            ), row


def test_defaults_are_values_of_their_type() -> None:
    def no_warning(text: str, _hint: str | None) -> None:
        raise AssertionError(text)

    for row in options.every():
        unset_slabs = row.value_type == "slabs" and row.default == "0"
        if row.arity == 1 and row.default and not row.many and row.value_type != "ignored" and not unset_slabs:
            values.read(row.value_type, row.default, no_warning, frozenset())


def test_the_model_has_a_field_for_every_option_and_no_other() -> None:
    for clause, kind in parse.CLASSES.items():
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        fields.pop("at", None)
        wanted = {row.field: row for row in options.every(clause) if row.in_model}
        assert list(fields) == list(wanted), clause
        for name, row in wanted.items():
            default = fields[name].default
            if row.many or row.arity > 1:
                assert default == (), name
            elif row.value_type in ("yesno", "looseyesno"):
                assert default is (row.default == "yes"), name
            elif row.value_type == "size":
                assert default == values.size(row.default), name
            elif isinstance(default, int):
                assert default == int(row.default), name
            else:
                assert default == row.default, name
    assert set(parse.CLASSES) == {*options.SINGLE_CLAUSES, *options.ITEM_CLAUSES}
    names = {field.name for field in msgspec.structs.fields(model.Config)} - {"places", "sequence"}
    singles = {clause.replace("-", "_") for clause in options.SINGLE_CLAUSES}
    assert names == singles | {f"{clause.replace('-', '_')}s" for clause in options.ITEM_CLAUSES}


def test_nothing_of_the_reference_is_missing() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not on this machine: the table was not compared with the reference")
    for name in ("unbound-directives.tsv", "runbound-directives.tsv"):
        with (SHARED / name).open() as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                clause = "" if row["clause"].startswith("toplevel") else row["clause"]
                for option in row["name"].split(" / "):
                    if option.startswith("include"):
                        continue
                    found = options.find(clause, option)
                    assert found is not None, option
                    # How clauses count is the structure's business; their options have tiers.
                    assert not clause or row.get("tier") in (None, found.tier), option


def test_only_registered_options_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_honoured", set())
    port, alias = options.find("server", "interface"), options.find("server", "ip-address")
    assert port is not None
    assert alias is not None
    assert not options.honoured(port)
    options.honour("server", "ip-address")
    assert options.honoured(port)
    assert options.honoured(alias)
    with pytest.raises(ValueError, match="no-such-option is not in the options table"):
        options.honour("server", "no-such-option")
