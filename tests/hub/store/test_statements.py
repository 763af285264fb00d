"""A prepared statement gives what SQLAlchemy gives for the same one, and complains as it does."""

from typing import Any

import pytest
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, MultipleResultsFound, NoResultFound

from hub.store import jobs
from hub.store.jobs import JobState
from hub.store.statements import Prepared
from hub.store.store import Store
from hub.store.tables.jobs import JOBS, SHARDS
from hub.store.transaction import Reader, Transaction
from tests.hub.store.conftest import add_job

_EVERY_COLUMN = select(JOBS).where(JOBS.c.job_id == bindparam("the_job"))


def test_every_type_of_column_comes_back_as_from_sqlalchemy(store: Store) -> None:
    """JSON, amounts, truth values, text, numbers and nothing."""
    add_job(store, max_price=10**77, is_paid=True, facts={"word": "\u0000 and ü"}, finish_s=0.5)

    def both(reader: Reader) -> tuple[Any, Any]:
        which = {"the_job": "job-1"}
        ours = reader.execute(Prepared(_EVERY_COLUMN), which).mappings().one()
        return ours, dict(reader.execute(_EVERY_COLUMN, which).mappings().one())

    ours, theirs = store.read_now(both)
    assert ours == theirs
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]
    assert (ours["max_price"], ours["is_paid"], ours["facts"]) == (10**77, True, {"word": "\u0000 and ü"})


def test_constants_and_lists_of_them_stand_in_the_statement(store: Store) -> None:
    """And amounts among them are written as the column holds them."""
    for number in range(3):
        add_job(store, f"job-{number}")
    named = Prepared(
        select(JOBS.c.job_id).where(JOBS.c.job_id.in_(("job-0", "job-2")), JOBS.c.state == JobState.QUEUED)
    )
    assert sorted(store.read_now(lambda r: r.execute(named).scalars())) == ["job-0", "job-2"]
    dear = Prepared(update(JOBS).where(JOBS.c.job_id == bindparam("the_job")).values(max_price=7, facts={"a": [1]}))
    assert store.write_now(lambda t: t.execute(dear, {"the_job": "job-1"}).rowcount) == 1
    changed = store.read_now(lambda r: jobs.get(r, "job-1"))
    assert changed is not None
    assert (changed.max_price, changed.facts) == (7, {"a": [1]})


def test_a_list_that_is_a_parameter_cannot_be_prepared(store: Store) -> None:
    """Its text would be another for each length."""
    some = Prepared(select(JOBS.c.job_id).where(JOBS.c.job_id.in_(bindparam("the_jobs", expanding=True))))
    with pytest.raises(AssertionError, match="depend on its parameters"):
        store.read_now(lambda r: r.execute(some, {"the_jobs": ["job-1"]}))


def test_how_many_rows_there_may_be(store: Store) -> None:
    """As many as who asks says, and no others."""
    every = Prepared(select(JOBS.c.job_id, JOBS.c.images).order_by(JOBS.c.sequence))
    assert store.read_now(lambda r: r.execute(every).one_or_none()) is None
    with pytest.raises(NoResultFound):
        store.read_now(lambda r: r.execute(every).one())
    add_job(store, "job-1")
    row = store.read_now(lambda r: r.execute(every).one())
    assert (row.job_id, row.images) == tuple(row) == ("job-1", 1)
    add_job(store, "job-2")
    with pytest.raises(MultipleResultsFound):
        store.read_now(lambda r: r.execute(every).one_or_none())
    assert store.read_now(lambda r: r.execute(every).first()).job_id == "job-1"
    assert [job_id for job_id, _ in store.read_now(lambda r: r.execute(every).all())] == ["job-1", "job-2"]


def test_a_violated_constraint_is_told_as_sqlalchemy_tells_it(store: Store) -> None:
    """Without the parameters, prompts among them."""
    add_job(store)
    take = Prepared(update(SHARDS).values(job_id=bindparam("another")))

    def unit(transaction: Transaction) -> None:
        transaction.execute(take, {"another": "a secret prompt"})

    with pytest.raises(IntegrityError) as caught:
        store.write_now(unit)
    assert not caught.value.connection_invalidated
    assert "UPDATE shards" in str(caught.value)
    assert caught.value.params is None


def test_a_value_that_no_column_takes_is_no_fault_of_the_database(store: Store) -> None:
    """What Python says of it is told as it is, and is not its own cause: whoever follows causes comes to an end."""
    wide = Prepared(select(JOBS.c.job_id).where(JOBS.c.max_price == bindparam("atoms")))
    with pytest.raises(Exception, match=r".") as caught:
        store.read_now(lambda r: r.execute(wide, {"atoms": object()}))
    assert not isinstance(caught.value, DBAPIError)
    assert caught.value.__cause__ is not caught.value


def test_a_connection_that_is_closed_already_is_told_as_lost(store: Store) -> None:
    """Also where the driver finds it before anything is sent."""
    count = Prepared(select(JOBS.c.job_id))
    with store._engine.connect() as connection:
        connection.begin()
        held = connection.connection.dbapi_connection
        assert held is not None
        held.close()
        with pytest.raises(DBAPIError) as caught:
            count.send(connection, {})
        assert caught.value.connection_invalidated
        assert connection.invalidated
