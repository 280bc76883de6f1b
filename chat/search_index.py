"""What the database knows words by: titles, and messages once they have ended. Kept by the database itself.

Triggers and generated columns see every way in which a row changes, `update()` and `bulk_create` as well. A running
reply's text is written several times a second and costs nothing here: it is indexed when its state becomes `ended`.

SQLite has an FTS5 table without content of its own. Its rows are numbered by `chat_searchentry`, since a message has no
number that outlives a VACUUM, and name the owner, so that a search need not look at what others wrote. PostgreSQL has a
generated column in each table.
"""

from __future__ import annotations

from typing import Any

# Characters of a message that are indexed: PostgreSQL refuses a row whose words take more than 1 MiB, and so many
# characters of four bytes cannot.
INDEXED = 150_000
# Between words, as far as PostgreSQL's parser does not see it so: it keeps addresses and file names in one piece.
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”„‘’«»–—…。、，；：？！（）「」『』"

SQLITE_TABLES = [
    "CREATE TABLE chat_searchentry (id integer PRIMARY KEY, target char(32) NOT NULL UNIQUE, owner integer NOT NULL)",
    "CREATE VIRTUAL TABLE chat_search USING fts5("
    "owner, title, text, content='', prefix='2 3', tokenize='unicode61 remove_diacritics 2')",
]


def _out(target: str, title: str, text: str, condition: str = "1") -> str:
    """Return what takes a row out of the index: it must be told what was put in."""
    return f"""
        INSERT INTO chat_search (chat_search, rowid, owner, title, text)
            SELECT 'delete', id, 'u' || owner, {title}, substr({text}, 1, {INDEXED})
            FROM chat_searchentry WHERE target = {target} AND {condition};
        DELETE FROM chat_searchentry WHERE target = {target} AND {condition};
    """  # noqa: S608 (names of our own columns)


def _in(target: str, owner: str, title: str, text: str, condition: str) -> str:
    return f"""
        INSERT INTO chat_searchentry (target, owner) SELECT {target}, {owner} WHERE {condition};
        INSERT INTO chat_search (rowid, owner, title, text)
            SELECT id, 'u' || owner, {title}, substr({text}, 1, {INDEXED})
            FROM chat_searchentry WHERE target = {target} AND {condition};
    """  # noqa: S608


OWNER_OF_NEW = "(SELECT owner_id FROM chat_conversation WHERE id = new.conversation_id)"
MESSAGE_IN = _in("new.id", OWNER_OF_NEW, "''", "new.text", "new.state = 'ended' AND new.text <> ''")
MESSAGE_OUT = _out("old.id", "''", "old.text", "old.state = 'ended' AND old.text <> ''")
TITLE_IN = _in("new.id", "new.owner_id", "new.title", "''", "new.title <> ''")
TITLE_OUT = _out("old.id", "old.title", "''", "old.title <> ''")
# Somebody signs in, and what they wrote as a guest becomes the account's.
MESSAGES_OF_NEW = (
    "chat_searchentry JOIN chat_message ON chat_message.id = target WHERE conversation_id = new.id AND state = 'ended'"
)
OWNER_CHANGED = f"""
    INSERT INTO chat_search (chat_search, rowid, owner, title, text)
        SELECT 'delete', chat_searchentry.id, 'u' || chat_searchentry.owner, '', substr(text, 1, {INDEXED})
        FROM {MESSAGES_OF_NEW};
    UPDATE chat_searchentry SET owner = new.owner_id
        WHERE target IN (SELECT id FROM chat_message WHERE conversation_id = new.id);
    INSERT INTO chat_search (rowid, owner, title, text)
        SELECT chat_searchentry.id, 'u' || chat_searchentry.owner, '', substr(text, 1, {INDEXED})
        FROM {MESSAGES_OF_NEW};
"""  # noqa: S608
SQLITE_TRIGGERS = {
    "chat_search_message_added": f"AFTER INSERT ON chat_message WHEN new.state = 'ended' BEGIN {MESSAGE_IN} END",
    "chat_search_message_changed": f"""
        AFTER UPDATE OF text, state ON chat_message
        WHEN (old.state = 'ended' OR new.state = 'ended') AND (old.state <> new.state OR old.text <> new.text)
        BEGIN {MESSAGE_OUT} {MESSAGE_IN} END
    """,
    "chat_search_message_deleted": f"AFTER DELETE ON chat_message BEGIN {MESSAGE_OUT} END",
    "chat_search_title_added": f"AFTER INSERT ON chat_conversation BEGIN {TITLE_IN} END",
    "chat_search_title_changed": f"""
        AFTER UPDATE OF title, owner_id ON chat_conversation WHEN old.title <> new.title OR old.owner_id <> new.owner_id
        BEGIN {TITLE_OUT} {TITLE_IN} END
    """,
    "chat_search_owner_changed": f"""
        AFTER UPDATE OF owner_id ON chat_conversation WHEN old.owner_id <> new.owner_id BEGIN {OWNER_CHANGED} END
    """,
    "chat_search_title_deleted": f"AFTER DELETE ON chat_conversation BEGIN {TITLE_OUT} END",
}
# In the order in which they ended, so that what is newest has the highest number.
SQLITE_FILL = [
    """
    INSERT INTO chat_searchentry (target, owner) SELECT id, owner_id FROM chat_conversation
        WHERE title <> '' ORDER BY created_at
    """,
    """
    INSERT INTO chat_searchentry (target, owner) SELECT m.id, c.owner_id
        FROM chat_message m JOIN chat_conversation c ON c.id = m.conversation_id
        WHERE m.state = 'ended' AND m.text <> '' ORDER BY m.created_at
    """,
    f"""
    INSERT INTO chat_search (rowid, owner, title, text)
        SELECT e.id, 'u' || e.owner, coalesce(c.title, ''), substr(coalesce(m.text, ''), 1, {INDEXED})
        FROM chat_searchentry e
        LEFT JOIN chat_message m ON m.id = e.target LEFT JOIN chat_conversation c ON c.id = e.target
    """,  # noqa: S608
]

_SIGNS = "".join(f"\\{ord(sign):04x}" for sign in PUNCTUATION)
POSTGRES = [
    f"""
    CREATE FUNCTION chat_words(text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT to_tsvector('pg_catalog.simple', translate(
            regexp_replace(normalize(left($1, {INDEXED}), NFKD), '[\\u0300-\\u036f]', '', 'g'),
            U&'{_SIGNS}', repeat(' ', {len(PUNCTUATION)})
        ))
    $$
    """,
    """
    ALTER TABLE chat_message ADD COLUMN words tsvector
        GENERATED ALWAYS AS (CASE WHEN state = 'ended' AND text <> '' THEN chat_words(text) END) STORED
    """,
    "CREATE INDEX chat_message_words ON chat_message USING gin (words)",
    "ALTER TABLE chat_conversation ADD COLUMN words tsvector GENERATED ALWAYS AS (chat_words(title)) STORED",
    "CREATE INDEX chat_conversation_words ON chat_conversation USING gin (words)",
]
POSTGRES_BACK = [
    "ALTER TABLE chat_message DROP COLUMN words",
    "ALTER TABLE chat_conversation DROP COLUMN words",
    "DROP FUNCTION chat_words(text)",
]


def install(connection: Any) -> None:
    """Make the index, with what is there already."""
    if connection.vendor == "postgresql":
        _execute(connection, POSTGRES)
        return
    _execute(connection, [*SQLITE_TABLES, *SQLITE_FILL])
    install_triggers(connection)


def install_triggers(connection: Any) -> None:
    """Make the triggers anew: a migration that changes a table on SQLite makes another, and drops them with the old."""
    if connection.vendor == "sqlite" and "chat_search" in connection.introspection.table_names():
        for name, body in SQLITE_TRIGGERS.items():
            _execute(connection, [f"DROP TRIGGER IF EXISTS {name}", f"CREATE TRIGGER {name} {body}"])


def remove(connection: Any) -> None:
    """Take the index away."""
    if connection.vendor == "postgresql":
        _execute(connection, POSTGRES_BACK)
        return
    _execute(connection, [f"DROP TRIGGER IF EXISTS {name}" for name in SQLITE_TRIGGERS])
    _execute(connection, ["DROP TABLE chat_search", "DROP TABLE chat_searchentry"])


def _execute(connection: Any, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
