"""Distinct values by a loose index scan: each next one is looked up in the key's index.

Of tables of millions of rows thousands of names are a tenth of a second, ten thousand some tenths.
Method: "Loose indexscan" of the PostgreSQL wiki. Names of tables and columns are the caller's own.
"""

_NAMES = """
with recursive names ({name}) as (
    (select {name} from {table} where {where} order by {name} limit 1)
    union all
    select (select t.{name} from {table} t where {where} and t.{name} > n.{name}
            order by t.{name} limit 1)
    from names n where n.{name} is not null
)
"""

_PAIRS = """
with recursive pairs as (
    (select {name}, "interval" from {table} order by {name}, "interval" limit 1)
    union all
    select next.* from pairs p, lateral (
        select t.{name}, t."interval" from {table} t
        where (t.{name}, t."interval") > (p.{name}, p."interval")
        order by t.{name}, t."interval" limit 1
    ) next
)
"""


def names(table: str, name: str, where: str) -> str:
    """The head of a statement: the ``names`` of the rows that ``where`` holds, and a null."""
    return _NAMES.format(table=table, name=name, where=where)


def pairs(table: str, name: str) -> str:
    """The head of a statement: the ``pairs`` of name and interval that a table holds."""
    return _PAIRS.format(table=table, name=name)
