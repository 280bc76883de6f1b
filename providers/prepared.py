"""Queries that every message makes, translated into SQL once.

Django writes a statement anew for each call, which takes the processor about ten times as long as SQLite needs to
answer it, and holds up the event loop meanwhile. What is asked stays an ordinary queryset; only its values change.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import Expression, Field, Model, QuerySet

M = TypeVar("M", bound=Model)


class Given(Expression):
    """A value that comes with each call, under this name. `field` is needed where databases differ in what they want.

    They agree about numbers and text, and differ about a UUID, a moment or an amount.
    """

    def __init__(self, name: str, field: Field[Any, Any] | None = None) -> None:
        super().__init__(output_field=field)
        self.name, self.column = name, field

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]

    def prepare(self, values: dict[str, Any]) -> Any:
        """Return the value as the database wants it."""
        value = values[self.name]
        return self.column.get_db_prep_value(value, connection) if self.column else value


class _Statement(NamedTuple):
    """SQL with its parameters, some of them Given, and what turns a column into Python's value, by its position."""

    sql: str
    parameters: Sequence[Any]
    converters: dict[int, Any]


class Prepared:
    """A queryset with `Given` values in it. Call it for its rows, as tuples of the columns that it selects.

    Where it locks rows, call it inside a transaction: Django's own check is made with the first call alone.
    """

    def __init__(self, make: Callable[[], QuerySet[Any, Any]]) -> None:
        # Made with the first call, when all models are there.
        self._make = make
        self._statement: _Statement | None = None

    def __call__(self, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows."""
        statement = self._statement or self._translate()
        filled = [part.prepare(values) if isinstance(part, Given) else part for part in statement.parameters]
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, filled)
            rows = cursor.fetchall()
        return list(_converted(rows, statement.converters)) if statement.converters else rows

    def first(self, **values: Any) -> tuple[Any, ...] | None:
        """Return the first row. All are fetched: for what has one row, or none."""
        return next(iter(self(**values)), None)

    def _translate(self) -> _Statement:
        compiler = self._make().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        converters = compiler.get_converters(expression for expression, _sql, _alias in compiler.select)
        self._statement = _Statement(sql, parameters, converters)
        return self._statement


def _converted(rows: list[tuple[Any, ...]], converters: dict[int, Any]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        values = list(row)
        for at, (functions, expression) in converters.items():
            for function in functions:
                values[at] = function(values[at], expression, connection)
        yield tuple(values)


@functools.cache
def columns_of(model: type[Model]) -> tuple[str, ...]:
    """Return the names of a model's columns, for `values_list`."""
    return tuple(field.attname for field in model._meta.concrete_fields)


def build(model: type[M], row: Sequence[Any]) -> M:
    """Return the stored object that has these columns: all of its model's, in the order of `columns_of`."""
    return model.from_db(connection.alias, columns_of(model), row)
