-- The roles of provisiond's own tables. Run it once, after challenges.sql, as a superuser:
--
--     psql -d lanyard -f challenges.sql -f provisiond.sql
--     psql -d lanyard -c '\password lanyard_owner' -c '\password lanyard_provisiond'
--
-- lanyard_owner owns the tables and makes them: `lanyard-provisiond -c owner.conf migrate`, where
-- owner.conf is the service's configuration with this role in `store`, after every upgrade.
-- lanyard_provisiond is the service: it reads and writes rows and can change no table.
--
-- Running it again changes nothing.
BEGIN;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['lanyard_owner', 'lanyard_provisiond'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION', role);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE, CREATE ON SCHEMA public TO lanyard_owner;
GRANT USAGE ON SCHEMA public TO lanyard_provisiond;
ALTER DEFAULT PRIVILEGES FOR ROLE lanyard_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO lanyard_provisiond;

ALTER VIEW live_challenges OWNER TO lanyard_owner;
ALTER TABLE challenge OWNER TO lanyard_owner;
GRANT SELECT ON live_challenges TO lanyard_dnsd;
REVOKE ALL ON live_challenges FROM lanyard_provisiond;
GRANT SELECT, INSERT, UPDATE, DELETE ON challenge TO lanyard_provisiond;

COMMIT;
