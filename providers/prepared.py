"""Queries and insertions that every message makes, translated into SQL once.

Django writes a statement anew for each call, which takes the processor about ten times as long as SQLite needs to
answer it, and holds up the event loop meanwhile. What is asked stays an ordinary queryset; only its values change.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import AutoField, Expression, Field, Model, QuerySet

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


class Insertion:
    """An INSERT of a model's rows. Signals are not sent, and keys that the database gives are not read back."""

    def __init__(self, model: type[Model]) -> None:
        self._model = model
        self._fields: list[Field[Any, Any]] = []
        self._sql = ""

    def __call__(self, rows: Sequence[Model]) -> None:
        """Store the rows, in this order."""
        if not self._sql:
            self._translate()
        values = [
            [field.get_db_prep_save(getattr(row, field.attname), connection) for field in self._fields] for row in rows
        ]
        with connection.cursor() as cursor:
            if len(values) == 1:
                cursor.execute(self._sql, values[0])
            elif values:
                cursor.executemany(self._sql, values)

    def _translate(self) -> None:
        quote = connection.ops.quote_name
        self._fields = [field for field in self._model._meta.concrete_fields if not isinstance(field, AutoField)]
        names = ", ".join(quote(str(field.column)) for field in self._fields)
        places = ", ".join("%s" for _ in self._fields)
        self._sql = f"INSERT INTO {quote(self._model._meta.db_table)} ({names}) VALUES ({places})"  # noqa: S608 (ours)


@functools.cache
def columns_of(model: type[Model]) -> tuple[str, ...]:
    """Return the names of a model's columns, for `values_list`."""
    return tuple(field.attname for field in model._meta.concrete_fields)


def build(model: type[M], row: Sequence[Any]) -> M:
    """Return the stored object that has these columns: all of its model's, in the order of `columns_of`."""
    return model.from_db(connection.alias, columns_of(model), row)
