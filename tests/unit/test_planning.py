"""From a submission to the task that is stored."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from shared.accepting.catalogue import KnownType, compile_type
from shared.accepting.envelope import read_submission
from shared.accepting.planning import RequestFacts, fingerprint, plan
from shared.domain.task import NewTask
from shared.domain.task_type import TaskTypeInfo
from shared.errors import InvalidInputError

TYPE = TaskTypeInfo(name="t", queue="own", payload_schema={}, result_schema={}, timeout_s=60, soft_timeout_s=50)
KNOWN = compile_type(TYPE)
FACTS = RequestFacts("request")


def planned(known: KnownType = KNOWN, facts: RequestFacts = FACTS, index: int = 0, **fields: Any) -> NewTask:
    return plan(read_submission({"type": "t", **fields}), known, facts, index=index)


def places(**fields: Any) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        planned(**fields)
    return [place for place, _ in caught.value.faults]


def unique_key(**fields: Any) -> bytes:
    key = planned(**fields).unique
    assert key is not None
    return key.key


def test_every_task_has_an_id_of_its_own() -> None:
    first, second = planned(), planned()

    assert isinstance(first.id, UUID)
    assert first.id < second.id


def test_a_task_is_delayed_or_has_a_time_but_not_both() -> None:
    assert places(delay=1, run_at="2030-01-01T00:00:00Z") == ["/run_at"]


@pytest.mark.parametrize("fields", [{"timeout": 10, "soft_timeout": 10}, {"soft_timeout": 60}])
def test_a_warning_comes_before_the_end(fields: dict[str, float]) -> None:
    assert places(**fields) == ["/soft_timeout"]


def test_the_warning_of_the_type_is_dropped_where_the_client_allows_less_time() -> None:
    assert planned(timeout=50).soft_timeout_s is None
    assert planned(timeout=51).soft_timeout_s == 50


def test_unique_payloads_are_compared_by_value() -> None:
    assert unique_key(unique=True, payload={"a": 1, "b": [2]}) == unique_key(unique=True, payload={"b": [2], "a": 1})
    assert unique_key(unique=True, payload={"a": 1}) != unique_key(unique=True, payload={"a": 2})
    assert unique_key(unique=True, payload={"a": 1}) != unique_key(unique=True, payload='{"a":1}')


def test_unique_keys_of_different_types_and_kinds_do_not_meet() -> None:
    other = compile_type(replace(TYPE, name="u"))
    submission = read_submission({"type": "u", "unique": {"key": "k"}})
    of_other_type = plan(submission, other, FACTS).unique

    assert of_other_type is not None
    assert of_other_type.key != unique_key(unique={"key": "k"})
    assert unique_key(unique={"key": "{}"}) != unique_key(unique=True, payload={})


def test_each_item_of_a_batch_has_an_idempotency_key_of_its_own() -> None:
    facts = RequestFacts("request", "key", b"fingerprint")
    first, second = planned(facts=facts).idempotency, planned(facts=facts, index=1).idempotency

    assert first is not None
    assert second is not None
    assert first.key != second.key
    assert first.fingerprint == second.fingerprint == b"fingerprint"


def test_a_fingerprint_tells_keys_places_and_bodies_apart() -> None:
    one = fingerprint("k", "POST /tasks", {"a": 1, "b": 2})

    assert one == fingerprint("k", "POST /tasks", {"b": 2, "a": 1})
    assert one != fingerprint("l", "POST /tasks", {"a": 1, "b": 2})
    assert one != fingerprint("k", "POST /tasks/batch", {"a": 1, "b": 2})
    assert one != fingerprint("k", "POST /tasks", {"a": 1, "b": 3})


def test_a_long_payload_with_many_faults_is_refused_quickly_with_the_first() -> None:
    numbers = compile_type(replace(TYPE, payload_schema={"type": "array", "items": {"type": "integer"}}))

    with pytest.raises(InvalidInputError) as long:
        planned(numbers, payload=["x"] * 100_000)
    with pytest.raises(InvalidInputError) as short:
        planned(numbers, payload=["x"] * 1_000)

    assert [place for place, _ in long.value.faults] == ["/payload/0"]
    assert len(short.value.faults) == 50


def test_a_refusal_does_not_repeat_the_payload() -> None:
    numbers = compile_type(replace(TYPE, payload_schema={"properties": {"n": {"type": "integer"}}}))

    with pytest.raises(InvalidInputError) as caught:
        planned(numbers, payload={"n": "my password"})

    assert "password" not in str(caught.value)
