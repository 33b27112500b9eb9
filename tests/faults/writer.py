"""A ledger at the source, and a writer whose transactions leave every instant with sums that add up.

Every transaction has a number, its tick, and writes it to each table: the highest tick of a table says which instant it is of.
`audit` is never deleted from, so that it can be copied incrementally.
"""

import random
import threading

import psycopg2

TABLES = ("accounts", "transfers", "entries", "audit")
PIPELINE = """sources:
  - name: shop
    kind: postgres
    verify: never
    tables:
      - name: public.accounts
      - name: public.transfers
      - {name: public.entries, ranges: 2}
      - {name: public.audit, mode: incremental, cursor: updated_at, lookback: 2s}
"""
ACCOUNTS = 500
TRANSFERS = 20_000

_SCHEMA = f"""
CREATE TABLE clock (tick int NOT NULL);
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL, tick int NOT NULL);
CREATE TABLE transfers (id int PRIMARY KEY, amount bigint NOT NULL, note text NOT NULL, tick int NOT NULL);
CREATE TABLE entries (transfer_id int, side text, account_id int NOT NULL, amount bigint NOT NULL, tick int NOT NULL,
    PRIMARY KEY (transfer_id, side));
CREATE TABLE audit (id int PRIMARY KEY, delta bigint NOT NULL, tick int NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE SEQUENCE transfer_ids START {TRANSFERS + 1};
CREATE INDEX ON audit (updated_at);
INSERT INTO clock VALUES ({TRANSFERS});
INSERT INTO transfers SELECT i, 1 + i % 97, repeat(md5(i::text), 6), {TRANSFERS} FROM generate_series(1, {TRANSFERS}) i;
INSERT INTO entries SELECT id, side, 1 + (id + shift) % {ACCOUNTS}, sign * amount, {TRANSFERS}
    FROM transfers, (VALUES ('debit', -1, 0), ('credit', 1, 1)) s (side, sign, shift);
INSERT INTO accounts SELECT i, coalesce((SELECT sum(amount) FROM entries WHERE account_id = i), 0), {TRANSFERS}
    FROM generate_series(1, {ACCOUNTS}) i;
INSERT INTO audit SELECT i, 0, i, clock_timestamp() FROM generate_series(1, {TRANSFERS}) i;
"""

# Any transfer at or after a random place.
_ONE = "SELECT id FROM transfers WHERE id >= (SELECT random() * max(id) FROM transfers)::int ORDER BY id LIMIT 1"
_BOOK = "UPDATE accounts a SET balance = a.balance + e.amount, tick = %(tick)s FROM entries e WHERE e.account_id = a.id"
_NEW = [
    "INSERT INTO transfers VALUES (nextval('transfer_ids'), %(amount)s, repeat(md5(%(amount)s::text), 6), %(tick)s)",
    "INSERT INTO entries VALUES (currval('transfer_ids'), 'debit', %(one)s, -%(amount)s, %(tick)s),"
    " (currval('transfer_ids'), 'credit', %(other)s, %(amount)s, %(tick)s)",
    f"{_BOOK} AND e.transfer_id = currval('transfer_ids')",
    # The row of its own tick, and what it takes from another one.
    "INSERT INTO audit VALUES (%(tick)s, %(amount)s, %(tick)s)",
    "UPDATE audit SET delta = delta - %(amount)s, tick = %(tick)s, updated_at = clock_timestamp() WHERE id = %(audited)s",
]
_CHANGES = {
    "nothing": [],
    "another amount": [
        "UPDATE accounts a SET balance = a.balance + sign(e.amount) * %(more)s, tick = %(tick)s FROM entries e"
        " WHERE e.account_id = a.id AND e.transfer_id = %(id)s",
        "UPDATE entries SET amount = amount + sign(amount) * %(more)s, tick = %(tick)s WHERE transfer_id = %(id)s",
        "UPDATE transfers SET amount = amount + %(more)s, tick = %(tick)s WHERE id = %(id)s",
    ],
    "deleted": [
        "UPDATE accounts a SET balance = a.balance - e.amount, tick = %(tick)s FROM entries e"
        " WHERE e.account_id = a.id AND e.transfer_id = %(id)s",
        "DELETE FROM entries WHERE transfer_id = %(id)s",
        "DELETE FROM transfers WHERE id = %(id)s",
    ],
    "another key": [
        "UPDATE transfers SET id = nextval('transfer_ids'), tick = %(tick)s WHERE id = %(id)s",
        "UPDATE entries SET transfer_id = currval('transfer_ids'), tick = %(tick)s WHERE transfer_id = %(id)s",
    ],
}


class Writer(threading.Thread):
    """Writes one transaction after the other, about twenty in a second, whatever happens to its session."""

    def __init__(self, dsn: str, seed: int) -> None:
        super().__init__(daemon=True, name="writer")
        self._dsn = dsn
        self._dice = random.Random(seed)
        self._over = threading.Event()
        self.wrong: list[str] = []
        self.written = 0

    def prepare(self) -> None:
        """Makes the tables with their first rows."""
        with psycopg2.connect(self._dsn) as connection, connection.cursor() as cursor:
            cursor.execute(_SCHEMA)
        connection.close()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                connection = psycopg2.connect(self._dsn, application_name="writer")
                try:
                    while not self._over.wait(0.05):
                        self._write(connection)
                        self.written += 1
                finally:
                    connection.close()
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                # Its server was killed; whether the last transaction is there is seen by the tick.
                self._over.wait(0.1)
            except psycopg2.Error as error:
                self.wrong.append(f"the writer: {error}")
                return

    def stop(self) -> None:
        self._over.set()
        self.join(10)

    def _write(self, connection: "psycopg2.extensions.connection") -> None:
        dice = self._dice
        one, other = dice.sample(range(1, ACCOUNTS + 1), 2)
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE clock SET tick = tick + 1 RETURNING tick")
            row = cursor.fetchone()
            assert row is not None
            values = {"tick": row[0], "amount": dice.randint(1, 1000), "more": dice.randint(1, 9), "one": one}
            values |= {"other": other, "audited": dice.randint(max(1, row[0] - 3000), row[0] - 1)}
            change = dice.choice(list(_CHANGES))
            cursor.execute(_ONE)
            if (found := cursor.fetchone()) is not None:
                for statement in _CHANGES[change]:
                    cursor.execute(statement, values | {"id": found[0]})
            for statement in _NEW:
                cursor.execute(statement, values)
