-- The challenge table of a fleet: what provisiond writes and dnsd reads. Run it once, as the owner
-- of the database and a role that may create roles:
--
--     psql -d lanyard -f challenges.sql
--     psql -d lanyard -c '\password lanyard_dnsd'
--
-- and in dnsd's configuration
--
--     challenges = "postgresql://lanyard_dnsd@db1.example,db2.example/lanyard?passfile=/etc/lanyard/pgpass"
--
-- Running it again changes nothing.
BEGIN;

CREATE TABLE IF NOT EXISTS challenge (
    zone       text   NOT NULL,
    id         text   NOT NULL,
    value      text   NOT NULL,
    order_id   bigint NOT NULL,
    expires_at bigint NOT NULL, -- Unix seconds
    PRIMARY KEY (zone, id, value, order_id)
);
CREATE INDEX IF NOT EXISTS challenge_order ON challenge (order_id);

-- Two orders may hold the same value; a name has it once. By the clock of the database, so that
-- every reader has the same.
CREATE OR REPLACE VIEW live_challenges AS
    SELECT zone, id, value, min(expires_at) AS expires_at
    FROM challenge
    WHERE expires_at > extract(epoch FROM now())
    GROUP BY zone, id, value;

-- dnsd faces the Internet: its role may do this and nothing else.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lanyard_dnsd') THEN
        CREATE ROLE lanyard_dnsd LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION;
    END IF;
END
$$;
ALTER ROLE lanyard_dnsd SET default_transaction_read_only = on;
ALTER ROLE lanyard_dnsd SET statement_timeout = '2s';
ALTER ROLE lanyard_dnsd SET idle_in_transaction_session_timeout = '10s';
REVOKE ALL ON challenge, live_challenges FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC; -- as it is from PostgreSQL 15 on
GRANT USAGE ON SCHEMA public TO lanyard_dnsd;
GRANT SELECT ON live_challenges TO lanyard_dnsd;

COMMIT;
